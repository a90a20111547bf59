"""Deadlines: an instant, inherited by every call and task below, after which no call starts and none goes on."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock, DefaultClock
from seawall._core.context import NOTHING, Scope, current, surround
from seawall._core.errors import CallTimeoutError, DeadlineExceededError
from seawall._core.events import CallTimedOut, Hub
from seawall._core.timers import GRAIN, left_for_this_task


class deadline:
    """Bounds every protected call inside the block, in this task or thread and in those started from it.

    `with deadline(2.0):` and `async with deadline(2.0):` mean the same. A call that would start after the deadline
    raises `DeadlineExceededError`; an async call that runs into it is cancelled and raises `CallTimeoutError`, which
    says nothing about the dependency's health. Code that seawall does not protect is not cut. Nested deadlines only
    ever shorten.

    Args:
        seconds: from entering the block; a number or a timedelta, at least 0.
        clock: where the time comes from; default: the system's monotonic clock.
    """

    __slots__ = ("_clock", "_limit", "_outer", "_scope")

    def __init__(self, seconds: Seconds, *, clock: Clock | None = None) -> None:
        self._limit = arguments.seconds("seconds", seconds, zero=True, infinite=True)
        self._clock = arguments.clock("clock", clock)
        self._scope: Scope | None = None

    def __enter__(self) -> deadline:
        if self._scope is not None:
            raise RuntimeError("this deadline is in use already; make a new one for each block")
        self._outer = scope()
        self._scope = shorter(self._limit, self._clock)
        surround((current() or NOTHING)._replace(deadline=self._scope))
        return self

    def __exit__(self, *exc: object) -> None:
        ended, self._scope = self._scope, None
        surround((current() or NOTHING)._replace(deadline=self._outer))
        if ended is not None and ended is not self._outer:
            for timer in list(ended.timers.values()):
                timer.drop_unless_busy()  # type: ignore[attr-defined]

    async def __aenter__(self) -> deadline:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def remaining(self) -> float:
        """Seconds left, never below 0; the whole duration before the block is entered."""
        return self._limit if self._scope is None else self._scope.remaining()


def shorter(limit: float, clock: Clock | DefaultClock) -> Scope:
    """Returns a scope that ends `limit` seconds from now, or the surrounding one where that ends earlier."""
    outer = scope()
    if outer is not None and outer.remaining() <= limit:
        return outer
    return Scope(limit, clock.now() + limit, clock)


def scope() -> Scope | None:
    """Returns the deadline around the caller."""
    ambient = current()
    return None if ambient is None else ambient.deadline


def remaining() -> float | None:
    """Returns the seconds left to the caller, never below 0; None where nothing bounds it.

    That is until the deadline around it or, in the task that makes the call, until an async `Timeout` around it.
    """
    surrounding, limit = scope(), left_for_this_task()
    if surrounding is None:
        return limit
    return surrounding.remaining() if limit is None else min(limit, surrounding.remaining())


class _TaskTimer:
    """Cancels one task when one scope ends, if a protected call is running then."""

    __slots__ = ("_handle", "_key", "_scope", "busy", "fired")

    def __init__(self, scope: Scope, task: asyncio.Task[Any]) -> None:
        self._scope, self._key = scope, task
        self.busy = 0
        self.fired = False
        loop = task.get_loop()
        scope.clock.drive(loop)
        self._handle = loop.call_later(scope.remaining(), self._fire, context=Context())
        scope.timers[task] = self
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._scope.timers.pop(task, None)
        self._handle.cancel()

    def _fire(self) -> None:
        left = self._scope.remaining()
        if left > GRAIN:
            self._handle = self._key.get_loop().call_later(left, self._fire, context=Context())
            return
        self._scope.timers.pop(self._key, None)
        self._key.remove_done_callback(self._forget)
        if self.busy:
            self.fired = True
            self._key.cancel()

    def drop_unless_busy(self) -> None:
        if not self.busy:
            self._key.remove_done_callback(self._forget)
            self._forget(self._key)


class Cut:
    """Around an await: ends it at the ambient deadline. Raises `DeadlineExceededError` where none of it may run."""

    __slots__ = ("_cancelling", "_hub", "_left", "_task", "_timer")

    def __init__(self, hub: Hub, scope: Scope) -> None:
        self._left = refuse_if_over(hub, scope)
        self._hub = hub
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an async call under a deadline must run in a task")
        self._task = task
        self._cancelling = task.cancelling()
        timer = scope.timers.get(task)
        self._timer = timer if isinstance(timer, _TaskTimer) else _TaskTimer(scope, task)

    def __enter__(self) -> None:
        self._timer.busy += 1

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        timer = self._timer
        timer.busy -= 1
        if timer.fired:
            timer.fired = False
            if self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
                self._hub.tell(CallTimedOut(self._hub.name, self._left))
                raise CallTimeoutError(self._hub.name, self._left, True) from error


def refuse_if_over(hub: Hub, scope: Scope) -> float:
    """Returns the seconds left in `scope`; raises where there are none."""
    left = scope.remaining()
    if left <= 0:
        raise hub.refuse(DeadlineExceededError(hub.name, None))
    return left
