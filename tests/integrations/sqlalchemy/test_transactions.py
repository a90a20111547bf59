"""Transactions with retry: what is made again, what is not, and what holds meanwhile, by every driver."""

import threading
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, Text, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.orm.exc import StaleDataError

from seawall import Recovered, Retried, RetryStopped, listen
from seawall.integrations.sqlalchemy.enlisting import sync_engine
from seawall.integrations.sqlalchemy.failures import sqlstate
from seawall.testing import Recorder
from tests.integrations.sqlalchemy.databases import COUNT, World, add, beside
from tests.servers import PostgreSQL
from tests.servers.process import free_port

NOW = {"backoff": 0.0}


class Base(DeclarativeBase):
    pass


class Effect(Base):
    __tablename__ = "effects"
    id = Column(Text, primary_key=True)
    count = Column(Integer, nullable=False)
    __mapper_args__ = {"version_id_col": count}  # noqa: RUF012 - as SQLAlchemy wants it


def test_a_body_is_committed_and_its_result_returned(world: World) -> None:
    """One attempt, one commit, and the connection is back in the pool."""
    with Recorder() as events:
        assert "a" == world.transact(add("a"))
    assert ({"a": 1}, []) == (world.effects(), events.events)
    assert world.idle()


def test_an_exception_of_the_body_rolls_back_and_is_raised_as_it_is(world: World) -> None:
    """It is no reason for another attempt."""
    calls = []

    def body(session: Session) -> None:
        calls.append(add("a")(session))
        raise LookupError("no such customer")

    with pytest.raises(LookupError, match="no such customer"):
        world.transact(body)
    assert (["a"], {}) == (calls, world.effects())
    assert world.idle()


def test_a_unique_violation_is_never_made_again(world: World) -> None:
    """In the body, or when what is left is flushed before COMMIT."""
    world.transact(add("a"))
    calls = []

    def by_orm(session: Session) -> None:
        calls.append(1)
        session.add(Effect(id="a", count=1))

    for body in (add("a"), by_orm):
        with pytest.raises(IntegrityError):
            world.transact(body)
    assert ([1], {"a": 1}) == (calls, world.effects())


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_failed_serialization_is_made_again(pg: World, level: str) -> None:
    """Another transaction wrote first (40001): rolled back, a fresh session, and success."""
    pg.transact(add("a"))
    sessions = []

    def body(session: Session) -> None:
        sessions.append(session)
        session.execute(text("SELECT count FROM effects")).all()
        if len(sessions) == 1:
            pg.sql("UPDATE effects SET count = count + 10")
        session.execute(COUNT, {"id": "a"})

    with Recorder(Retried, Recovered) as events:
        pg.transact(body, isolation_level=level, **NOW)
    assert (2, {"a": 12}) == (len({id(session) for session in sessions}), pg.effects())
    assert ["transactions", "transactions"] == [event.name for event in events.events]


def test_a_serialization_that_fails_at_commit_is_made_again(pg: World) -> None:
    """Write skew: each read what the other wrote, and the one that commits last is told so by COMMIT."""
    pg.transact(add("a"))
    pg.transact(add("b"))
    calls = []

    def body(session: Session) -> None:
        calls.append(1)
        session.execute(text("SELECT sum(count) FROM effects")).all()
        session.execute(COUNT, {"id": "a"})
        if len(calls) == 1:
            pg.sql(
                "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(count) FROM effects; "
                "UPDATE effects SET count = count + 1 WHERE id = 'b'; COMMIT"
            )

    with Recorder(Retried) as events:
        pg.transact(body, isolation_level="SERIALIZABLE", **NOW)
    (event,) = events.of(Retried)
    assert event.failure is not None
    said = f"{event.failure} {getattr(getattr(event.failure.__cause__, '__cause__', None), 'detail', '')}"
    assert ("40001", True) == (sqlstate(event.failure), "commit attempt" in said)
    assert (2, {"a": 2, "b": 2}) == (len(calls), pg.effects())


