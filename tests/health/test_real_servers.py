"""The checks of PostgreSQL, Redis and RabbitMQ through a monitor, while the real server is stopped, killed or silent.

Each is found out by the second run at the latest, so within two periods; nothing hangs meanwhile; when the server is
back, so is health, by itself, and no connection, channel, task or thread is left over.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
redis = pytest.importorskip("redis", reason="NO redis-py: pip install 'redis>=8'")
aio_pika = pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

import redis.asyncio  # noqa: E402, F811
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

from seawall.health import Check, Monitor  # noqa: E402
from seawall.integrations.rabbitmq import rabbitmq_check  # noqa: E402
from seawall.integrations.redis import redis_check  # noqa: E402
from seawall.integrations.sqlalchemy import database_check  # noqa: E402
from tests.health.monitors import monitor, statuses  # noqa: E402
from tests.servers import PostgreSQL, RabbitMQ, Redis, Server  # noqa: E402

PERIOD, TIMEOUT = 0.5, 0.3
PATIENCE = 60.0
OUTAGES = pytest.mark.parametrize("outage", ["stop", "kill", "silence"])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The clients' own logs of connections that they lost are no news here."""
    loggers = [logging.getLogger(name) for name in ("aiormq", "aio_pika", "asyncio", "sqlalchemy.pool")]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what a server does, which takes longer than what a task does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(*checks: Check) -> AsyncIterator[Monitor]:
    """A monitor in which all is well."""
    async with monitor(*checks, period=PERIOD, timeout=TIMEOUT) as watching:
        await until(lambda: well(watching))
        yield watching


def well(watching: Monitor) -> bool:
    """Whether all is well."""
    return {"healthy"} == set(statuses(watching.report()).values())


def runs(watching: Monitor) -> dict[str, int]:
    """Returns how often each check has run."""
    return {entry.name: entry.runs for entry in watching.report().checks}


async def goes_away_and_comes_back(watching: Monitor, server: Server, outage: str) -> None:
    """Lets the server go away: each check fails from its second run on, again and again, until the server is back."""
    await asyncio.to_thread(getattr(server, outage))
    before = runs(watching)  # a run that is under way may have had its answer already
    await until(lambda: all(entry.bad_in_a_row >= 2 for entry in watching.report().checks))
    for entry in watching.report().checks:
        assert entry.runs - entry.bad_in_a_row <= before[entry.name] + 1, entry
        assert entry.duration < 10 * TIMEOUT
    assert 503 == watching.answer("ready").status_code
    await asyncio.to_thread(server.recover)
    await until(lambda: well(watching))


async def nothing_is_left(server: Server, connections: int) -> None:
    """Sees that the server has no more connections than that, and the loop no other task than this one."""
    await until(lambda: server.clients() <= connections)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


@OUTAGES
def test_postgresql(postgresql_server: PostgreSQL, outage: str) -> None:
    """Three drivers, async and sync, on pools of two connections."""
    server = postgresql_server

    async def run() -> None:
        connections = server.clients()
        async with AsyncExitStack() as stack:
            size = {"pool_size": 2, "max_overflow": 0}
            limits = {"connect_timeout": 2}
            engines: dict[str, Any] = {
                "asyncpg": create_async_engine(server.asyncpg_url, **size, connect_args={"timeout": 1.0}),
                "psycopg async": create_async_engine(server.psycopg_url, **size, connect_args=limits),
                "psycopg": sqlalchemy.create_engine(server.psycopg_url, **size, connect_args=limits),
            }
            stack.callback(engines["psycopg"].dispose)
            for name in ("asyncpg", "psycopg async"):
                stack.push_async_callback(engines[name].dispose)
            checks = [
                database_check(engine, name=name, tags=["ready"], timeout=TIMEOUT) for name, engine in engines.items()
            ]
            async with watched(*checks) as watching:
                await goes_away_and_comes_back(watching, server, outage)
            for engine in engines.values():
                await until(lambda pool=engine.pool: pool.checkedout() == 0)  # type: ignore[misc]
        await nothing_is_left(server, connections)

    asyncio.run(run())


@OUTAGES
def test_redis(redis_server: Redis, outage: str) -> None:
    """Both colours, with the clients' own defaults."""

    async def run() -> None:
        connections = redis_server.clients()
        async with redis.asyncio.from_url(redis_server.url) as aclient:
            with redis.from_url(redis_server.url) as client:
                checks = [
                    redis_check(aclient, name="async", tags=["ready"], timeout=TIMEOUT),
                    redis_check(client, name="sync", timeout=TIMEOUT),
                ]
                async with watched(*checks) as watching:
                    await goes_away_and_comes_back(watching, redis_server, outage)
        await nothing_is_left(redis_server, connections + 1)  # the sync check's own, as long as there is the check

    asyncio.run(run())


def test_a_silent_rabbitmq(rabbitmq_server: RabbitMQ) -> None:
    """On a connection that comes back by itself. Stopped and killed, which takes long: test_llmgateway_outages.py."""

    def channels() -> int:
        return int(rabbitmq_server.evaluate("length(rabbit_channel:list())"))

    async def run() -> None:
        connections = rabbitmq_server.clients()
        connection = await aio_pika.connect_robust(rabbitmq_server.url, reconnect_interval=0.2)
        async with connection, watched(rabbitmq_check(connection, tags=["ready"], timeout=TIMEOUT)) as watching:
            await goes_away_and_comes_back(watching, rabbitmq_server, "silence")
            await watching.astop()
            await until(lambda: channels() == 0)
            await until(lambda: {0} >= set(connection.transport.connection.channels))
        await nothing_is_left(rabbitmq_server, connections)

    asyncio.run(run())


def test_the_check_asks_the_broker_and_no_cache(rabbitmq_server: RabbitMQ, rabbitmq_url: str) -> None:
    """A robust channel answers a passive declare by itself, also while the broker is silent; the check does not."""

    async def run() -> None:
        connection = await aio_pika.connect_robust(rabbitmq_url)
        async with connection, watched(rabbitmq_check(connection, timeout=TIMEOUT)) as watching:
            channel = await connection.channel()
            await channel.declare_queue("q", auto_delete=True)
            rabbitmq_server.silence()
            await asyncio.wait_for(channel.declare_queue("q", passive=True), 10)
            await until(lambda: watching.report().status == "unhealthy")
            rabbitmq_server.wake()
            await until(lambda: well(watching))

    asyncio.run(run())
