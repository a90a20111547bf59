"""What surrounds a transaction: calls inside of it, hooks, options, events and switches, and what is misuse."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, UnboundExecutionError
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from seawall import Backoff, BudgetRefused, Retried, RetryBudget, RetryStopped
from seawall.degrade import Switchboard
from seawall.integrations.sqlalchemy import after_commit, run_transaction
from seawall.testing import FakeClock, Recorder, no_retries
from tests.integrations.sqlalchemy.databases import ADD, World, add

NOW = {"backoff": 0.0}


def undone(session: Session) -> None:
    """A body that the database undoes, whichever it is."""
    failure = DBAPIError("SELECT 1", None, Undone())
    raise failure


class Undone(Exception):
    sqlstate = "40001"


# ------------------------------------------------------------------------------------------------- calls inside


def test_a_call_inside_joins_the_transaction(world: World) -> None:
    """The same session; both effects are committed by the outer one, and undone with it."""
    sessions: list[object] = []
    inner_attempts: list[int] = []

    def inner(session: Session) -> str:
        sessions.append(session)
        return add("inner")(session)

    async def ainner(session: Any) -> str:
        sessions.append(session)
        return str(await session.run_sync(add("inner")))

    def outer(session: Session) -> str:
        sessions.append(session)
        found = run_transaction(world.sessions, inner)
        session.execute(ADD, {"id": "outer"})
        inner_attempts.append(1)
        return found

    async def aouter(session: Any) -> str:
        sessions.append(session)
        found: str = await run_transaction(world.sessions, ainner)
        await session.execute(ADD, {"id": "outer"})
        return found

    def run(body: Any) -> Any:
        call = run_transaction(world.sessions, body)
        return call if world.sync else world.runner.run(call)

    assert "inner" == run(outer if world.sync else aouter)
    assert ({"inner": 1, "outer": 1}, 1) == (world.effects(), len(set(sessions)))


def test_a_call_inside_is_not_made_again_by_itself(world: World) -> None:
    """What the database undid is the whole: the outer one makes all of it again, once."""
    calls: list[str] = []

    def inner(session: Session) -> None:
        calls.append("inner")
        if len(calls) == 2:
            undone(session)

    async def ainner(session: Any) -> None:
        inner(session)

    def outer(session: Session) -> None:
        calls.append("outer")
        run_transaction(world.sessions, inner, attempts=10)

    async def aouter(session: Any) -> None:
        calls.append("outer")
        await run_transaction(world.sessions, ainner, attempts=10)

    if world.sync:
        run_transaction(world.sessions, outer, **NOW)
    else:
        world.runner.run(run_transaction(world.sessions, aouter, **NOW))
    assert ["outer", "inner", "outer", "inner"] == calls


def test_another_factory_is_another_transaction(pg: World) -> None:
    """Its commit stays, whatever becomes of the one around it."""
    world = pg
    kind: Any = sessionmaker if world.sync else async_sessionmaker
    others = kind(world.engine)

    def outer(session: Session) -> None:
        run_transaction(others, add("b"))
        raise LookupError

    async def aouter(session: Any) -> None:
        await run_transaction(others, lambda inner: inner.run_sync(add("b")))
        raise LookupError

    with pytest.raises(LookupError):
        run_transaction(world.sessions, outer) if world.sync else world.runner.run(
            run_transaction(world.sessions, aouter)
        )
    assert {"b": 1} == world.effects()


def test_a_task_that_outlives_the_transaction_has_one_of_its_own(asyncpg: World) -> None:
    """It was started by the body, and goes on after the commit: it does not write into a session that is closed."""

    async def main() -> None:
        started: list[asyncio.Task[None]] = []
        over = asyncio.Event()

        async def later() -> None:
            await over.wait()
            await asyncpg.atransact(add("later"))

        async def body(session: Any) -> None:
            started.append(asyncio.create_task(later()))
            await session.execute(ADD, {"id": "a"})

        await run_transaction(asyncpg.sessions, body)
        over.set()
        await started[0]

    asyncpg.runner.run(main())
    assert {"a": 1, "later": 1} == asyncpg.effects()


def test_the_body_may_not_commit(world: World) -> None:
    """It could not be made again; the error says what to do instead, and nothing is committed."""

    def body(session: Session) -> None:
        add("a")(session)
        session.commit()

    with pytest.raises(RuntimeError, match=r"session\.flush\(\), or session\.begin_nested\(\)"):
        world.transact(body)
    assert {} == world.effects()


def test_a_part_may_fail_in_a_savepoint(world: World) -> None:
    """The rest is committed, and only that."""
    world.transact(add("a"))

    def body(session: Session) -> None:
        add("b")(session)
        with pytest.raises(IntegrityError), session.begin_nested():
            add("a")(session)
        with session.begin_nested():
            add("c")(session)

    world.transact(body)
    assert {"a": 1, "b": 1, "c": 1} == world.effects()


def test_a_body_that_rolls_back_commits_what_follows(world: World) -> None:
    """Also with an id, whose row belongs to what is committed."""

    def body(session: Session) -> None:
        add("a")(session)
        session.rollback()
        add("b")(session)

    world.transact(body, txn_id="t1")
    assert {"b": 1} == world.effects()
    assert [("t1",)] == world.sql("SELECT id FROM seawall_txn")


def test_sessions_of_several_engines_get_their_connections_from_the_body(world: World) -> None:
    """With the store said, an id works too; without it, it is said that there is no one engine."""

    class Base(DeclarativeBase):
        pass

    class Effect(Base):
        __tablename__ = "effects"
        id: Mapped[str] = mapped_column(primary_key=True)
        count: Mapped[int]

    kind: Any = sessionmaker if world.sync else async_sessionmaker
    world.sessions = kind(binds={Effect: world.engine})

    def body(name: str) -> Any:
        return lambda session: session.add(Effect(id=name, count=1))

    world.transact(body("a"))
    with pytest.raises(UnboundExecutionError):
        world.transact(body("b"), txn_id="t1")
    world.transact(body("b"), txn_id="t1", store=world.store)
    assert {"a": 1, "b": 1} == world.effects()


# -------------------------------------------------------------------------------------------------------- hooks


def test_hooks_run_after_the_commit_in_order(world: World) -> None:
    """Each sees what was committed; a repeat does not run those of the attempt that was undone."""
    ran: list[object] = []

    def body(session: Session) -> None:
        add("a")(session)
        after_commit(session, lambda: ran.append(("first", world.effects())))
        after_commit(session, lambda: ran.append("second"))
        if not calls:
            calls.append(1)
            undone(session)

    calls: list[int] = []
    world.transact(body, **NOW)
    assert [("first", {"a": 1}), "second"] == ran


def test_hooks_do_not_run_without_a_commit(world: World) -> None:
    """Not after a failure, and not those of a savepoint that was rolled back."""
    ran: list[str] = []

    def failing(session: Session) -> None:
        after_commit(session, lambda: ran.append("failed"))
        raise LookupError

    def in_savepoint(session: Session) -> None:
        with session.begin_nested():
            after_commit(session, lambda: ran.append("rolled back"))
            raise LookupError

    def partly(session: Session) -> None:
        add("a")(session)
        with pytest.raises(LookupError):
            in_savepoint(session)
        with session.begin_nested():
            after_commit(session, lambda: ran.append("kept"))

    with pytest.raises(LookupError):
        world.transact(failing)
    world.transact(partly)
    assert ["kept"] == ran


def test_what_a_hook_raises_is_logged_and_the_next_one_runs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The transaction is committed, and its result is returned."""
    ran: list[str] = []

    def fails() -> None:
        raise LookupError("a hook")

    def body(session: Session) -> str:
        after_commit(session, fails)
        after_commit(session, lambda: ran.append("next"))
        return add("a")(session)

    with caplog.at_level(logging.ERROR, logger="seawall"):
        assert "a" == world.transact(body)
    assert (["next"], {"a": 1}) == (ran, world.effects())
    assert "failed after the commit" in caplog.text


