"""Wakes: whoever waits for something in the database is told when it is committed, here and in other processes."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from seawall.integrations.sqlalchemy import SqlStore, notices
from tests.integrations.sqlalchemy.databases import World, add
from tests.servers import PostgreSQL
from tests.servers.process import until

FEW = 0.3
"""Seconds within which nothing is heard that is not to be heard."""


class Ear:
    """Counts how often a channel was woken; `world.runner` runs meanwhile, where there is one."""

    def __init__(self, world: World, channel: str = "outbox", store: SqlStore | None = None) -> None:
        self.world, self.heard = world, 0
        self._store, self._channel = store or world.store, channel
        self.end: Callable[[], None]

    def __enter__(self) -> "Ear":
        self.end = self._listen() if self.world.sync else self.world.runner.run(self._alisten())
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        self.wait(0.0)

    def __call__(self) -> None:
        """Counts."""
        self.heard += 1

    def _listen(self) -> Callable[[], None]:
        return self._store.listen(self._channel, self)

    async def _alisten(self) -> Callable[[], None]:
        return self._listen()

    def wait(self, seconds: float) -> int:
        """Waits, and returns how often it was woken until then."""
        pause = threading.Event().wait
        pause(seconds) if self.world.sync else self.world.runner.run(asyncio.sleep(seconds))
        return self.heard

    def until(self, heard: int) -> None:
        """Waits until it was woken so often."""
        until(lambda: self.wait(0.01) >= heard, 20)

    def ready(self) -> None:
        """Waits until other processes are heard, on PostgreSQL; forgets what was heard."""
        if self.world.is_postgresql:
            self.until(1)  # one is told when a connection was made, as others may have been told of before
        self.heard = 0


def in_session(world: World, act: Callable[[Any], None], end: str = "commit") -> None:
    """Uses a session of the user's: `act(session)`, then commit, rollback or close."""

    async def main() -> None:
        async with world.sessions() as session:
            await session.run_sync(add("a"))
            act(session)
            await getattr(session, end)()

    if not world.sync:
        world.runner.run(main())
        return
    with world.sessions() as session:
        add("a")(session)
        act(session)
        getattr(session, end)()


def on_connection(world: World, act: Callable[[Any], None], end: str = "commit") -> None:
    """The same with a connection."""
    statement = text("INSERT INTO effects (id, count) VALUES ('a', 1)")

    async def main() -> None:
        async with world.engine.connect() as connection:
            await connection.execute(statement)
            act(connection)
            await getattr(connection, end)()

    if not world.sync:
        world.runner.run(main())
        return
    with world.engine.connect() as connection:
        connection.execute(statement)
        act(connection)
        getattr(connection, end)()


@pytest.mark.parametrize("use", [in_session, on_connection])
def test_a_commit_wakes_and_a_rollback_does_not(world: World, use: Any) -> None:
    """In the same process; and what waited for a rolled back transaction does not wake at the next commit."""
    with Ear(world) as ear, Ear(world, "other") as other:
        ear.ready()
        for end in ("rollback", "close"):
            use(world, lambda joined: world.store.after(joined, "outbox"), end)
        world.sql("DELETE FROM effects")
        use(world, lambda joined: None)
        world.sql("DELETE FROM effects")
        assert 0 == ear.wait(FEW)
        use(world, lambda joined: [world.store.after(joined, "outbox") for _ in range(3)])
        ear.until(1)
        assert ear.wait(FEW) <= 2  # by the process itself and, on PostgreSQL, by the server: once each
        assert other.heard <= 1


def test_wake_wakes_at_once(world: World) -> None:
    """Every listener of the channel in this process, until it stops listening."""
    with Ear(world) as ear:
        ear.ready()
        world.store.wake("outbox")
        world.store.wake("something else")
        assert 1 == ear.heard
        ear.end()
        ear.end()
        world.store.wake("outbox")
        assert 1 == ear.heard


def test_a_transaction_with_retry_wakes_when_it_is_committed(world: World) -> None:
    """Once, however many attempts it took."""
    calls: list[int] = []

    def body(session: Any) -> None:
        world.store.after(session, "outbox")
        if not calls:
            calls.append(1)
            raise LookupError("first")
        assert 0 == ear.heard

    with Ear(world) as ear:
        ear.ready()
        world.transact(body, retry_on=LookupError, backoff=0)
        assert 1 <= ear.wait(FEW) <= 2


