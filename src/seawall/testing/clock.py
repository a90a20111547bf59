"""A clock that tests drive."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Any, Final

from seawall._core import arguments
from seawall._core.clock import DEFAULT_CLOCK, DefaultClock

_BASE: Final = 1_750_000_000.0
"""What `wall` begins at, unless told otherwise: an instant in June 2025."""


class FakeClock:
    """Time that passes only when something waits for it, or when `advance` is called.

    `with FakeClock() as clock:` replaces the default clock of all strategies, those made before included. Sleeping
    takes no real time: a sync sleep moves the clock; an event loop in which seawall waits runs on virtual time (also
    `asyncio.sleep` and every other timer in it) and jumps to its next timer whenever nothing else is left to run. The
    instant is kept in `now()`; `slept` lists the sleeps in the order in which they began.

    A loop that waits for a real socket or thread at the same time would jump too early: give such tests a `grace`.

    Args:
        start: what `now()` begins at, in seconds; default 0.
        wall: what `wall()` begins at, in seconds since 1970.
        grace: real seconds that a thread or event loop waits for others before time jumps; default 0.02 for threads
            that wait for a slot, 0 for event loops.
    """

    def __init__(self, start: float = 0.0, *, wall: float = _BASE, grace: float | None = None) -> None:
        self.slept: list[float] = []
        self._now = arguments.number("start", start, least=-math.inf)
        self._offset = arguments.number("wall", wall, least=-math.inf) - self._now
        if grace is not None:
            grace = arguments.seconds("grace", grace, zero=True)
        self._thread_grace = 0.02 if grace is None else grace
        self._loop_grace = grace or 0.0
        self._lock = threading.Lock()
        self._driven: list[_Driven] = []
        self._before = DefaultClock()

    def now(self) -> float:
        """Seconds on this clock."""
        return self._now

    def wall(self) -> float:
        """Seconds since 1970 on this clock."""
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Moves the clock on. Timers that have become due run when their event loop next looks."""
        if not seconds >= 0:
            raise ValueError(f"seconds={seconds!r} would turn time back; use 0 or more")
        self._move_to(self._now + seconds)

    def set_wall(self, wall: float) -> None:
        """Sets the wall clock, as an operator or NTP does, without touching the monotonic one."""
        self._offset = wall - self._now

    def sleep(self, seconds: float) -> None:
        """Moves the clock by so many seconds, and returns at once."""
        self.slept.append(seconds)
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Suspends the task for so many seconds of virtual time."""
        self.slept.append(seconds)
        self.drive(asyncio.get_running_loop())
        await asyncio.sleep(seconds)

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        """Waits for an event that another thread sets; when none does within the grace, time jumps to the end."""
        end = None if timeout is None else self._now + timeout
        seen, patient_until = self._now, time.monotonic() + self._thread_grace
        while not event.wait(0.002):
            if end is not None and self._now >= end:
                return False
            if self._now != seen:  # somebody moves the clock: be patient anew
                seen, patient_until = self._now, time.monotonic() + self._thread_grace
            elif end is not None and time.monotonic() >= patient_until:
                self._move_to(end)
        return True

    def drive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Puts an event loop on virtual time, until the clock is left."""
        if not any(driven.loop is loop for driven in self._driven):
            self._driven.append(_Driven(self, loop, self._loop_grace))

    def __enter__(self) -> FakeClock:
        self._before.use(DEFAULT_CLOCK)
        DEFAULT_CLOCK.use(self)
        running = asyncio._get_running_loop()
        if running is not None:
            self.drive(running)
        return self

    def __exit__(self, *exc: object) -> None:
        DEFAULT_CLOCK.use(self._before)
        for driven in self._driven:
            driven.let_go()
        self._driven.clear()

    def _move_to(self, instant: float) -> None:
        with self._lock:
            self._now = max(self._now, instant)


class _Driven:
    """An event loop on virtual time: its clock is ours, and instead of waiting for a timer it jumps there."""

    def __init__(self, clock: FakeClock, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        self.loop = loop
        self._clock = clock
        self._grace = grace
        selector: Any = getattr(loop, "_selector", None)
        if selector is None:
            raise RuntimeError(f"{loop!r} cannot run on virtual time; use asyncio's own event loop with FakeClock")
        self._selector, self._select = selector, selector.select
        pending = getattr(loop, "_scheduled", True)  # without timers there is no order to keep, and sums are exact
        self._shift = loop.time() - clock.now() if pending else 0.0
        self._real_time = loop.time
        loop.time = self._time  # type: ignore[method-assign]
        selector.select = self._jump

    def _time(self) -> float:
        """The loop's time: goes on from where it was, so that timers that are set already keep their order."""
        return self._clock.now() + self._shift

    def _jump(self, timeout: float | None) -> Any:
        ready = self._select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or (self._select(None) if timeout is None else ready)
        if self._grace:
            ready = self._select(self._grace)
        if not ready:
            self._clock.advance(timeout)
        return ready

    def let_go(self) -> None:
        self.loop.time = self._real_time  # type: ignore[method-assign]
        self._selector.select = self._select
