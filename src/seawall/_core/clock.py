"""Time: a monotonic clock that strategies read and sleep by, replaceable as a whole for tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class Clock(Protocol):
    """What a strategy knows of time. `now` never goes back; `wall` is for display and for dates on the wire."""

    @property
    def now(self) -> Callable[[], float]:
        """Seconds on a monotonic clock."""
        ...

    @property
    def wall(self) -> Callable[[], float]:
        """Seconds since 1970, UTC."""
        ...

    @property
    def sleep(self) -> Callable[[float], None]:
        """Blocks the thread for so many seconds."""
        ...

    @property
    def asleep(self) -> Callable[[float], Awaitable[None]]:
        """Suspends the task for so many seconds."""
        ...

    @property
    def wait(self) -> Callable[[threading.Event, float | None], bool]:
        """Blocks the thread until the event is set or the time is up; True where it was set."""
        ...

    @property
    def drive(self) -> Callable[[asyncio.AbstractEventLoop], None]:
        """Called once for each event loop in which timers are set, so that a fake clock can drive them."""
        ...


def _wait(event: threading.Event, timeout: float | None) -> bool:
    return event.wait(timeout)


def _leave_alone(loop: asyncio.AbstractEventLoop) -> None:
    """The system's clock already drives every loop."""


class DefaultClock:
    """The clock of every strategy that was given none. Its parts are swapped by `FakeClock`, never it itself."""

    __slots__ = ("asleep", "drive", "now", "sleep", "wait", "wall")

    def __init__(self) -> None:
        self.use_system()

    def use_system(self) -> None:
        self.now: Callable[[], float] = time.monotonic
        self.wall: Callable[[], float] = time.time
        self.sleep: Callable[[float], None] = time.sleep
        self.asleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self.wait: Callable[[threading.Event, float | None], bool] = _wait
        self.drive: Callable[[asyncio.AbstractEventLoop], None] = _leave_alone

    def use(self, clock: Clock | DefaultClock) -> None:
        self.now, self.wall, self.wait = clock.now, clock.wall, clock.wait
        self.sleep, self.asleep, self.drive = clock.sleep, clock.asleep, clock.drive


DEFAULT_CLOCK = DefaultClock()


def refuse_to_block(what: str) -> None:
    """Raises where a sync wait would stall a running event loop."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"{what} would have to wait, and a sync wait here would block the event loop of this thread; "
            "use the async form (await ... acall, async with), or run the call on a worker thread"
        )