def test_another_process_is_told_by_the_commit(pg: World) -> None:
    """Another store, as in another process, hears by PostgreSQL; with notify=False it does not."""
    other = SqlStore(pg.engine)
    quiet = SqlStore(pg.engine, notify=False)
    with Ear(pg, store=other) as ear:
        ear.ready()
        in_session(pg, lambda session: quiet.after(session, "outbox"))
        assert 0 == ear.wait(FEW)
        pg.sql("DELETE FROM effects")
        on_connection(pg, lambda joined: pg.store.after(joined, "outbox"), "rollback")
        assert 0 == ear.wait(FEW)
        on_connection(pg, lambda joined: pg.store.after(joined, "outbox"))
        ear.until(1)
        pg.transact(lambda session: pg.store.after(session, "outbox"))
        ear.until(2)
        assert 2 == ear.wait(FEW)


def test_a_savepoint_that_is_released_tells_nobody_yet(pg: World) -> None:
    """The commit does."""
    other = SqlStore(pg.engine)

    def body(session: Any) -> None:
        with session.begin_nested():
            pg.store.after(session, "outbox")
        session.execute(text("SELECT pg_sleep(0.1)"))
        heard.append(ear.heard)

    heard: list[int] = []
    with Ear(pg, store=other) as ear:
        ear.ready()
        pg.transact(body)
        ear.until(1)
    assert [0] == heard


def test_a_lost_connection_is_replaced_and_everybody_woken(pg: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was told meanwhile was not heard: each channel is woken, and then it hears again."""
    monkeypatch.setattr(notices, "AGAIN", notices.Backoff.fixed(0.05))
    other = SqlStore(pg.engine)
    with Ear(pg, store=other) as ear, Ear(pg, "saga", store=other) as saga:
        ear.ready()
        saga.heard = 0
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%seawall%'")
        ear.until(1)
        saga.until(1)
        in_session(pg, lambda session: pg.store.after(session, "outbox"))
        ear.until(2)


def test_a_server_that_comes_back_is_heard_again(
    pg: World, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning in the log, however long it was away."""
    monkeypatch.setattr(notices, "AGAIN", notices.Backoff.fixed(0.02))
    other = SqlStore(pg.engine)
    with Ear(pg, store=other) as ear:
        ear.ready()
        postgresql_server.stop()
        ear.wait(FEW)
        postgresql_server.start()
        ear.until(1)
        said = [record.message for record in caplog.records if "notifications" in record.message]
        assert 1 == len(said)


def test_a_connection_that_went_silent_is_noticed(
    pg: World, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried after a while without a word, and given up where no answer comes."""
    for name in ("QUIET", "ANSWER"):
        monkeypatch.setattr(notices, name, 0.1)
    monkeypatch.setattr(notices, "AGAIN", notices.Backoff.fixed(0.05))
    other = SqlStore(pg.engine)
    with Ear(pg, store=other) as ear:
        ear.ready()
        assert 0 == ear.wait(FEW)  # tried a few times meanwhile, with success
        postgresql_server.silence()
        ear.wait(FEW)
        postgresql_server.wake()
        ear.until(1)


def test_the_connection_that_hears_is_beside_the_pool_and_ends(pg: World, postgresql_server: PostgreSQL) -> None:
    """While somebody listens there is one; then there is none, and no thread or task is left."""
    with Ear(pg) as first, Ear(pg, "saga") as second:
        first.ready()
        assert pg.idle()
        listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%seawall%'"
        assert [(1,)] == pg.sql(listening)
        second.end()
        assert [(1,)] == pg.sql(listening)
        first.end()
        first.wait(0.05)
        until(lambda: first.wait(0.01) is not None and pg.sql(listening) == [(0,)])
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "seawall-notices"])
    with Ear(pg) as again:
        again.ready()
        pg.store.close()
        until(lambda: again.wait(0.01) is not None and pg.sql(listening) == [(0,)])


def test_an_async_engine_outside_of_its_loop_hears_of_this_process_alone(asyncpg: World) -> None:
    """There is nobody who could listen; the rest works."""
    heard: list[int] = []
    end = asyncpg.store.listen("outbox", lambda: heard.append(1))
    asyncpg.transact(lambda session: asyncpg.store.after(session, "outbox"))
    end()
    assert [1] == heard


def test_a_forked_child_leaves_the_parents_connection_alone(pg: World) -> None:
    """It does not hear, and its end does not end the parent's hearing."""
    with Ear(pg) as ear:
        ear.ready()
        child = os.fork()
        if child == 0:
            pg.store.wake("outbox")
            os._exit(ear.heard)
        assert 1 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        pg.transact(lambda session: SqlStore(pg.engine).after(session, "outbox"))
        ear.until(1)


def test_what_has_no_transaction_is_said(world: World) -> None:
    """Anything but a session or a connection, and an async connection that was not started."""
    with pytest.raises(TypeError, match="no session"):
        world.store.after(None, "outbox")
    if not world.sync:
        with pytest.raises(ValueError, match="has not been started"):
            world.store.after(world.engine.connect(), "outbox")
