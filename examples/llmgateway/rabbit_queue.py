"""A queue of RabbitMQ."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection, FieldValue

from examples.llmgateway.messages import PAUSE, Handler, handled
from examples.llmgateway.wire import UsageMessage
from seawall import correlation, correlation_id
from seawall.health import Check
from seawall.integrations.rabbitmq import rabbitmq_check

LOGGER = logging.getLogger("llmgateway")
NAME: Final = "llmgateway.usage"
CONNECTING: Final = 5.0
CORRELATION: Final = "x-correlation-id"


class RabbitQueue:
    """A durable queue. Messages are persistent, confirmed by the broker, and acknowledged after they were handled.

    Args:
        url: of the broker; its password shows nowhere.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractRobustConnection | None = None
        self._channel: AbstractRobustChannel | None = None
        self._connecting = asyncio.Lock()
        self._handler: Handler | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self, handler: Handler) -> None:
        self._handler = handler
        self._starting = asyncio.create_task(self._until_connected())

    async def _until_connected(self) -> None:
        """Connects for the first time; from then on the connection comes back by itself."""
        while True:
            try:
                await self._ready()
                return
            except (OSError, aio_pika.exceptions.AMQPError, TimeoutError) as error:
                LOGGER.warning("the broker is not there yet: %s", type(error).__name__)
                await asyncio.sleep(PAUSE)

    async def _ready(self) -> AbstractRobustChannel:
        """Returns the channel to publish on, connecting where there is none yet."""
        async with self._connecting:
            if self._channel is None:
                connection = await aio_pika.connect_robust(self._url, timeout=CONNECTING)
                self._connection = connection
                channel = await connection.channel()
                await channel.declare_queue(NAME, durable=True)
                consuming = await connection.channel()
                await consuming.set_qos(prefetch_count=20)
                await (await consuming.declare_queue(NAME, durable=True)).consume(self._came)
                self._channel = channel
                LOGGER.info("connected with the broker")
            return self._channel

    async def publish(self, message: UsageMessage) -> None:
        channel = await self._ready()
        headers: dict[str, FieldValue] = {CORRELATION: name} if (name := correlation_id()) else {}
        body = aio_pika.Message(
            message.model_dump_json(by_alias=True).encode(),
            message_id=message.message_id,
            headers=headers,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await channel.default_exchange.publish(body, routing_key=NAME)  # mandatory: unroutable is an error

    async def _came(self, incoming: AbstractIncomingMessage) -> None:
        assert self._handler is not None
        name = incoming.headers.get(CORRELATION)
        with _named(name):
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
        if self._connection is not None:
            await self._connection.close()

    def check(self) -> Check:
        return rabbitmq_check(lambda: self._connection, name="message-queue", tags=["queue"])


def _named(name: object) -> correlation:
    try:
        return correlation(name if isinstance(name, str) else None)
    except ValueError:
        return correlation()