def test_async_hooks_are_awaited(asyncpg: World, caplog: pytest.LogCaptureFixture) -> None:
    """In an async transaction, one after the other; what one raises is logged."""
    ran: list[str] = []

    async def hook() -> None:
        await asyncio.sleep(0)
        ran.append("async")

    async def fails() -> None:
        raise LookupError("an async hook")

    async def body(session: Any) -> None:
        after_commit(session, fails)
        after_commit(session, hook)
        after_commit(session, lambda: ran.append("plain"))

    asyncpg.runner.run(run_transaction(asyncpg.sessions, body))
    assert ["async", "plain"] == ran
    assert "failed after the commit" in caplog.text


def test_hooks_of_any_other_session(world: World) -> None:
    """They follow its own commits: each hook once, and none after a rollback or a close."""
    ran: list[str] = []

    def use(session: Session) -> None:
        add("a")(session)
        after_commit(session, lambda: ran.append("a"))
        session.rollback()
        add("b")(session)
        after_commit(session, lambda: ran.append("b"))
        with session.begin_nested():
            add("c")(session)
        ran.append("not yet")
        session.commit()
        add("d")(session)
        session.commit()
        add("never")(session)
        after_commit(session, lambda: ran.append("closed"))
        session.close()
        add("e")(session)
        session.commit()
        with pytest.raises(TypeError, match="nothing would await it"):
            after_commit(session, asyncio.sleep)

    async def ause() -> None:
        async with world.sessions() as session:
            await session.run_sync(use)

    if world.sync:
        with world.sessions() as session:
            use(session)
    else:
        world.runner.run(ause())
    assert ["not yet", "b"] == ran


