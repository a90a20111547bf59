"""Messages about usage: published under their policy in the background, so that no customer waits for the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from examples.llmgateway.wire import UsageMessage
from seawall import Pipeline, RejectedError, correlation, correlation_id
from seawall.health import Check

LOGGER = logging.getLogger("llmgateway")
Handler = Callable[[UsageMessage], Awaitable[None]]
WORKERS: Final = 20
ROOM: Final = 10_000
"""Messages that wait to be published; beyond that the newest are lost, and counted."""
PAUSE: Final = 1.0
"""Seconds before a message is tried again that could not be published or handled, where nobody says how long."""


class Queue(Protocol):
    """Where messages go, and come from: a broker's queue, or one of this process."""

    async def start(self, handler: Handler) -> None:
        """Begins to give messages to `handler`, which may get one more than once. Does not wait for a broker."""

    async def publish(self, message: UsageMessage) -> None:
        """Puts a message into the queue. Returns when it is there for sure."""

    async def stop(self) -> None:
        """Ends it. The messages that are left stay where they are."""

    def check(self) -> Check:
        """Returns the check of its health: degraded where it is slow, unhealthy where it is not there."""


class Publisher:
    """Publishes messages in the background, each until it is in the queue.

    Args:
        queue: where they go.
        policy: around every publish.
    """

    def __init__(self, queue: Queue, policy: Pipeline) -> None:
        self._queue, self._policy = queue, policy
        self._waiting: asyncio.Queue[tuple[UsageMessage, str | None]] = asyncio.Queue(ROOM)
        self._workers: list[asyncio.Task[None]] = []
        self._under_way = 0
        self.lost = 0

    def send(self, message: UsageMessage) -> None:
        """Takes a message, to be published soon. Does not wait, and does not fail."""
        try:
            self._waiting.put_nowait((message, correlation_id()))
        except asyncio.QueueFull:
            self.lost += 1
            text = "the usage of %s is lost: %d messages wait to be published"
            LOGGER.error(text, message.message_id, ROOM)  # noqa: TRY400 - one line says it all

    @property
    def waiting(self) -> int:
        """How many messages are not in the queue yet, those under way not counted."""
        return self._waiting.qsize()

    def start(self) -> None:
        """Begins to publish."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self, seconds: float = 10.0) -> None:
        """Publishes what is left, for so many seconds at most, and says what then is not published."""
        workers, self._workers = self._workers, []
        if not workers:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        left = self.waiting + self._under_way
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
        if left:
            LOGGER.error("%d messages about usage could not be published", left)

    async def _work(self) -> None:
        while True:
            message, name = await self._waiting.get()
            self._under_way += 1
            with correlation(name):
                await self._publish(message)
            self._under_way -= 1
            self._waiting.task_done()

    async def _publish(self, message: UsageMessage) -> None:
        """Publishes one message, however long it takes."""
        while True:
            try:
                await self._policy.acall(self._queue.publish, message)
                return
            except RejectedError as error:
                await asyncio.sleep(error.retry_after or PAUSE)
            except Exception as error:
                LOGGER.warning("a message could not be published yet: %s: %s", type(error).__name__, error)
                await asyncio.sleep(PAUSE)


async def handled(handler: Handler, message: UsageMessage) -> bool:
    """Has a message handled. Returns whether that succeeded, after a pause where it did not."""
    try:
        await handler(message)
    except Exception as error:
        LOGGER.warning("a message could not be handled yet: %s: %s", type(error).__name__, error)
        await asyncio.sleep(PAUSE)
        return False
    return True
