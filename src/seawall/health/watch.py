"""A check under watch: when it runs, what came of it, and what that makes of its status."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from seawall._core.arguments import Rng
from seawall._core.clock import Clock, DefaultClock
from seawall._core.events import LOGGER, Hub
from seawall._core.masking import clean, describe, masked
from seawall.health.calling import Caller, End
from seawall.health.check import EXTERNAL, Check
from seawall.health.events import HealthChanged
from seawall.health.report import Entry, instant
from seawall.health.status import BAD, Health, Status, settle
from seawall.health.threads import Threads

JITTER: Final = 0.1
"""The share by which a period is lengthened or shortened at random, so that many workers do not ask at once."""

STALE_AFTER: Final = 3
"""Periods after which a result is believed no more."""

GAP: Final = 1.0
"""Seconds after a run in which nobody may have another one."""

EXTERNAL_PERIOD: Final = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run: `at` is an instant of the monotonic clock, `wall` seconds since 1970."""

    health: Health
    duration: float
    at: float
    wall: float


class _State(NamedTuple):
    """All that is known of a check, replaced as a whole: who reads it from another thread sees one moment."""

    last: Result | None
    status: Status
    since: float
    runs: int = 0
    bad_runs: int = 0
    bad_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often checks run, how long they may take, and what paces them."""

    period: float
    timeout: float
    after_error: float | None
    clock: Clock | DefaultClock
    rng: Rng


class _Run:
    """A run that is under way, and who waits for its end."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.waiting: list[asyncio.Future[None]] = []


