"""The check of RabbitMQ, through aio-pika, against a stand-in for the broker."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

aio_pika = pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from seawall.health import Monitor  # noqa: E402
from seawall.integrations.rabbitmq import rabbitmq_check  # noqa: E402
from tests.health.broker import Broker  # noqa: E402
from tests.health.monitors import monitor, until  # noqa: E402


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The client's own log of connections that it lost is no news here."""
    loggers = [logging.getLogger(name) for name in ("aiormq", "aio_pika", "asyncio")]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker that answers."""
    with Broker() as broker:
        yield broker


@asynccontextmanager
async def connection_to(broker: Broker, robust: bool = True) -> AsyncIterator[Any]:
    """A connection that comes back by itself within a twentieth of a second."""
    url = f"amqp://user:SECRET@127.0.0.1:{broker.port}/"
    if robust:
        connection = await aio_pika.connect_robust(url, reconnect_interval=0.05)
    else:
        connection = await aio_pika.connect(url)
    yield connection
    await connection.close()


def watch(connection: Any, **options: Any) -> Monitor:
    """A monitor of the broker, quick."""
    return monitor(rabbitmq_check(connection, tags=["ready"], timeout=0.2, **options), period=0.05)


def channels(connection: Any) -> int:
    """Returns how many channels are open on the wire."""
    return len([number for number in connection.transport.connection.channels if number])


@pytest.mark.parametrize("robust", [True, False])
def test_a_broker_that_answers(broker: Broker, robust: bool) -> None:
    """Each run opens one channel on the application's connection and closes it: none is left, nor restored later."""

    async def run() -> None:
        async with connection_to(broker, robust) as connection:
            check = rabbitmq_check(connection)
            assert ("rabbitmq", 3.0, False) == (check.name, check.timeout, check.local)
            async with monitor(check, period=0.005) as watching:
                await until(lambda: watching.report().checks[0].runs > 20)
                entry = watching.report().checks[0]
                assert ("healthy", 0, {"roundTrip"}) == (entry.status, entry.bad_runs, set(entry.data))
            await until(lambda: channels(connection) == 0)
        assert 1 == broker.accepted
        assert broker.opened == broker.closed > 20

    asyncio.run(run())


def test_a_slow_broker_is_degraded(broker: Broker) -> None:
    """One that takes longer than it should is degraded, and ready; then healthy again."""

    async def run() -> None:
        async with connection_to(broker) as connection, watch(connection, slow_after=0.05) as watching:
            await until(lambda: watching.report().status == "healthy")
            broker.delay = 0.1
            await until(lambda: watching.report().status == "degraded")
            assert 200 == watching.answer("ready").status_code
            assert watching.report().checks[0].description.startswith("slow: opening a channel took 0.")
            broker.delay = 0.0
            await until(lambda: watching.report().status == "healthy")

    asyncio.run(run())


def test_a_silent_broker_is_a_failure_and_leaks_no_channel(broker: Broker) -> None:
    """A broker that says nothing on open connections: a failure each time; when it speaks again, all is given back."""

    async def run() -> None:
        async with connection_to(broker) as connection, watch(connection) as watching:
            await until(lambda: watching.report().status == "healthy")
            broker.silent = True
            await until(lambda: watching.report().checks[0].bad_in_a_row >= 3)
            assert 503 == watching.answer("ready").status_code
            assert channels(connection) <= watching.report().checks[0].bad_in_a_row + 1
            broker.cut()  # what a heartbeat would find out after a while
            broker.silent = False
            await until(lambda: watching.report().status == "healthy")
            watching.stop()
            await until(lambda: channels(connection) == 0)

    asyncio.run(run())


def test_a_broker_that_goes_away_and_comes_back(broker: Broker) -> None:
    """While the connection is lost the check fails at once, without waiting for it; reconnected, it is well."""

    async def run() -> None:
        async with connection_to(broker) as connection, watch(connection) as watching:
            for _ in range(2):
                await until(lambda: watching.report().status == "healthy")
                broker.refuse()
                broker.cut()
                await until(lambda: watching.report().checks[0].bad_in_a_row >= 3)
                entry = watching.report().checks[0]
                assert ("ConnectionError: the connection is lost", True) == (entry.description, entry.duration < 0.1)
                assert "SECRET" not in json.dumps(watching.answer(details=True))
                broker.listen()
                await until(lambda: watching.report().status == "healthy")

    asyncio.run(run())


def test_a_connection_that_is_not_there(broker: Broker) -> None:
    """A function may give the connection later; one that was closed for good is a failure."""

    async def run() -> None:
        current: Any = None
        async with watch(lambda: current) as watching:
            await until(lambda: watching.report().checks[0].runs > 0)
            assert "ConnectionError: there is no connection" == watching.report().checks[0].description
            async with connection_to(broker) as current:
                await until(lambda: watching.report().status == "healthy")
            closed = "ConnectionError: the connection is closed"
            await until(lambda: watching.report().checks[0].description == closed)

    asyncio.run(run())


def test_what_is_no_connection_is_refused() -> None:
    """A URL is not what the check needs."""
    with pytest.raises(TypeError, match="is no connection"):
        rabbitmq_check("amqp://localhost")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slow_after=0 is out of range"):
        rabbitmq_check(lambda: None, slow_after=0)
