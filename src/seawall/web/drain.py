"""The requests in flight, and the end of taking more."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock, DefaultClock


class InFlight:
    """Who is in flight, exactly, over threads and loops: a set's `add` and `discard` are atomic, `+= 1` is not."""

    __slots__ = ("_all", "_clock", "_waiting", "draining")

    def __init__(self, clock: Clock | DefaultClock) -> None:
        self._all: set[Hashable] = set()
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._all)

    def add(self, request: Hashable) -> None:
        """Counts a request."""
        self._all.add(request)

    def remove(self, request: Hashable) -> None:
        """Counts a request no longer; wakes those who wait for the last one."""
        self._all.discard(request)
        if self._waiting and not self._all:
            for future in list(self._waiting):
                try:
                    future.get_loop().call_soon_threadsafe(_wake, future)
                except RuntimeError:  # its loop is closed: nobody waits there any more
                    self._waiting.discard(future)

    async def none_left(self, timeout: Seconds | None) -> int:
        """Waits until none is in flight, at most `timeout` seconds; returns how many are left."""
        limit = None if timeout is None else arguments.seconds("timeout", timeout, zero=True, infinite=True)
        loop = asyncio.get_running_loop()
        self._clock.drive(loop)
        try:
            async with asyncio.timeout(limit):
                while self._all:
                    await self._next_end(loop)
        except TimeoutError:
            pass
        return len(self._all)

    async def _next_end(self, loop: asyncio.AbstractEventLoop) -> None:
        future = loop.create_future()
        self._waiting.add(future)
        try:
            if self._all:  # the last one may have ended between the look and the queueing
                await future
        finally:
            self._waiting.discard(future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