def test_a_hook_needs_a_session_and_a_function(world: World) -> None:
    """Anything else is said to be wrong."""
    with pytest.raises(TypeError, match="no session"):
        after_commit(object(), print)
    with sessionmaker()() as session, pytest.raises(TypeError, match="fn=1"):
        after_commit(session, 1)  # type: ignore[arg-type]


def test_a_listener_of_the_sessions_that_fails_after_the_commit_repeats_nothing(world: World) -> None:
    """What it raises is raised, though it looks like a transaction that was undone; the hooks have run."""
    from sqlalchemy import event

    ran: list[str] = []

    def body(session: Session) -> None:
        add("a")(session)
        after_commit(session, lambda: ran.append("hook"))
        event.listen(session, "after_commit", undone)

    with pytest.raises(DBAPIError):
        world.transact(body, **NOW)
    assert ({"a": 1}, ["hook"]) == (world.effects(), ran)


# ------------------------------------------------------------------------------------- events, switches, options


def test_the_retries_are_those_of_a_retry(world: World) -> None:
    """Events under the name, the delays of the backoff, a note on the last failure, and its end by attempts."""
    with FakeClock(grace=0.2) as clock, Recorder(Retried, RetryStopped) as events, pytest.raises(DBAPIError) as caught:
        world.transact(undone, attempts=4, backoff=Backoff.linear(0.5), name="invoices")
    assert [0.5, 1.0, 1.5] == [event.delay for event in events.of(Retried)]
    assert ([0.5, 1.0, 1.5], ["attempts"]) == (clock.slept, [event.reason for event in events.of(RetryStopped)])
    assert {"invoices"} == {event.name for event in events.events}
    assert ["seawall: 'invoices' gave up after attempt 4 and 3 s (attempts)"] == caught.value.__notes__


def test_the_retries_end_in_time(world: World) -> None:
    """No attempt starts later than max_elapsed after the first."""
    with FakeClock(grace=0.2), Recorder(RetryStopped) as events, pytest.raises(DBAPIError):
        world.transact(undone, attempts=100, backoff=timedelta(seconds=3), max_elapsed=10)
    assert [(4, "elapsed")] == [(event.attempts, event.reason) for event in events.of(RetryStopped)]


