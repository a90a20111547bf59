"""What bounds a call in time: cancellation for async calls, a deadline handed down for sync ones."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import Any

from seawall._core.clock import Clock, DefaultClock
from seawall._core.context import NOTHING, Scope, current, surround
from seawall._core.deadline import shorter
from seawall._core.errors import CallTimeoutError, DeadlineExceededError
from seawall._core.events import CallOverran, CallTimedOut, Hub
from seawall._core.timers import lanes_for


class TimeLimit:
    """A time-out's limit, and its timers in every event loop."""

    __slots__ = ("clock", "hub", "lanes", "seconds")

    def __init__(self, hub: Hub, seconds: float, clock: Clock | DefaultClock) -> None:
        self.hub = hub
        self.seconds = seconds
        self.clock = clock
        self.lanes = lanes_for(seconds, clock)

    def ends(self, task: asyncio.Task[Any], cancelling: int, error: BaseException | None) -> bool:
        """After the time was up: takes the cancellation back, and says whether `timed_out` is to be raised.

        It is not where the caller cancelled as well, which wins, or where the call made something else of it.
        """
        return task.uncancel() <= cancelling and isinstance(error, CancelledError)

    def timed_out(self) -> CallTimeoutError:
        """Tells that a call was cut short, and returns the error for it."""
        self.hub.tell(CallTimedOut(self.hub.name, self.seconds))
        return CallTimeoutError(self.hub.name, self.seconds)


class SyncLimit:
    """Around a sync call: the deadline that it can see, and what is made of a late end."""

    __slots__ = ("_limit", "_outer", "_scope", "_start")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        ambient = current() or NOTHING
        self._start = self._limit.clock.now()
        self._outer: Scope | None = ambient.deadline
        self._scope = shorter(self._limit.seconds, self._limit.clock)
        surround(ambient._replace(deadline=self._scope))

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        surround((current() or NOTHING)._replace(deadline=self._outer))
        took = self._limit.clock.now() - self._start
        if took <= self._limit.seconds and self._scope.remaining() > 0:
            return
        kept = isinstance(error, DeadlineExceededError) or (isinstance(error, CallTimeoutError) and error.by_deadline)
        if kept and self._scope is not self._outer:
            raise self._limit.timed_out() from error  # a call below kept to our limit: this one ran, and is cut short
        if took > self._limit.seconds:
            self._limit.hub.tell(CallOverran(self._limit.hub.name, self._limit.seconds, took))
