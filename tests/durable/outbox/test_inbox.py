"""The inbox: the first copy of a message, in the transaction of its effect."""

import threading
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from seawall.durable import Inbox
from seawall.durable.inbox import first
from tests.durable.engines import Engine, over
from tests.durable.outbox.posts import until


def test_only_the_first_copy_is_the_first(engine: Engine) -> None:
    """On every store: of each message, for each consumer; of those that were rolled back, the next one."""
    inbox = Inbox(engine.store, "mailer")
    one, other = partial(first, "mailer", "m1"), partial(first, "printer", "m1")
    with pytest.raises(LookupError):
        engine.enlisted(one, failure=LookupError())
    assert not engine.call(inbox, "seen", "m1")
    assert [True, False, True] == engine.enlisted(one, one, other)
    assert [False, False] == engine.enlisted(one, other)
    assert engine.call(inbox, "seen", "m1")
    assert not engine.call(inbox, "seen", "m2")


@over("embedded", "embedded-async")
def test_the_effect_of_a_message_delivered_ten_times_is_done_once(engine: Engine) -> None:
    """Also by several at the same time."""
    inbox = Inbox(engine.store, "counter")
    engine.call(engine.store, "transact", lambda connection: connection.execute("CREATE TABLE effects (id TEXT)"))

    def effect(connection: Any) -> None:
        if inbox.first("m1", session=connection):
            connection.execute("INSERT INTO effects VALUES ('m1')")

    threads = [threading.Thread(target=engine.store.transact, args=(effect,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = engine.call(engine.store, "transact", lambda c: c.execute("SELECT COUNT(*) FROM effects").fetchone()[0])
    assert 1 == count


@over("psycopg")
@pytest.mark.parametrize("commit", [True, False])
def test_a_second_copy_waits_for_the_end_of_the_first(engine: Engine, commit: bool) -> None:
    """On PostgreSQL: it is a repeat where the first was committed, and the first where that was rolled back."""
    inbox, answers = Inbox(engine.store, "counter"), []

    def second() -> None:
        with Session(engine.store.engine) as session, session.begin():
            answers.append(inbox.first("m1", session=session))

    waits = text("SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def waiting() -> Any:
        with Session(
            engine.store.engine
        ) as observer:  # a new transaction each time: within one the view does not change
            return observer.execute(waits).scalar()

    with Session(engine.store.engine) as session:
        assert inbox.first("m1", session=session)
        thread = threading.Thread(target=second)
        thread.start()
        until(waiting)
        assert [] == answers
        if commit:
            session.commit()
        else:
            session.rollback()
        thread.join()
    assert [not commit] == answers


@over("embedded")
def test_an_inbox_without_a_session_is_refused(engine: Engine) -> None:
    """The id would be committed, and the effect not."""
    with pytest.raises(TypeError, match="session=None: the id must be committed with the effect"):
        Inbox(engine.store, "mailer").first("m1", session=None)
    with pytest.raises(ValueError, match="consumer=''"):
        Inbox(engine.store, "")
    with pytest.raises(ValueError, match="message_id=''"):
        engine.store.transact(lambda connection: Inbox(engine.store, "mailer").first("", session=connection))
