"""A queue of this process: bounded, and gone with it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from examples.llmgateway.messages import Handler, handled
from examples.llmgateway.wire import UsageMessage
from seawall.health import Check, Health

LOGGER = logging.getLogger("llmgateway")


class MemoryQueue:
    """Holds at most so many messages; publishing into a full one fails with `asyncio.QueueFull`.

    Args:
        room: how many.
        slow_after: seconds for which the oldest may wait before the queue counts as slow.
    """

    def __init__(self, room: int = 1000, *, slow_after: float = 5.0) -> None:
        self._messages: asyncio.Queue[tuple[float, UsageMessage]] = asyncio.Queue(room)
        self._room, self._slow_after = room, slow_after
        self._handling: asyncio.Task[None] | None = None
        self._since: float | None = None  # when the message that is being handled was published

    async def start(self, handler: Handler) -> None:
        self._handling = asyncio.create_task(self._handle(handler))

    async def publish(self, message: UsageMessage) -> None:
        if self._handling is None or self._handling.done():
            raise ConnectionError("nobody handles the messages of this queue")
        self._messages.put_nowait((time.monotonic(), message))

    async def stop(self, seconds: float = 5.0) -> None:
        if self._handling is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._messages.join()
        left = self._messages.qsize() + (self._since is not None)
        self._handling.cancel()
        await asyncio.wait([self._handling])
        if left:
            LOGGER.error("%d messages about usage were not handled", left)

    async def _handle(self, handler: Handler) -> None:
        while True:
            self._since, message = await self._messages.get()
            while not await handled(handler, message):
                pass
            self._since = None
            self._messages.task_done()

    def check(self) -> Check:
        return Check("message-queue", self._look, tags=["queue"])

    async def _look(self) -> Health:
        waiting = self._messages.qsize()
        age = 0.0 if self._since is None else time.monotonic() - self._since
        data = {"waiting": waiting, "room": self._room, "age": round(age * 1000)}
        if self._handling is None or self._handling.done():
            return Health.unhealthy("nobody handles the messages", data)
        if age > self._slow_after or waiting > 0.8 * self._room:
            return Health.degraded(f"slow: {waiting} messages wait, the oldest for {age:.1f} s or more", data)
        return Health.healthy("", data)
