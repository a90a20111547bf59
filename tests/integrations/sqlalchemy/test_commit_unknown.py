"""COMMIT without an answer: nobody knows, nothing is done twice, and a transaction with an id is looked up."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from seawall import Retried, Retry
from seawall.durable.errors import CommitUnknownError
from seawall.durable.events import CommitUnknown
from seawall.durable.store import StoreError
from seawall.integrations.sqlalchemy import after_commit, run_transaction
from seawall.testing import Recorder
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy, Strike
from tests.integrations.sqlalchemy.databases import ADD, POSTGRESQL, World, add, comes_true, postgresql_world
from tests.servers import PostgreSQL
from tests.servers.process import until

QUICK = 0.5
"""Seconds that a COMMIT has in these tests."""


@pytest.fixture
def proxy(postgresql_server: PostgreSQL) -> Iterator[CommitProxy]:
    """What stands in front of the server."""
    with CommitProxy(postgresql_server.port) as proxy:
        yield proxy


@pytest.fixture(params=POSTGRESQL)
def pg(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, proxy: CommitProxy) -> Iterator[World]:
    """A fresh database behind the proxy, by each driver, on a pool of one connection."""
    with postgresql_world(postgresql_server, request.param, port=proxy.port, pool_size=1, max_overflow=0) as made:
        yield made


@pytest.mark.parametrize("strike", ["mute", "cut"])
def test_a_lost_answer_to_commit_is_unknown_and_there_is_no_second_run(
    pg: World, proxy: CommitProxy, strike: Strike
) -> None:
    """durable 23: CommitUnknownError within the time for COMMIT, one run, one row."""
    proxy.plan(strike)
    began = time.monotonic()
    with Recorder(CommitUnknown) as events, pytest.raises(CommitUnknownError, match="not known") as caught:
        pg.transact(add("a"), commit_timeout=QUICK)
    assert time.monotonic() - began < 10 * QUICK
    assert ("no answer to COMMIT within 0.5 s" in str(caught.value)) is (strike == "mute")
    assert ["unknown"] == [event.outcome for event in events.of(CommitUnknown)]
    assert ({"a": 1}, 1) == (pg.effects(), proxy.commits)
    assert "b" == pg.transact(add("b"))  # on the only connection of the pool


@pytest.mark.parametrize("strike", ["mute", "cut"])
def test_with_an_id_a_committed_transaction_is_a_success(pg: World, proxy: CommitProxy, strike: Strike) -> None:
    """durable 23: the body's result comes back, and there is one row."""
    proxy.plan(strike)
    with Recorder(CommitUnknown) as events:
        assert "a" == pg.transact(add("a"), txn_id="t1", commit_timeout=QUICK)
    assert ["committed"] == [event.outcome for event in events.of(CommitUnknown)]
    assert {"a": 1} == pg.effects()
    assert pg.idle()


@pytest.mark.parametrize("strike", ["lost", "swallow"])
def test_a_commit_that_never_arrived_is_as_unknown(pg: World, proxy: CommitProxy, strike: Strike) -> None:
    """The client cannot tell it from one whose answer was lost: no second run."""
    proxy.plan(strike)
    with pytest.raises(CommitUnknownError):
        pg.transact(add("a"), commit_timeout=QUICK)
    assert ({}, 1) == (pg.effects(), proxy.commits)


@pytest.mark.parametrize("strike", ["lost", "swallow"])
def test_with_an_id_one_that_never_arrived_is_made_again(pg: World, proxy: CommitProxy, strike: Strike) -> None:
    """The look finds that it is over and left no row: another attempt, and one row."""
    proxy.plan(strike)
    with Recorder(CommitUnknown, Retried) as events:
        assert "a" == pg.transact(add("a"), txn_id="t1", commit_timeout=QUICK)
    assert ["undone"] == [event.outcome for event in events.of(CommitUnknown)]
    assert 1 == len(events.of(Retried))
    assert {"a": 1} == pg.effects()


def test_the_look_waits_for_a_commit_that_arrives_late(pg: World, proxy: CommitProxy) -> None:
    """While the server still holds the transaction open, nobody is told that there was no commit."""
    proxy.plan("late")
    timer = threading.Timer(QUICK, proxy.deliver)
    timer.start()
    with Recorder(CommitUnknown) as events:
        assert "a" == pg.transact(add("a"), txn_id="t1", commit_timeout=20.0)
    timer.join()
    assert ["committed"] == [event.outcome for event in events.of(CommitUnknown)]
    assert {"a": 1} == pg.effects()


