"""The check of a database: a real PostgreSQL behind a stand-in that fails in every way, three drivers, and SQLite."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")

from sqlalchemy import create_engine, event  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine  # noqa: E402
from sqlalchemy.pool import NullPool  # noqa: E402

from seawall.health import Monitor  # noqa: E402
from seawall.integrations.sqlalchemy import database_check  # noqa: E402
from tests.health.monitors import monitor, until  # noqa: E402
from tests.health.stand_in import Mode, Proxy  # noqa: E402
from tests.servers import PostgreSQL  # noqa: E402

DRIVERS = ["asyncpg", "psycopg_async", "psycopg"]
FAILURES = [mode for mode in get_args(Mode) if mode != "pass"]


@pytest.fixture
def proxy(postgresql_server: PostgreSQL) -> Iterator[Proxy]:
    """What stands in front of a PostgreSQL server."""
    with Proxy(postgresql_server.port) as proxy:
        yield proxy


@asynccontextmanager
async def engine_of(driver: str, port: int, **options: Any) -> AsyncIterator[Any]:
    """An engine, sync or async."""
    url = f"postgresql+{driver}://postgres:SECRET@127.0.0.1:{port}/postgres"
    connect = {"timeout": 1.0} if driver == "asyncpg" else {"connect_timeout": 2, "tcp_user_timeout": 500}
    if driver == "psycopg":
        engine = create_engine(url, connect_args=connect, **options)
        yield engine
        engine.dispose()
    else:
        aengine = create_async_engine(url, connect_args=connect, **options)
        yield aengine
        await aengine.dispose()


def watch(engine: Any, **options: Any) -> Monitor:
    """A monitor of the database, quick."""
    return monitor(database_check(engine, tags=["ready"], timeout=0.2, **options), period=0.05)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_database_that_answers(proxy: Proxy, driver: str) -> None:
    """Healthy on the application's own pool, with its figures; run after run on the same connection."""

    async def run() -> None:
        async with engine_of(driver, proxy.port, pool_size=3, max_overflow=2) as engine:
            check = database_check(engine)
            assert ("database", 3.0, False) == (check.name, check.timeout, check.local)
            async with monitor(check, period=0.005) as watching:
                await until(lambda: watching.report().checks[0].runs > 20)
                entry = watching.report().checks[0]
                assert ("healthy", 0) == (entry.status, entry.bad_runs)
                pool: Any = entry.data["pool"]
                assert {"size", "checkedOut", "checkedIn", "overflow"} == set(pool)
                assert 3 == pool["size"]
                assert (
                    1 == proxy.accepted
                )  # a run that is cut short at the end may ask the server to cancel, on another

    asyncio.run(run())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("mode", FAILURES)
def test_a_database_that_goes_away_and_comes_back(proxy: Proxy, driver: str, mode: Mode) -> None:
    """Stopped, silent or resetting: a failure within the time-out, again and again; then healthy, nothing leaked."""

    async def run() -> None:
        async with engine_of(driver, proxy.port, pool_size=2, max_overflow=0) as engine, watch(engine) as watching:
            await until(lambda: watching.report().status == "healthy")
            began = time.monotonic()
            proxy.fail(mode)
            await until(lambda: watching.answer("ready").status_code == 503)
            assert time.monotonic() - began < 2.0
            await until(lambda: watching.report().checks[0].bad_in_a_row >= 3)
            proxy.fail("pass")
            await until(lambda: watching.answer("ready").status_code == 200)
            watching.stop()
            await until(lambda: engine.pool.checkedout() == 0)

    asyncio.run(run())


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_that_broke_while_idle_is_no_failure(proxy: Proxy, driver: str) -> None:
    """After a restart of the server the pool's old connection is replaced within the run."""

    async def run() -> None:
        async with (
            engine_of(driver, proxy.port) as engine,
            monitor(database_check(engine, timeout=4.0), period=0.05) as watching,
        ):
            await until(lambda: watching.report().status == "healthy")
            for _ in range(3):
                runs = watching.report().checks[0].runs
                proxy.cut()
                await until(lambda runs=runs: watching.report().checks[0].runs > runs + 1)
            assert 0 == watching.report().checks[0].bad_runs
        assert proxy.accepted > 3

    asyncio.run(run())


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_pool_that_is_used_up_is_a_failure(proxy: Proxy, driver: str) -> None:
    """The application cannot work either; the figures say why; when a connection is given back it is healthy."""

    async def run() -> None:
        async with engine_of(driver, proxy.port, pool_size=1, max_overflow=0, pool_timeout=0.2) as engine:
            held = await engine.connect() if isinstance(engine, AsyncEngine) else engine.connect()
            async with watch(engine) as watching:
                await until(lambda: watching.report().checks[0].bad_in_a_row >= 2)
                assert 1 == watching.report().checks[0].data["pool"]["checkedOut"]  # type: ignore[index]
                closed = held.close()
                if closed is not None:
                    await closed
                await until(lambda: watching.report().status == "healthy")

    asyncio.run(run())


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_password_is_shown(postgresql_server: PostgreSQL, driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a refused connection nor a database that is not there gives the URL away."""

    async def run() -> list[str]:
        seen = []
        for port, rest in ((1, ""), (postgresql_server.port, "/missing")):
            url = f"postgresql+{driver}://postgres:SECRET@127.0.0.1:{port}{rest or '/postgres'}"
            engine: Any = create_engine(url) if driver == "psycopg" else create_async_engine(url)
            async with watch(engine) as watching:
                await watching.arefresh()
                assert "unhealthy" == watching.report().status
                seen.append(json.dumps(watching.answer(details=True)) + repr(watching.snapshot()))
            if driver != "psycopg":
                await engine.dispose()
        return seen

    with caplog.at_level(logging.DEBUG, logger="seawall"):
        for shown in asyncio.run(run()):
            assert "SECRET" not in shown + caplog.text


@pytest.mark.parametrize("driver", DRIVERS)
def test_stopping_in_the_middle_leaves_nothing_behind(proxy: Proxy, driver: str) -> None:
    """With the server silent, the monitor is stopped during a run: the connection goes back, and the pool works on."""

    async def run() -> None:
        async with engine_of(driver, proxy.port, pool_size=1, max_overflow=0) as engine:
            async with monitor(database_check(engine, timeout=30.0)) as watching:
                await until(lambda: watching.report().status == "healthy")
            proxy.fail("silent")
            async with monitor(database_check(engine, timeout=30.0)):
                await until(lambda: engine.pool.checkedout() == 1)
            proxy.fail("pass")
            await until(lambda: engine.pool.checkedout() == 0)
            async with monitor(database_check(engine, timeout=30.0)) as watching:
                await watching.arefresh()
                assert "healthy" == watching.report().status

    asyncio.run(run())


def test_sqlite_and_pools_without_figures() -> None:
    """Any engine will do: SQLite in memory, and a pool that keeps no connection and no count."""

    async def run() -> None:
        asked: list[str] = []
        for options in ({}, {"poolclass": NullPool}):
            engine = create_engine("sqlite://", **options)
            event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
            async with monitor(database_check(engine)) as watching:
                assert "healthy" == (await watching.arefresh()).status
            engine.dispose()
        assert ["SELECT 1", "SELECT 1"] == asked

    asyncio.run(run())


def test_what_is_no_engine_is_refused() -> None:
    """A connection, a session or a URL is not what the check needs."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for wrong in (connection, "sqlite://", None):
            with pytest.raises(TypeError, match="is no engine"):
                database_check(wrong)  # type: ignore[arg-type]
    engine.dispose()
