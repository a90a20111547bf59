"""A queue of RabbitMQ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, FieldValue
from aio_pika.connection import make_url

from examples.llmgateway.messages import PAUSE, Handler, handled
from examples.llmgateway.wire import UsageMessage
from seawall import correlation, correlation_id
from seawall.health import Check
from seawall.integrations.rabbitmq import rabbitmq_check

LOGGER = logging.getLogger("llmgateway")
NAME: Final = "llmgateway.usage"
CONNECTING: Final = 5.0
"""Seconds for a connection to be made, and for what is declared on it at first."""
COMING_BACK: Final = 1.0
"""Seconds between two attempts to connect again."""
AT_START: Final = 1.0
"""Seconds that the start waits for a broker, so that where there is one the queue is healthy from the beginning."""
GOODBYE: Final = 3.0
"""Seconds that stopping waits for messages that are being handled, and for each answer of the broker."""
ANSWERING: Final = 3.0
"""Seconds after which a broker that has not answered is away, for health."""
PREFETCH: Final = 20
CORRELATION: Final = "x-correlation-id"
AWAY: Final = (*aio_pika.exceptions.CONNECTION_EXCEPTIONS, asyncio.InvalidStateError, TimeoutError)
"""What the client raises, at one point or another, where the broker is away or the connection was closed."""


class RabbitQueue:
    """A durable queue. Messages are persistent, confirmed by the broker, and acknowledged after they were handled.

    One task connects, for as long as it takes; from then on the connection comes back by itself, with what was declared
    on it. Nobody else ever connects: a client that is cut short while it connects goes on trying behind our back.

    Args:
        url: of the broker; its password shows nowhere. Raises ValueError where it is none, and does not show it.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = make_url(url, reconnect_interval=COMING_BACK)
        except ValueError:  # it may show the URL
            raise ValueError("the broker is no URL of RabbitMQ; use amqp://USER@HOST/VHOST") from None
        self._connection: aio_pika.RobustConnection | None = None
        self._publishing: aio_pika.abc.AbstractChannel | None = None
        self._consuming: tuple[AbstractQueue, str] | None = None
        self._handler: Handler | None = None
        self._starting: asyncio.Task[None] | None = None
        self._in_flight: set[asyncio.Task[object]] = set()
        self._is_lost = False

    async def start(self, handler: Handler) -> None:
        self._handler = handler
        self._starting = asyncio.create_task(self._until_connected())
        await asyncio.wait([self._starting], timeout=AT_START)

    async def _until_connected(self) -> None:
        while self._connection is None:
            connection = aio_pika.RobustConnection(self._url)
            try:
                with _no_cancellation_but_ours():
                    async with asyncio.timeout(CONNECTING):
                        await connection.connect(CONNECTING)
                        await self._open(connection)
            except AWAY as error:
                LOGGER.warning("the broker is not there yet: %s", type(error).__name__)
            finally:
                if self._connection is None:
                    await _close(connection)
            if self._connection is None:
                await asyncio.sleep(PAUSE)

    async def _open(self, connection: aio_pika.RobustConnection) -> None:
        """Declares the queue on both channels, the one to publish on and the one to consume from."""
        publishing = await connection.channel()
        await publishing.declare_queue(NAME, durable=True)
        consuming = await connection.channel()
        await consuming.set_qos(prefetch_count=PREFETCH)
        queue = await consuming.declare_queue(NAME, durable=True)
        self._consuming = queue, await queue.consume(self._came)
        self._publishing, self._connection = publishing, connection
        connection.close_callbacks.add(self._lost)
        connection.reconnect_callbacks.add(self._back)
        LOGGER.info("connected with the broker")

    async def publish(self, message: UsageMessage) -> None:
        if self._publishing is None or self._connection is None or not self._connection.connected.is_set():
            raise ConnectionError("the broker is away")
        headers: dict[str, FieldValue] = {CORRELATION: name} if (name := correlation_id()) else {}
        body = aio_pika.Message(
            message.model_dump_json(by_alias=True).encode(),
            message_id=message.message_id,
            headers=headers,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        with _no_cancellation_but_ours():
            await self._publishing.default_exchange.publish(body, routing_key=NAME)  # mandatory: unroutable is an error

    async def _came(self, incoming: AbstractIncomingMessage) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        with _named(incoming.headers.get(CORRELATION)):
            try:
                await self._handle(incoming)
            except AWAY as error:
                LOGGER.warning("a message could not be settled, and will come again: %s", type(error).__name__)

    async def _handle(self, incoming: AbstractIncomingMessage) -> None:
        """Has a message handled, and settles it: it is done, comes again, or, where it is none of ours, is dropped."""
        assert self._handler is not None
        try:
            message = UsageMessage.model_validate_json(incoming.body)
        except ValueError:
            LOGGER.exception("a message is none of ours, and is dropped")
            await incoming.reject()
            return
        if await handled(self._handler, message):
            await incoming.ack()
        else:
            await incoming.nack(requeue=True)

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._connection is None:
            return
        await self._finish()
        await _close(self._connection)

    async def _finish(self) -> None:
        """Takes no more messages, and lets those end that are being handled."""
        if self._consuming is not None:
            queue, tag = self._consuming
            try:
                with _no_cancellation_but_ours():
                    async with asyncio.timeout(GOODBYE):  # its own one does not count while the connection is lost
                        await queue.cancel(tag)
            except AWAY as error:
                LOGGER.warning("the broker was not told of the end: %s", type(error).__name__)
        if not self._in_flight:
            return
        _, left = await asyncio.wait(self._in_flight, timeout=GOODBYE)
        for task in left:
            task.cancel()
        if left:
            LOGGER.warning("%d messages were being handled still, and will come again", len(left))
            await asyncio.wait(left)

    def _lost(self, connection: object, error: object = None) -> None:
        if not self._is_lost and self._connection is not None and not self._connection.close_called:
            self._is_lost = True
            LOGGER.warning("the broker is lost")

    def _back(self, connection: object) -> None:
        self._is_lost = False
        LOGGER.info("connected with the broker again")

    def check(self) -> Check:
        return rabbitmq_check(lambda: self._connection, name="message-queue", tags=["queue"], timeout=ANSWERING)


async def _close(connection: aio_pika.RobustConnection) -> None:
    try:
        with _no_cancellation_but_ours():
            async with asyncio.timeout(GOODBYE):
                await connection.close()
    except AWAY as error:
        LOGGER.warning("the broker did not say goodbye: %s", type(error).__name__)


@contextmanager
def _no_cancellation_but_ours() -> Iterator[None]:
    """Makes a failure of the CancelledError that the client raises where it gives up on a silent broker.

    It would end whoever waits, as if somebody had cancelled him, and no policy would repeat it.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the broker fell silent") from None


def _named(name: object) -> correlation:
    try:
        return correlation(name if isinstance(name, str) else None)
    except ValueError:
        return correlation()
