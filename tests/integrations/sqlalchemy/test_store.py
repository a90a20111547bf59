"""The store on the user's engine: its scripts, alone and in the user's transactions, and its errors."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import async_scoped_session, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

from seawall.durable import StoreError, aupgrade, open_store, status, upgrade
from seawall.durable.script import Script, Statement
from seawall.durable.store import CLAIMS, RECORDS, require
from seawall.integrations.sqlalchemy import SqlStore, leaving, own
from seawall.testing import FakeClock
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy
from tests.integrations.sqlalchemy.databases import World, beside, none_left, prepare
from tests.servers import PostgreSQL
from tests.servers.process import free_port, until

PUT = Statement("INSERT INTO seawall_inbox (consumer, message_id, done_at) VALUES (:consumer, :message_id, {now})")
KEEP = Statement(
    "INSERT INTO seawall_outbox (message_id, destination, headers, body, created_at, available_at, attempts, "
    "lease_until) VALUES (:message_id, :destination, :headers, :body, {now}, {now} + :delay, :attempts, 0) "
    "RETURNING id, message_id, body, available_at - created_at, attempts, ordering_key"
)
GET = Statement("SELECT message_id FROM seawall_inbox ORDER BY message_id")


def put(*ids: str) -> Script[int]:
    """A script that writes; returns how many."""
    for each in ids:
        yield PUT, {"consumer": "c", "message_id": each}
    return len(ids)


def got() -> Script[list[str]]:
    """A script that reads what was written."""
    rows = yield GET, {}
    return [row[0] for row in rows]


def stored(world: World) -> list[str]:
    """What others see."""
    return [row[0] for row in world.sql(GET.text)]


# ------------------------------------------------------------------------------------------------- scripts alone


def test_a_script_is_one_transaction(world: World) -> None:
    """It is committed when `run` returns, with what it wrote and read; the connection is back."""
    assert 2 == world.run(partial(put, "a", "b"))
    assert (["a", "b"], ["a", "b"]) == (stored(world), world.run(got))
    assert world.idle()


def test_a_script_that_fails_has_done_nothing(world: World) -> None:
    """What it raises is raised as it is; the connection is back."""

    def fails() -> Script[None]:
        yield from put("a")
        raise LookupError("of the script's own")

    with pytest.raises(LookupError, match="own"):
        world.run(fails)
    with pytest.raises(DBAPIError, match=r"(?i)unique"):
        world.run(partial(put, "a", "a"))
    assert [] == stored(world)
    assert world.idle()


def test_values_come_back_as_they_were(world: World) -> None:
    """Texts, numbers, bytes and None, whatever the driver makes of them on the way."""

    def script() -> Script[Any]:
        values = {"message_id": "ü€%:x", "destination": "d", "headers": "{}", "body": b"\0\xff%", "delay": 0.25}
        rows = yield KEEP, {**values, "attempts": 2**40}
        return tuple(rows[0])

    with FakeClock():
        number, message_id, body, delay, attempts, none = world.run(script)
    assert (int, "ü€%:x", b"\0\xff%", 2**40, None) == (type(number), message_id, bytes(body), attempts, none)
    assert abs(delay - 0.25) < 1e-3


def test_time_is_the_servers_where_there_is_one(world: World) -> None:
    """On SQLite it is that of the default clock, so that tests may move it."""

    def now() -> Script[float]:
        rows = yield Statement("SELECT {now}"), {}
        return float(rows[0][0])

    with FakeClock(wall=1000.0):
        found = world.run(now)
    assert abs(found - (time.time() if world.is_postgresql else 1000.0)) < 60


def test_a_sync_engine_serves_async_code_too(world: World) -> None:
    """On a worker thread; an async engine does not serve sync code, and says so."""

    async def main() -> int:
        return await world.store.arun(partial(put, "a"))

    if world.sync:
        assert 1 == asyncio.run(main())
        with pytest.raises(RuntimeError, match="block the event loop"):
            asyncio.run(_in_loop(world.run, got))
    else:
        with pytest.raises(TypeError, match="use the async form"):
            world.store.run(got)


async def _in_loop(fn: Any, *args: Any) -> Any:
    return fn(*args)


def test_scripts_of_many_threads_and_tasks(world: World) -> None:
    """Each is done once."""
    ids = [f"{number:02}" for number in range(40)]

    async def main() -> None:
        await asyncio.gather(*(world.store.arun(partial(put, each)) for each in ids))

    if world.sync:
        threads = [threading.Thread(target=world.run, args=(partial(put, each),)) for each in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    else:
        world.runner.run(main())
    assert ids == stored(world)


def test_a_script_is_repeated_after_what_passes(pg: World) -> None:
    """A lost connection, and a failed serialization, at any statement of it."""
    told: list[str] = []

    def script() -> Script[list[str]]:
        rows = yield Statement("SELECT pg_backend_pid()"), {}
        told.append("run")
        yield from put("a")
        if len(told) == 1:
            pg.sql("SELECT pg_terminate_backend(:pid)", pid=rows[0][0])
        if len(told) == 2:
            yield Statement("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"), {}
        return (yield from got())

    assert ["a"] == pg.run(script)
    assert (["run"] * 3, ["a"]) == (told, stored(pg))


def test_a_script_is_repeated_although_its_commit_may_have_come_through(
    postgresql_server: PostgreSQL, pg: World
) -> None:
    """It is made so that it finds its own rows: the second run gives the same answer."""

    def script() -> Script[str]:
        rows = yield GET, {}
        if not rows:
            yield from put("a")
            return "first run"
        return "found again"

    with CommitProxy(postgresql_server.port) as proxy, through(pg, proxy.port) as world:
        world.run(got)
        proxy.plan("cut")
        assert "found again" == world.run(script)
    assert ["a"] == stored(pg)


def test_a_server_out_of_reach_is_a_store_error(pg: World) -> None:
    """After five attempts; the driver's own words are in it, and the password is not."""
    with through(pg, free_port(), password="SECRET") as world:
        with FakeClock(grace=0.2) as clock, pytest.raises(StoreError, match="is out of reach") as caught:
            world.run(got)
        assert 4 == len(clock.slept)
    assert "SECRET" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_silent_server_is_given_up(postgresql_server: PostgreSQL, pg: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is cut: a script ends with StoreError, sync or async, and the pool is as good as new."""
    monkeypatch.setattr(own, "MAX_ELAPSED", 0.0)
    impatient = own.Own(pg.engine, pg.store.dialect, "impatient", silence=0.3)

    def falls_silent() -> Script[None]:
        yield GET, {}
        postgresql_server.silence()
        yield GET, {}

    call = impatient.run if pg.sync else lambda script: pg.runner.run(impatient.arun(script))
    with pytest.raises(StoreError, match="impatient is out of reach"):
        call(falls_silent)
    postgresql_server.wake()
    until(lambda: not leaving.LEFT or (not pg.sync and pg.runner.run(asyncio.sleep(0.01))))
    assert [] == pg.run(got)
    assert pg.idle()


def test_a_cancelled_caller_does_not_wait_for_a_silent_server(
    postgresql_server: PostgreSQL, async_pg: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver itself would make it wait for 2 to 5 s."""
    pg = async_pg
    monkeypatch.setattr(leaving, "GRACE", 0.05)

    async def main() -> float:
        await pg.store.arun(got)
        await asyncio.to_thread(postgresql_server.silence)
        task = asyncio.create_task(pg.store.arun(got))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - began
        await asyncio.to_thread(postgresql_server.wake)
        await none_left()
        assert [] == await pg.store.arun(got)
        return took

    assert pg.runner.run(main()) < 1.9
    assert pg.idle()


def test_sqlite_that_is_locked_is_a_store_error(lite: World) -> None:
    """After the driver's own waiting, and ten seconds in all; then it goes on as if nothing had been."""
    busy = World(lite.driver, lite.url, lite.beside, {"connect_args": {"timeout": 0.01}})
    with beside(lite.beside) as holder, FakeClock(grace=0.05):
        holder.execute(text("BEGIN IMMEDIATE"))
        with pytest.raises(StoreError, match="is locked by another connection"):
            busy.run(got)
        holder.rollback()
        assert [] == busy.run(got)
    busy.close()


def test_a_database_without_tables_says_how_to_make_them(tmp_path: Path, world: World) -> None:
    """Whether by the command or by a migration of one's own."""
    world.sql("ALTER TABLE seawall_inbox RENAME TO elsewhere")
    try:
        with pytest.raises(StoreError, match=r"lacks seawall's tables; .*`seawall db upgrade`"):
            world.run(got)
    finally:
        world.sql("ALTER TABLE elsewhere RENAME TO seawall_inbox")


def test_a_file_that_takes_no_writes_is_a_store_error(tmp_path: Path) -> None:
    """Read-only, no database, or in a folder that is not there."""
    prepare(f"sqlite:///{tmp_path}/a.db")
    (tmp_path / "no.db").write_bytes(b"this is no database, and never was one" * 100)
    for url, said in (
        (f"sqlite:///file:{tmp_path}/a.db?mode=ro&uri=true", "takes no writes"),
        (f"sqlite:///{tmp_path}/no.db", "is no SQLite database"),
        (f"sqlite:///{tmp_path}/no/a.db", "cannot be opened"),
    ):
        engine = create_engine(url)
        with pytest.raises(StoreError, match=said):
            SqlStore(engine).run(partial(put, "a"))
        engine.dispose()


# --------------------------------------------------------------------------------- in the user's own transaction


@pytest.mark.parametrize("kind", ["session", "connection", "scoped session"])
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_script_joins_the_users_transaction(world: World, kind: str, end: str) -> None:
    """It is committed or rolled back with it, and sees what it did."""

    def sync() -> list[str]:
        make = {"session": world.sessions, "connection": world.engine.connect, "scoped session": _scoped(world)}[kind]
        with make() as session:
            given = make if kind == "scoped session" else session
            assert 1 == world.store.on(given).run(partial(put, "a"))
            found: list[str] = world.store.on(given).run(got)
            assert [] == stored(world)
            getattr(session, end)()
        return found

    async def main() -> list[str]:
        make = {"session": world.sessions, "connection": world.engine.connect, "scoped session": _scoped(world)}[kind]
        async with make() as session:
            given = make if kind == "scoped session" else session
            assert 1 == await world.store.on(given).arun(partial(put, "a"))
            found: list[str] = await world.store.on(given).arun(got)
            assert [] == stored(world)
            await getattr(session, end)()
        return found

    assert ["a"] == (sync() if world.sync else world.runner.run(main()))
    assert (["a"] if end == "commit" else []) == stored(world)
    assert world.idle()


def _scoped(world: World) -> Any:
    if world.sync:
        return scoped_session(world.sessions)
    return async_scoped_session(world.sessions, asyncio.current_task)


def test_the_wrong_colour_is_said(world: World) -> None:
    """A sync session has no async form, and the other way round."""

    async def main() -> None:
        session = world.sessions()
        executor = world.store.on(session)
        with pytest.raises(TypeError, match=r"use an AsyncSession|await the async form"):
            await executor.arun(got) if world.sync else executor.run(got)
        await (asyncio.to_thread(session.close) if world.sync else session.close())

    world.runner.run(main())


def test_what_is_no_session_is_said(world: World) -> None:
    """An engine, a factory, nothing; and a session on another kind of database."""
    for wrong in (None, world.engine, world.sessions):
        with pytest.raises(TypeError, match="no session; use the Session, AsyncSession"):
            world.store.on(wrong)
    other = create_engine("sqlite://" if world.is_postgresql else "postgresql+psycopg://localhost")
    if world.is_postgresql:
        with sessionmaker(other)() as session, pytest.raises(StoreError, match="they share no transaction"):
            world.store.on(session).run(got)
    other.dispose()


# ------------------------------------------------------------------------------------------------- the store itself


def test_what_a_store_is(world: World) -> None:
    """Its name is the URL without secrets; it can hold everything."""
    assert world.url.partition("?")[0].replace("postgres:", "postgres") == world.store.name
    assert {CLAIMS, RECORDS} == world.store.capabilities
    require(world.store, RECORDS, "an inbox")
    assert "mine" == SqlStore(world.engine, name="mine").name
    assert f"SqlStore({world.store.name!r})" == repr(world.store)


def test_a_name_hides_the_password_and_the_options() -> None:
    """Both may be secret."""
    store = SqlStore(create_engine("postgresql+psycopg://user:SECRET@host/db?sslpassword=SECRET"))
    assert "postgresql+psycopg://user:***@host/db" == store.name


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: SqlStore("sqlite:///x.db"), TypeError, "is no engine"),  # type: ignore[arg-type]
        (lambda: SqlStore(create_engine("sqlite://")), StoreError, "in memory"),
        (lambda: SqlStore(create_engine("sqlite:///:memory:")), StoreError, "EmbeddedStore.in_memory()"),
        (
            lambda: SqlStore(create_engine("sqlite:///file:x?mode=memory&uri=true", poolclass=QueuePool)),
            StoreError,
            "in memory",
        ),
        (lambda: SqlStore(create_engine("sqlite:///file::memory:?uri=true")), StoreError, "in memory"),
        (lambda: SqlStore(create_async_engine("sqlite+aiosqlite://")), StoreError, "in memory"),
        (lambda: SqlStore(create_engine("sqlite:///x.db"), name=""), TypeError, "name=''"),
        (lambda: SqlStore(create_engine("sqlite:///x.db"), notify=1), TypeError, "notify=1"),  # type: ignore[arg-type]
    ],
)
def test_a_store_that_cannot_be_is_said(make: Any, error: type[Exception], said: str) -> None:
    """At construction, with what would be right."""
    with pytest.raises(error) as caught:
        make()
    assert said in str(caught.value)


