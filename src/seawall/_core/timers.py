"""The timers of time-outs.

Calls under time-outs of one duration have rising deadlines, so an event loop needs one armed timer per duration, for
the oldest call; entering and leaving cost a dictionary entry. A timer of its own per call costs ten times as much.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from seawall._core.clock import Clock, DefaultClock

GRAIN: Final = 1e-9
"""Instants closer than this, in seconds, are the same: sums of floats are not exact, and a timer may not spin."""


class Lane:
    """The calls under one duration in one event loop: task -> instant, oldest first. Used by that loop's thread alone.

    A task whose time is up leaves `until` before it is cancelled: that is how its call knows. A lane is kept alive by
    its calls and by its armed timer, so nothing here keeps an event loop, or a task of one that was closed, alive.
    """

    __slots__ = ("__weakref__", "_clock", "armed", "loop", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | DefaultClock) -> None:
        clock.drive(loop)
        self.loop: Any = loop
        self.until: dict[asyncio.Task[Any], float] = {}
        self.armed = False
        self._clock = clock

    def arm(self, delay: float) -> None:
        self.armed = True
        self.loop.call_later(delay, self._fire, context=Context())

    def _fire(self) -> None:
        now = self._clock.now()
        while self.until:
            task = next(iter(self.until))
            if self.until[task] > now + GRAIN:
                self.arm(self.until[task] - now)
                return
            del self.until[task]
            task.cancel()
        self.armed = False


def _no_lane() -> Lane | None:
    return None


class Lanes:
    """The lane of each event loop, for all time-outs of one duration on one clock."""

    __slots__ = ("__weakref__", "_all", "_clock", "last")

    def __init__(self, clock: Clock | DefaultClock) -> None:
        self._clock = clock
        self._all: weakref.WeakValueDictionary[int, Lane] = weakref.WeakValueDictionary()
        self.last: Callable[[], Lane | None] = _no_lane

    def of(self, loop: asyncio.AbstractEventLoop) -> Lane:
        """Returns the loop's lane; ask `last` first, which is quicker.

        `last` is only ever the lane of one of asyncio's own loops, which say in `_thread_id` which thread runs them.
        """
        lane = self._all.get(id(loop))
        if lane is None:
            lane = self._all[id(loop)] = Lane(loop, self._clock)
        if hasattr(loop, "_thread_id"):
            self.last = weakref.ref(lane)
        return lane

    def left(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> float | None:
        """Returns the seconds left to a task, where it has a call here."""
        lane = self._all.get(id(loop))
        end = None if lane is None else lane.until.get(task)
        return None if end is None else max(0.0, end - self._clock.now())


_shared: weakref.WeakValueDictionary[tuple[int, float], Lanes] = weakref.WeakValueDictionary()


def lanes_for(seconds: float, clock: Clock | DefaultClock) -> Lanes:
    """Returns the lanes of a duration: shared, so that ten thousand pipelines need one armed timer, not as many."""
    return _shared.setdefault((id(clock), seconds), Lanes(clock))


def left_for_this_task() -> float | None:
    """Returns the seconds until the first time-out around the running task's call; None where there is none."""
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        return None
    left = [lanes.left(loop, task) for lanes in list(_shared.values())]
    return min((each for each in left if each is not None), default=None)