def test_a_deadlock_is_made_again(pg: World) -> None:
    """Two transactions lock two rows in opposite order; both come through, each once."""
    pg.transact(add("a"))
    pg.transact(add("b"))
    meeting = threading.Barrier(2)
    other = World(pg.driver, pg.url, pg.beside)

    def crossing(first: str, second: str) -> Any:
        waits = [True]

        def body(session: Session) -> None:
            session.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            session.execute(COUNT, {"id": first})
            if waits:
                waits.clear()
                meeting.wait(20)
            session.execute(COUNT, {"id": second})

        return body

    with Recorder(Retried) as events:
        thread = threading.Thread(target=lambda: other.transact(crossing("b", "a"), **NOW))
        thread.start()
        pg.transact(crossing("a", "b"), **NOW)
        thread.join(20)
    other.close()
    assert {"40P01"} == {sqlstate(event.failure) for event in events.of(Retried) if event.failure}
    assert {"a": 3, "b": 3} == pg.effects()


def test_a_connection_lost_before_commit_is_replaced_and_the_transaction_made_again(pg: World) -> None:
    """The server ends it in the body (57P01), as when it is restarted."""
    pids = []

    def body(session: Session) -> None:
        pids.append(session.execute(text("SELECT pg_backend_pid()")).scalar())
        add("a")(session)
        if len(pids) == 1:
            pg.sql("SELECT pg_terminate_backend(:pid)", pid=pids[0])
        session.execute(COUNT, {"id": "a"})

    pg.transact(body, **NOW)
    assert (2, {"a": 2}) == (len(set(pids)), pg.effects())


def test_a_server_that_is_restarted_meanwhile_is_waited_for(pg: World, postgresql_server: PostgreSQL) -> None:
    """Refused, then "starting up" (57P03), then there: within the attempts and their time."""
    pg.transact(add("a"))
    postgresql_server.stop()
    starting = threading.Timer(0.3, postgresql_server.start)
    starting.start()
    pg.transact(add("b"), attempts=1000, backoff=0.05, max_elapsed=30.0)
    starting.join()
    assert {"a": 1, "b": 1} == pg.effects()


def test_a_refused_connection_is_tried_again_and_then_raised_as_it_is(pg: World) -> None:
    """The driver's own exception, after all attempts; the body was never called."""
    nowhere = World(pg.driver, pg.url.replace(str(_port(pg)), str(free_port())), pg.beside)
    with Recorder(Retried, RetryStopped) as events, pytest.raises((DBAPIError, ConnectionRefusedError)):
        nowhere.transact(add("a"), attempts=3, **NOW)
    nowhere.close()
    assert (2, ["attempts"]) == (len(events.of(Retried)), [event.reason for event in events.of(RetryStopped)])


def test_a_lock_that_is_not_had_in_time_is_made_again_only_if_asked(pg: World) -> None:
    """55P03 by NOWAIT: raised; with retry_lock_timeouts, made again."""
    pg.transact(add("a"))
    calls = []

    def body(session: Session) -> None:
        calls.append(1)
        if len(calls) == 3:
            holder.rollback()
        session.execute(text("SELECT * FROM effects FOR UPDATE NOWAIT"))

    with beside(pg.beside) as holder:
        holder.execute(text("SELECT * FROM effects FOR UPDATE"))
        with pytest.raises(DBAPIError):
            pg.transact(body, **NOW)
        assert [1] == calls
        pg.transact(body, retry_lock_timeouts=True, **NOW)
        assert [1, 1, 1] == calls


@pytest.mark.parametrize("retry_on", [StaleDataError, (StaleDataError, KeyError), lambda e: "expected" in str(e)])
def test_more_failures_may_be_named(world: World, retry_on: Any) -> None:
    """A version conflict of the ORM, found when the change is flushed: raised; with retry_on, made again."""
    world.transact(add("a"))
    calls = []

    def body(session: Session) -> None:
        calls.append(1)
        effect = session.get_one(Effect, "a")
        if len(calls) in (1, 2):  # as if somebody else had been here meanwhile
            session.execute(COUNT, {"id": "a"})
        effect.id = "b"

    with pytest.raises(StaleDataError):
        world.transact(body, **NOW)
    assert [1] == calls
    world.transact(body, retry_on=retry_on, **NOW)
    assert (3, {"b": 2}) == (len(calls), world.effects())