def test_tables_are_made_and_looked_at(tmp_path: Path, postgresql_server: PostgreSQL) -> None:
    """`upgrade` and `status`, in both colours; two upgrades at once do not collide."""
    with postgresql_server.database() as fresh, postgresql_server.database() as other:
        engine = create_engine(fresh.psycopg_url)
        store = SqlStore(engine)
        assert 0 == status(store).version
        threads = [threading.Thread(target=upgrade, args=(store,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert status(store).is_current
        engine.dispose()

        async def main() -> list[int]:
            engine = create_async_engine(other.asyncpg_url)
            found = await asyncio.gather(*(aupgrade(SqlStore(engine)) for _ in range(4)))
            await engine.dispose()
            return found

        assert [0, 1, 1, 1] == sorted(asyncio.run(main()))


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg_async", "postgresql+asyncpg"]
)
def test_a_store_is_opened_by_its_url_and_closed(postgresql_server: PostgreSQL, pg: World, scheme: str) -> None:
    """It is on an engine of its own, which ends with it."""
    url = make_url(pg.url).set(drivername=scheme, port=postgresql_server.port).render_as_string()

    async def main(store: Any) -> list[str]:
        found: list[str] = await store.arun(got)
        if "async" in scheme:
            with pytest.raises(TypeError, match="aclose"):
                store.close()
        await store.aclose()
        return found

    assert [] == asyncio.run(main(open_store(url, pool_size=1)))
    if "async" not in scheme:
        store = open_store(url)
        assert [] == store.run(got)
        store.close()
    until(lambda: postgresql_server.clients() == 0)


def test_a_url_that_is_none_is_not_shown(postgresql_server: PostgreSQL) -> None:
    """There may be a password in it."""
    with pytest.raises(StoreError, match="followed by no address") as caught:
        open_store("postgresql://user:SECRET@host:port/db")
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r}"


@contextmanager
def through(world: World, port: int, **place: Any) -> Iterator[World]:
    """Gives the same database by another port, on a pool of one connection."""
    url = make_url(world.url).set(port=port, **place).render_as_string(hide_password=False)
    other = World(world.driver, url, world.beside, {"pool_size": 1, "max_overflow": 0})
    try:
        yield other
    finally:
        other.close()