def test_the_retries_obey_switches_modes_and_budgets(world: World) -> None:
    """Switched off by pattern or by name, forbidden in tests, or over the budget: one attempt."""
    board = Switchboard()
    for name in ("retry", "retry@transactions", "@transactions"):
        board.off(name, actor="a test", reason="to see it")
        with Recorder(Retried) as events, pytest.raises(DBAPIError):
            world.transact(undone, **NOW)
        board.on(name, actor="a test", reason="seen")
        assert [] == events.events
    with no_retries(), Recorder(Retried) as events, pytest.raises(DBAPIError):
        world.transact(undone, **NOW)
    assert [] == events.events
    with Recorder(Retried, BudgetRefused) as events, pytest.raises(DBAPIError):
        world.transact(undone, budget=RetryBudget(rate=0, min_concurrent=0), **NOW)
    assert [BudgetRefused] == [type(event) for event in events.events]


def test_the_store_runs_transactions_too(world: World) -> None:
    """`store.transaction` is the same, with the store said."""
    if world.sync:
        assert "a" == world.store.transaction(world.sessions, add("a"), txn_id="t1")
    else:
        call = world.store.transaction(world.sessions, lambda session: session.run_sync(add("a")), txn_id="t1")
        assert "a" == world.runner.run(call)
    assert {"a": 1} == world.effects()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "attempts=0 is too small"),
        ({"attempts": 2.5}, "attempts=2.5 is not a whole number"),
        ({"retries": 3}, "no argument retries=3"),
        ({"commit_timeouts": 3}, "did you mean commit_timeout?"),
        ({"commit_timeout": 0}, "commit_timeout=0 is out of range"),
        ({"max_elapsed": -1}, "max_elapsed=-1 is out of range"),
        ({"backoff": Backoff.linear}, "was not called"),
        ({"budget": 3}, "budget=3 is no budget"),
        ({"retry_lock_timeouts": 1}, "retry_lock_timeouts=1 is neither"),
        ({"retry_on": [KeyError]}, "is a list"),
        ({"txn_id": ""}, "txn_id='' is no id"),
        ({"txn_id": 7}, "txn_id=7 is no id"),
        ({"name": ""}, "name='' is no name"),
    ],
)
def test_wrong_options_are_said_before_anything_is_done(options: Any, said: str) -> None:
    """Each error names the argument, the value and what would be right."""
    for sessions in (sessionmaker(), async_sessionmaker()):
        with pytest.raises((TypeError, ValueError)) as caught:
            run_transaction(sessions, print, **options)  # type: ignore[call-overload]
        assert said in str(caught.value)


def test_sessions_and_body_must_fit(world: World) -> None:
    """A factory of sessions, and a body of its colour."""

    async def abody(session: Any) -> None: ...

    for wrong in (None, world.engine, scoped_session(sessionmaker())):
        with pytest.raises(TypeError, match="makes no sessions"):
            run_transaction(wrong, print)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="body=None cannot be called"):
        run_transaction(world.sessions, None)
    if world.sync:
        for body in (abody, lambda session: abody(session)):
            with pytest.raises(TypeError, match="is async, and its sessions are not"):
                run_transaction(world.sessions, body)
    else:
        with pytest.raises(TypeError, match="is not async, and its sessions are"):
            world.runner.run(run_transaction(world.sessions, lambda session: None))
    assert world.idle()
    assert [(1,)] == world.sql("SELECT 1")


def test_an_isolation_level_is_that_of_the_transaction_alone(pg: World) -> None:
    """The next one on the same connection has the usual one."""
    look = text("SHOW transaction_isolation")
    found = [
        pg.transact(lambda session: session.execute(look).scalar(), **options)
        for options in ({}, {"isolation_level": "SERIALIZABLE"}, {})
    ]
    assert ["read committed", "serializable", "read committed"] == found