class Watch:
    """Runs one check, again and again. Its tasks live in one event loop; `entry` may be read by any thread."""

    def __init__(self, check: Check, pace: Pace, hub: Hub, threads: Threads) -> None:
        self.check = check
        self.period = check.period or (max(pace.period, EXTERNAL_PERIOD) if EXTERNAL in check.tags else pace.period)
        self.timeout = check.timeout or pace.timeout
        self.heed: list[Callable[[Status, str], None]] = []
        self.recovery: Callable[[], str] | None = None
        self._pace = pace
        self._hub = hub
        self._caller = Caller(check.look, threads, pace.clock)
        self._keeper: asyncio.Task[None] | None = None
        self._run: _Run | None = None
        self._broken = False
        self._state = _State(None, "unknown", pace.clock.wall())
        self._recent: deque[Status] = deque(maxlen=max(check.failure_threshold, check.success_threshold))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins in a loop, which must be the one that is running. Old results are forgotten; the counts go on."""
        self._state = self._state._replace(last=None, status="unknown", since=self._pace.clock.wall(), bad_in_a_row=0)
        self._recent.clear()
        self._caller.begin_in(loop)
        self._run = None
        self._keeper = loop.create_task(self._keep(), context=contextvars.Context())

    def detach(self) -> list[asyncio.Future[Any]]:
        """Lets go of what is under way, and returns it, to be cancelled in its loop. Called from any thread."""
        keeper, run = self._keeper, self._run
        self._keeper = self._run = None
        tasks = [task for task in (keeper, None if run is None else run.task) if task is not None]
        return [*tasks, *self._caller.detach()]

    async def refresh(self) -> None:
        """Runs the check, unless it ran less than a second ago; a run that is under way is waited for."""
        last = self._state.last
        if self._run is None and last is not None and self._pace.clock.now() - last.at < GAP:
            return
        self._begin()
        await self._ended()

    async def verify(self) -> None:
        """Runs the check anew: a run that is under way began too early to be believed."""
        if self._run is not None:
            await self._ended()
        self._begin()
        await self._ended()

    async def _keep(self) -> None:
        clock = self._pace.clock
        while True:
            began = clock.now()
            self._begin()
            await self._ended()
            pause = self.period
            if self._broken and self._pace.after_error is not None:
                pause = self._pace.after_error
            pause *= 1 + JITTER * (2 * self._pace.rng() - 1)
            await clock.asleep(max(0.0, began + pause - clock.now()))

    def _begin(self) -> None:
        """Begins a run, unless one is under way, in a task of its own: who waits for it may be cancelled."""
        if self._run is None:
            run = _Run(asyncio.get_running_loop().create_task(self._look(), context=contextvars.Context()))
            self._run = run
            run.task.add_done_callback(lambda task: self._ended_with(run))

    def _ended_with(self, run: _Run) -> None:
        if self._run is run:
            self._run = None
        for waiter in run.waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def _ended(self) -> None:
        """Waits for the run under way. Every waiter has a future of its own: a cancelled one takes nothing with it."""
        run = self._run
        if run is None:
            return
        waiter = asyncio.get_running_loop().create_future()
        run.waiting.append(waiter)
        try:
            await waiter
        finally:
            run.waiting.remove(waiter)

    async def _look(self) -> None:
        await asyncio.sleep(0)  # a task that begins eagerly could end before it is known
        clock, run = self._pace.clock, self._run
        try:
            end = await self._caller.call(self.timeout)
            took = clock.now() - self._caller.began
            health = self._judged(end)
            if self._run is run:  # else it was stopped meanwhile, and begun anew elsewhere
                self._broken = False
                self._note(Result(health, took, clock.now(), clock.wall()))
        except Exception:
            self._broken = True
            LOGGER.exception("the health monitor could not run %r", self.check.name)

    def _judged(self, end: End) -> Health:
        """Returns what came of a run, without secrets, in bounds, and as JSON can hold it."""
        failure_status = self.check.failure_status
        if end.overdue:
            health = Health(failure_status, f"timed out after {self.timeout:g} s")
        elif end.failure is not None:
            health = Health(failure_status, end.failure)
        elif isinstance(end.value, Health):
            health = end.value
        elif end.value is None or end.value is True:
            health = Health("healthy")
        elif end.value is False:
            health = Health(failure_status, "it returned False")
        else:
            health = Health(failure_status, _wrong(end.value))
        return Health(health.status, masked(health.description), clean(health.data) | clean(self._figures()))

    def _figures(self) -> Mapping[str, object]:
        if self.check.figures is None:
            return {}
        try:
            return dict(self.check.figures())
        except Exception as error:
            return {"figures": describe(error)}

    def _note(self, result: Result) -> None:
        health, old, check = result.health, self._state, self.check
        bad = health.status in BAD
        first = not self._recent
        self._recent.append(health.status)
        status = health.status
        if not first:
            status = settle(old.status, [*self._recent], check.failure_threshold, check.success_threshold)
        self._state = _State(
            last=result,
            status=status,
            since=old.since if status == old.status else result.wall,
            runs=old.runs + 1,
            bad_runs=old.bad_runs + bad,
            bad_in_a_row=old.bad_in_a_row + 1 if bad else 0,
        )
        if status != old.status:
            self._hub.tell(HealthChanged(check.name, old.status, status, health.description))
        for heed in self.heed:
            heed(health.status, health.description)

    def entry(self, running: bool) -> Entry:
        """Returns the state as of now; looking changes nothing."""
        state = self._state
        last, status = state.last, state.status
        age = None if last is None else max(0.0, self._pace.clock.now() - last.at)
        description = "" if last is None else last.health.description
        doubt = None
        if not running:
            doubt = "the monitor is not running"
        elif last is None or age is None:
            doubt = "it has not run yet"
        elif age > STALE_AFTER * max(self.period, self.timeout):
            doubt = f"no result for {age:.0f} s"
        if doubt is not None:
            description = doubt if last is None else f"{doubt}; the last one: {_said(last.health)}"
            status = "unknown"
        left_behind = self._caller.since if self._run is None else None
        if left_behind is not None:
            description = f"{description}; still running since {instant(left_behind)}"
        return Entry(
            name=self.check.name,
            status=status,
            description=description,
            duration=0.0 if last is None else last.duration,
            tags=tuple(sorted(self.check.tags)),
            data={} if last is None else last.health.data,
            age=age,
            last_run=None if last is None else last.wall,
            since=state.since,
            running_since=left_behind,
            runs=state.runs,
            bad_runs=state.bad_runs,
            bad_in_a_row=state.bad_in_a_row,
            recovery=None if self.recovery is None else self.recovery(),
        )


def _said(health: Health) -> str:
    return f"{health.status}, {health.description}" if health.description else health.status


def _wrong(value: Any) -> str:
    """Says what is wrong with what a check returned."""
    if inspect.isawaitable(value):
        close = getattr(value, "close", None)
        if close is not None:
            close()  # a coroutine that nobody awaits complains
        return "it is a plain function that returned an awaitable; give an async function that awaits it"
    return f"it returned a {type(value).__name__}; return True, False, None or a Health"