def test_a_failure_that_was_wrapped_is_recognized(pg: World) -> None:
    """An exception raised from the driver's is judged by that one; a group, if all of it passes."""
    for wrap in (lambda error: RuntimeError("wrapped"), lambda error: ExceptionGroup("two", [error, error])):
        calls: list[int] = []

        def body(session: Session, wrap: Any = wrap, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == 1:
                try:
                    session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
                except DBAPIError as error:
                    raise wrap(error) from error

        pg.transact(body, **NOW)
        assert [1, 1] == calls


def test_a_group_with_a_failure_that_does_not_pass_is_raised(pg: World) -> None:
    """One of the group would be raised again anyway."""
    calls = []

    def body(session: Session) -> None:
        calls.append(1)
        try:
            session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        except DBAPIError as error:
            raise ExceptionGroup("two", [error, LookupError()]) from None

    with pytest.raises(ExceptionGroup):
        pg.transact(body, **NOW)
    assert [1] == calls


def test_somebody_elses_connection_error_is_none_of_the_databases(world: World) -> None:
    """A refused connection that the body met elsewhere is raised, and so is a time-out."""
    for failure in (ConnectionRefusedError("the bank"), TimeoutError("the bank")):
        calls: list[int] = []

        def body(session: Session, failure: Exception = failure, calls: list[int] = calls) -> None:
            calls.append(1)
            raise failure

        with pytest.raises(type(failure), match="the bank"):
            world.transact(body, **NOW)
        assert [1] == calls


def test_sqlite_takes_the_write_lock_first(lite: World) -> None:
    """A body that reads and then writes never finds that somebody wrote in between, on two connections at once."""
    lite.transact(add("a"))
    other = World(lite.driver, lite.url, lite.beside)

    def body(session: Session) -> None:
        count = session.execute(text("SELECT count FROM effects")).scalar_one()
        session.execute(text("UPDATE effects SET count = :count"), {"count": count + 1})

    def many(which: World) -> None:
        for _ in range(20):
            which.transact(body)

    with Recorder(Retried) as events:
        thread = threading.Thread(target=many, args=(other,))
        thread.start()
        many(lite)
        thread.join(60)
    other.close()
    assert ({"a": 41}, []) == (lite.effects(), events.events)


def test_sqlite_that_is_locked_is_tried_again(lite: World) -> None:
    """BUSY at the beginning, after the driver's own waiting: another attempt, and in the end the driver's exception."""
    busy = World(lite.driver, lite.url, lite.beside, {"connect_args": {"timeout": 0.01}})
    with beside(lite.beside) as holder:
        holder.execute(text("BEGIN IMMEDIATE"))
        with Recorder(Retried) as events, pytest.raises(DBAPIError, match="locked"):
            busy.transact(add("a"), attempts=2, **NOW)
        assert 1 == len(events.events)
        remove = listen(lambda event: holder.rollback() if event.attempt == 3 else None, Retried)
        busy.transact(add("a"), **NOW)
        remove()
    busy.close()
    assert {"a": 1} == lite.effects()


@pytest.mark.parametrize("hook", ["BEGIN", "BEGIN IMMEDIATE", None])
def test_an_engine_with_listeners_of_its_own_keeps_its_ways(lite: World, hook: str | None) -> None:
    """The known recipe for SQLite, by which a listener sends BEGIN: ours takes its place, and nobody else's changes."""
    begun = []

    @event.listens_for(sync_engine(lite.engine), "begin")
    def begin(connection: Connection) -> None:
        if hook is not None:
            begun.append(hook)
            connection.exec_driver_sql(hook)

    lite.transact(add("a"))
    lite.transact(add("b"), txn_id="t1")
    assert ({"a": 1, "b": 1}, [hook, hook] if hook else []) == (lite.effects(), begun)


def _port(world: World) -> int:
    return int(world.engine.url.port)
