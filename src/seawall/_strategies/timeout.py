"""Timeout: a call may last so long and no longer."""

from __future__ import annotations

import asyncio
from contextvars import Context

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock
from seawall._core.guard import Guards
from seawall._core.limit import SyncLimit, TimeLimit
from seawall._core.strategy import Guard


class Timeout(Guard):
    """Bounds one call.

    An async call is cancelled when its time is up and raises `CallTimeoutError`; the callee's own `TimeoutError` passes
    untouched, and a cancellation by the caller wins over ours. A callee that goes on after being cancelled is waited
    for, as asyncio does.

    A sync call cannot be cut short: it runs under a deadline that it and the protected calls below it can see
    (`remaining()`). When it ends late its result is returned and a `CallOverran` event is made.

    On a stream the time runs only while the producer runs: for the first item, then for each next one.

    Args:
        seconds: the limit; a number or a timedelta, above 0.
        name, clock: see `Strategy`.
    """

    word = "timeout"
    example = "Timeout(10)"
    rank = 4

    def __init__(self, seconds: Seconds, *, name: str | None = None, clock: Clock | None = None) -> None:
        super().__init__(name, clock)
        self.seconds = arguments.seconds("seconds", seconds)
        self._limit = TimeLimit(self.hub, self.seconds, self.clock)

    def settings(self) -> dict[str, object]:
        return {"seconds": self.seconds}

    def guard(self) -> TimeoutBlock:
        """Bounds a block: `async with timeout.guard():`, or `with` for a deadline that sync code can see."""
        return TimeoutBlock(self)

    def port(self, guards: Guards) -> Guards:
        return guards._replace(limit=self._limit)


class TimeoutBlock:
    """A block that is bounded by a Timeout. For one use."""

    __slots__ = ("_cancelling", "_handle", "_over", "_sync", "_task", "_timeout")

    def __init__(self, timeout: Timeout) -> None:
        self._timeout = timeout
        self._over = False

    def __enter__(self) -> None:
        self._sync = SyncLimit(self._timeout._limit)
        self._sync.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._sync.__exit__(kind, error, traceback)

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time-out needs a task to cancel; run the block in one")
        loop = task.get_loop()
        self._timeout.clock.drive(loop)
        self._task, self._cancelling = task, task.cancelling()
        self._handle = loop.call_later(self._timeout.seconds, self._expire, context=Context())

    def _expire(self) -> None:
        self._over = True
        self._task.cancel()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._handle.cancel()
        if self._over and self._timeout._limit.ends(self._task, self._cancelling, error):
            raise self._timeout._limit.timed_out() from error
