"""Calling what a user gave us, a check or an action, without ever waiting longer than it may take."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from seawall._core.chain import kind_of
from seawall._core.clock import Clock, DefaultClock
from seawall._core.forks import renew_after_fork
from seawall._core.masking import describe
from seawall.health.threads import Threads


class End(NamedTuple):
    """How a call ended: with a value, with a failure in words, or not in time.

    An exception is put into words where it is raised, since kept it would keep all that lives in its frames.
    """

    value: Any = None
    failure: str | None = None
    overdue: bool = False


class Caller:
    """Calls a function without arguments, sync or async, one call at a time.

    The time-out is told from outside: `asyncio.timeout` would wait for a call that delays its cancellation, and a
    thread cannot be stopped at all. A call that has not ended is left behind; until it ends, no other one is begun.
    """

    def __init__(self, fn: Callable[[], Any], threads: Threads, clock: Clock | DefaultClock) -> None:
        self._fn = fn
        self._async = kind_of(fn) == "acall"
        self._threads = threads
        self._clock = clock
        self._flight: asyncio.Future[End] | Future[End] | None = None
        self._since = 0.0
        self.began = 0.0  # on the monotonic clock
        renew_after_fork(self)

    @property
    def since(self) -> float | None:
        """When the call that is running began, in seconds since 1970; None where none is."""
        return None if self._flight is None or self._flight.done() else self._since

    async def call(self, timeout: float) -> End:
        """Calls the function and says how it ended; overdue at once, uncalled, where an earlier call is still running.

        Its SystemExit is a failure like others: a check must not end the service. Raises RuntimeError where no thread
        can be had.
        """
        if self.since is not None:
            return End(overdue=True)
        self.began, self._since = self._clock.now(), self._clock.wall()
        if self._async:
            waited: asyncio.Future[End] = asyncio.get_running_loop().create_task(
                _end(self._fn), context=contextvars.Context()
            )
            self._flight = waited
        else:
            submitted = self._flight = self._threads.submit(self._fn_end)
            waited = asyncio.wrap_future(submitted)
        try:
            await asyncio.wait({waited}, timeout=timeout)
            if not waited.done():
                return End(overdue=True)
            return End(failure="it cancelled itself") if waited.cancelled() else waited.result()
        finally:
            waited.cancel()

    def _fn_end(self) -> End:
        try:
            return End(self._fn())
        except BaseException as error:
            return End(failure=describe(error))

    def begin_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forgets a call that was left behind in another event loop, where it may never end. One on a thread may."""
        if isinstance(self._flight, asyncio.Future) and self._flight.get_loop() is not loop:
            self._flight = None

    def after_fork(self) -> None:
        """Forgets what the parent process was doing."""
        self._flight = None

    def detach(self) -> list[asyncio.Future[End]]:
        """Returns the call that is running, to be cancelled in its loop; nothing where it cannot be cancelled."""
        flight = self._flight
        return [flight] if isinstance(flight, asyncio.Future) and not flight.done() else []


async def _end(fn: Callable[[], Awaitable[Any]]) -> End:
    """Says how an async function ended; so an exception of a call left behind is not complained about later."""
    try:
        return End(await fn())
    except (Exception, SystemExit) as error:
        return End(failure=describe(error))