def test_a_transaction_that_stays_open_is_unknown_although_it_has_an_id(pg: World, proxy: CommitProxy) -> None:
    """The look ends when its time is up; the connection that looked comes back to the pool, or is replaced."""
    proxy.plan("late")
    with pytest.raises(CommitUnknownError, match="txn_id='t1'"):
        pg.transact(add("a"), txn_id="t1", commit_timeout=QUICK)
    proxy.deliver()
    until(lambda: pg.effects() == {"a": 1})
    assert "b" == pg.transact(add("b"))


def test_nobody_is_asked_in_vain_for_long(pg: World, proxy: CommitProxy) -> None:
    """The server is gone when it is asked for the id: unknown, within the time to say what became of it."""
    proxy.plan("cut")

    def body(session: Session) -> None:
        add("a")(session)
        proxy.refuse()

    with pytest.raises(CommitUnknownError):
        pg.transact(body, txn_id="t1", commit_timeout=QUICK)
    assert {"a": 1} == pg.effects()
    proxy.listen()


@pytest.mark.parametrize("on", [Exception, CommitUnknownError, lambda error: True])
def test_no_retry_around_it_repeats_it(pg: World, proxy: CommitProxy, on: Any) -> None:
    """Whatever the user's own Retry is told to retry."""
    proxy.plan("cut")
    again = Retry(on=on, max_attempts=5, backoff=0)
    call = again(pg.transact) if pg.sync else lambda body: pg.runner.run(again(pg.atransact)(body))
    with pytest.raises(CommitUnknownError):
        call(add("a"))
    assert 1 == proxy.commits


def test_no_retry_repeats_a_group_that_holds_it() -> None:
    """One of several transactions is unknown: the group is passed on at once."""
    calls = []

    @Retry(on=Exception, max_attempts=5, backoff=0)
    def group() -> None:
        calls.append(1)
        raise ExceptionGroup("two", [ValueError("known"), CommitUnknownError("unknown")])

    with pytest.raises(ExceptionGroup):
        group()
    assert [1] == calls


def test_an_id_is_for_one_call(world: World) -> None:
    """A second transaction with the same id is refused, and what it did is rolled back."""
    world.transact(add("a"), txn_id="t1")
    with pytest.raises(StoreError, match="txn_id='t1' was used before"):
        world.transact(add("b"), txn_id="t1")
    assert {"a": 1} == world.effects()


def test_an_id_needs_the_tables(world: World) -> None:
    """Without them it is said how to make them."""
    world.sql("ALTER TABLE seawall_txn RENAME TO elsewhere")
    try:
        with pytest.raises(StoreError, match="seawall db upgrade"):
            world.transact(add("a"), txn_id="t1")
    finally:
        world.sql("ALTER TABLE elsewhere RENAME TO seawall_txn")
    assert {} == world.effects()


def test_hooks_run_when_it_is_found_committed_and_not_when_it_is_unknown(pg: World, proxy: CommitProxy) -> None:
    """They follow the commit, not the answer to it."""
    ran: list[str] = []

    def body(session: Session) -> None:
        effect = f"effect {proxy.commits}"
        add(effect)(session)
        after_commit(session, lambda: ran.append(effect))

    proxy.plan("cut")
    pg.transact(body, txn_id="t1")
    assert ["effect 0"] == ran
    proxy.plan("cut")
    with pytest.raises(CommitUnknownError):
        pg.transact(body)
    assert ["effect 0"] == ran


def test_a_connection_known_to_be_closed_before_commit_is_no_riddle(pg: World) -> None:
    """asyncpg has read the server's farewell by then: COMMIT is not sent, so the transaction is made again."""
    if pg.driver != "asyncpg":
        return
    pids = []

    async def body(session: AsyncSession) -> None:
        pids.append((await session.execute(text("SELECT pg_backend_pid()"))).scalar())
        await session.execute(ADD, {"id": "a"})
        if len(pids) == 1:
            await asyncio.to_thread(pg.sql, "SELECT pg_terminate_backend(:pid)", pid=pids[0])
            raw: Any = (await session.connection()).sync_connection.connection.driver_connection
            await comes_true(raw.is_closed)

    pg.runner.run(run_transaction(pg.sessions, body))
    assert (2, {"a": 1}) == (len(pids), pg.effects())
