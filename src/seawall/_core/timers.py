"""The timers of time-outs.

Calls under time-outs of one duration have rising deadlines, so an event loop needs one armed timer per duration, for
the oldest call; entering and leaving cost a dictionary entry. A timer of its own per call costs ten times as much.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from seawall._core.clock import Clock, DefaultClock


class Lane:
    """The calls under one duration in one event loop: task -> instant, oldest first. Used by that loop's thread alone.

    A task whose time is up leaves `until` before it is cancelled: that is how its call knows.
    """

    __slots__ = ("_clock", "armed", "loop", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | DefaultClock) -> None:
        clock.drive(loop)
        self.loop = weakref.ref(loop)
        self.until: dict[asyncio.Task[Any], float] = {}
        self.armed = False
        self._clock = clock

    def arm(self, delay: float) -> None:
        self.armed = True
        asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        now = self._clock.now()
        while self.until:
            task = next(iter(self.until))
            if self.until[task] > now:
                self.arm(self.until[task] - now)
                return
            del self.until[task]
            task.cancel()
        self.armed = False


class Lanes:
    """The lane of each event loop, for all time-outs of one duration on one clock. A lane is dropped with its loop."""

    __slots__ = ("__weakref__", "_all", "_clock", "last")

    def __init__(self, clock: Clock | DefaultClock) -> None:
        self._clock = clock
        self._all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Lane] = weakref.WeakKeyDictionary()
        self.last: Lane | None = None

    def of(self, loop: asyncio.AbstractEventLoop) -> Lane:
        """Returns the loop's lane; look at `last` first, which needs no call."""
        lane = self._all.get(loop)
        if lane is None:
            lane = self._all[loop] = Lane(loop, self._clock)
        self.last = lane
        return lane

    def left(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> float | None:
        """Returns the seconds left to a task, where it has a call here."""
        lane = self._all.get(loop)
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
