"""The LLM gateway's queue on a real RabbitMQ: what it does where the broker is silent, at the start or amidst."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

import aio_pika

from examples.llmgateway import messages, rabbit_queue
from examples.llmgateway.rabbit_queue import RabbitQueue
from examples.llmgateway.wire import Usage, UsageMessage
from tests.servers import RabbitMQ

PATIENCE = 60.0
SECRET = "S3CRET-pa55word"


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time-outs are short; what the client says of lost connections is no news."""
    for where, name in (
        (messages, "PAUSE"),
        (rabbit_queue, "PAUSE"),
        (rabbit_queue, "COMING_BACK"),
        (rabbit_queue, "AT_START"),
    ):
        monkeypatch.setattr(where, name, 0.1)
    monkeypatch.setattr(rabbit_queue, "GOODBYE", 0.5)
    loggers = [logging.getLogger(name) for name in ("aiormq", "aio_pika")]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False


def message(number: int) -> UsageMessage:
    """Return a message about usage."""
    return UsageMessage(message_id=f"m{number}", project_id="p1", provider="openai", model="m", usage=Usage())


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the broker does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.02)


class Handled:
    """A handler that takes note of its messages, and fails so many times first."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.names: list[str] = []

    async def __call__(self, message: UsageMessage) -> None:
        """Handle one."""
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        self.names.append(message.message_id)


@asynccontextmanager
async def started(url: str, handler: Handled) -> AsyncIterator[RabbitQueue]:
    """Run a queue; no task of it is left at the end."""
    queue = RabbitQueue(url)
    await queue.start(handler)
    try:
        yield queue
    finally:
        await queue.stop()
    await until(lambda: {asyncio.current_task()} == asyncio.all_tasks())


async def published(queue: RabbitQueue, number: int) -> None:
    """Publish as the publisher does: until it is in the queue."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with asyncio.timeout(1):
                    return await queue.publish(message(number))
            except (OSError, TimeoutError):
                await asyncio.sleep(0.05)


def test_a_message_comes_until_it_was_handled_and_what_is_none_is_dropped(rabbitmq_url: str) -> None:
    """A handler that fails gets it again; garbage of others is logged and gone, and holds up nothing."""

    async def test() -> None:
        handler = Handled(failures=2)
        async with started(rabbitmq_url, handler) as queue:
            other = await aio_pika.connect(rabbitmq_url)
            async with other, other.channel() as channel:
                garbage = aio_pika.Message(b"\xff", headers={rabbit_queue.CORRELATION: "\n"})
                await channel.default_exchange.publish(garbage, routing_key=rabbit_queue.NAME)
                await published(queue, 1)
                await until(lambda: handler.names == ["m1"])
                declared = await channel.declare_queue(rabbit_queue.NAME, passive=True)
                assert 0 == declared.declaration_result.message_count

    asyncio.run(test())


def test_a_broker_that_is_silent_at_the_start_gets_one_connection_in_the_end(
    rabbitmq_server: RabbitMQ, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start waits a moment, publishing fails at once, and of all attempts to connect the last one alone is left."""
    before = rabbitmq_server.clients()
    rabbitmq_server.silence()
    monkeypatch.setattr(rabbit_queue, "CONNECTING", 0.3)

    async def test() -> None:
        handler = Handled()
        async with started(rabbitmq_url, handler) as queue:
            for number in range(3):
                with pytest.raises(ConnectionError, match="the broker is away"):
                    await queue.publish(message(number))
                await asyncio.sleep(0.5)  # some attempts to connect are made meanwhile, each of 0.3 s
            monkeypatch.setattr(rabbit_queue, "CONNECTING", 5.0)
            rabbitmq_server.wake()
            await published(queue, 4)
            await until(lambda: handler.names == ["m4"])
            await until(lambda: rabbitmq_server.clients() == before + 1)

    asyncio.run(test())


def test_publishing_fails_where_the_client_gives_up_on_a_silent_broker(
    rabbitmq_server: RabbitMQ, rabbitmq_url: str
) -> None:
    """Heartbeats find it out, and the client cancels what waits: a failure to be retried, and nobody's cancellation."""

    async def test() -> None:
        handler = Handled()
        async with started(rabbitmq_url, handler) as queue:
            await published(queue, 1)
            with rabbitmq_server.silent():
                waiting = asyncio.create_task(queue.publish(message(2)))
                cancelled = asyncio.create_task(queue.publish(message(3)))
                await asyncio.sleep(0.1)
                cancelled.cancel()
                giving_up = asyncio.create_task(lose(queue))
                ended = await asyncio.gather(waiting, cancelled, return_exceptions=True)
                assert [ConnectionError, asyncio.CancelledError] == [type(each) for each in ended]
            await giving_up
            await published(queue, 4)
            await until(lambda: {"m1", "m4"} <= set(handler.names))

    asyncio.run(test())


def test_it_stops_in_time_while_its_connection_is_lost(rabbitmq_server: RabbitMQ, rabbitmq_url: str) -> None:
    """The client would wait for the connection to come back before it says goodbye to it."""

    async def test() -> None:
        queue = RabbitQueue(rabbitmq_url)
        await queue.start(Handled())
        await until(lambda: queue._connection)
        assert queue._connection is not None
        try:
            with rabbitmq_server.silent():
                giving_up = asyncio.create_task(lose(queue))
                await until(lambda: queue._is_lost)
                async with asyncio.timeout(PATIENCE / 2):
                    await queue.stop()
        finally:
            await queue._connection.close()  # where it failed: while it is open, the loop cannot end
        await giving_up

    asyncio.run(test())


async def lose(queue: RabbitQueue) -> None:
    """Give up on the connection, as the client does after some heartbeats without an answer."""
    assert queue._connection is not None
    assert queue._connection.transport is not None
    await queue._connection.transport.connection.close(asyncio.CancelledError())


def test_a_url_of_no_broker_is_refused_without_being_shown() -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match="use amqp://USER@HOST/VHOST") as refused:
        RabbitQueue(f"amqp://u:{SECRET}@h:port/")
    assert SECRET not in repr(refused.value)
