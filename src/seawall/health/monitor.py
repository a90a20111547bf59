"""The monitor: runs checks in the background and answers from what it knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.clock import Clock, refuse_to_block
from seawall._core.events import Event, Hub, Listener
from seawall._core.forks import renew_after_fork
from seawall._core.names import NAMES, check_name
from seawall._core.started import Started
from seawall.health.check import ALL, Check
from seawall.health.made import Made
from seawall.health.recovering import Recovering
from seawall.health.recovery import Recovery
from seawall.health.report import Answer, Entry, Report, compose
from seawall.health.status import Status, worst
from seawall.health.threads import Threads
from seawall.health.watch import Pace, Watch

_PATIENCE: Final = 1.0  # seconds that stopping waits for what was cancelled


@dataclass(frozen=True, slots=True)
class MonitorSnapshot:
    """A monitor at one moment; `status` is the worst of the checks'."""

    name: str
    running: bool
    status: Status
    checks: tuple[Entry, ...]


class Monitor(Made, Started):
    """Runs checks in the background, and answers at once from the last results: a request never runs a check.

    `async with Monitor(checks) as monitor:` runs them in this event loop, `with Monitor(checks):` on a thread with a
    loop of its own, for services without one. Each check runs at the start, and then every period, lengthened or
    shortened by up to 10 % at random. Checks do not wait for one another; one that hangs holds up neither another check
    nor the application's threads. A result that is older than three periods is `unknown`, and so is everything while
    the monitor is not running. After a fork it has to be started anew.

    Args:
        checks: the checks; their names differ.
        recoveries: actions to be run when a check is bad.
        period: seconds between the runs of a check that says nothing else; default 10.
        timeout: seconds that a run may take where its check says nothing else; default 2.
        after_error: seconds until a check is run again after the monitor itself could not run it, no thread to be had,
            say; default: as ever. A failing check is no failure of the monitor.
        name: shown in snapshots and logs; default "health".
        clock: where time comes from; default: the system's monotonic clock.
        rng: the source of jitter; default `random.random`.
    """

    example = "Monitor([Check('database', ping)], period=30)"

    def __init__(
        self,
        checks: Iterable[Check],
        *,
        recoveries: Iterable[Recovery] = (),
        period: Seconds = 10.0,
        timeout: Seconds = 2.0,
        after_error: Seconds | None = None,
        name: str = "health",
        clock: Clock | None = None,
        rng: Rng | Random | None = None,
    ) -> None:
        check_name(name)
        self.name = name
        self._clock = arguments.clock("clock", clock)
        chance = arguments.rng("rng", rng)
        self._hub = Hub(name)
        self._threads = Threads(name)
        pace = Pace(
            period=arguments.seconds("period", period),
            timeout=arguments.seconds("timeout", timeout),
            after_error=None if after_error is None else arguments.seconds("after_error", after_error),
            clock=self._clock,
            rng=chance,
        )
        self.checks = _checked(checks)
        self._watches = {check.name: Watch(check, pace, self._hub, self._threads) for check in self.checks}
        self._recovering = [
            Recovering(each, self._watches[each.check], self._hub, self._threads, self._clock, chance)
            for each in _recoveries(recoveries, self._watches)
        ]
        self.after_fork()
        renew_after_fork(self)
        NAMES.register(name, self)

    def after_fork(self) -> None:
        """Forgets the loop and the thread, which the parent process has kept."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Monitor([{', '.join(repr(check.name) for check in self.checks)}], name={self.name!r})"

    @property
    def running(self) -> bool:
        """Whether checks are being run."""
        loop = self._loop
        return loop is not None and not loop.is_closed() and (self._thread is not None or loop.is_running())

    def start(self) -> None:
        """Begins to run the checks: in the running event loop, else on a thread with a loop of its own.

        Where the monitor is running already, nothing happens. Raises RuntimeError where no thread can be had.
        """
        here = asyncio._get_running_loop()
        with self._lock:
            if self.running:
                return
            abandoned, self._loop = self._loop, here or asyncio.new_event_loop()
            left = self._detach()
            loop = self._loop
            self._thread = thread = None if here else self._thread_of(loop)
        if abandoned is not None and not abandoned.is_closed():
            _cancel(left)  # a loop that stands still may go on some day
        if thread is None:
            self._begin(loop)
            return
        try:
            thread.start()
        except BaseException:
            self._loop = self._thread = None
            loop.close()
            raise

    def stop(self) -> None:
        """Stops running checks, from any thread; everything is unknown from now on. Does not wait for the checks."""
        with self._lock:
            loop, thread, left = self._stopped()
        self._threads.close()
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(_cancel, left)
            if thread is not None:
                loop.call_soon_threadsafe(loop.stop)
        except RuntimeError:  # closed since
            return
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    async def astop(self) -> None:
        """Stops running checks, and waits up to a second for those that were running."""
        if self._thread is not None or self._loop is not asyncio.get_running_loop():
            if self.running:
                await asyncio.to_thread(self.stop)
            return
        with self._lock:
            _, _, left = self._stopped()
        self._threads.close()
        _cancel(left)
        if left:
            await asyncio.wait(left, timeout=_PATIENCE)

    def _stopped(self) -> tuple[asyncio.AbstractEventLoop | None, threading.Thread | None, list[asyncio.Future[Any]]]:
        """Notes that it runs no more; returns where it ran, and what is left there. Called with the lock."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        return loop, thread, self._detach()

    def _detach(self) -> list[asyncio.Future[Any]]:
        """Returns what is under way, to be cancelled in its loop. Called with the lock."""
        left = [task for recovering in self._recovering for task in recovering.detach()]
        return left + [task for watch in self._watches.values() for task in watch.detach()]

    async def __aexit__(self, *exc: object) -> None:
        await self.astop()

    def report(self, view: str = ALL, *, check: str | None = None) -> Report:
        """Returns what is known now, without running anything. Safe from any thread.

        Args:
            view: all, live, ready, startup, external, or a tag of your own.
            check: the name of a check; only this one of the view is shown.

        Raises UnknownViewError for a view, or a check in it, that there is none of.
        """
        running = self.running
        return compose(view, check, [watch.entry(running) for watch in self._watches.values()], running)

    def answer(self, view: str = ALL, *, check: str | None = None, details: bool = False) -> Answer:
        """Returns what is known now as it is answered over HTTP: `Answer(status_code, body)`.

        Args:
            view: as with `report`.
            check: as with `report`.
            details: descriptions, data and instants, too; only for those who are allowed to see them.
        """
        return self.report(view, check=check).answer(details=details)

    async def arefresh(self, view: str = ALL) -> Report:
        """Runs the checks of a view now, and returns what came of it. May be called from any event loop.

        A run that is under way is waited for, and a check that ran less than a second ago is not run again, however
        many ask. Where the monitor is not running, nothing is run.
        """
        self.report(view)
        loop = self._loop
        if loop is asyncio.get_running_loop():
            await self._refresh(view)
        elif loop is not None and loop.is_running():
            refreshing = self._refresh(view)
            try:
                future = asyncio.run_coroutine_threadsafe(refreshing, loop)
            except RuntimeError:  # closed since
                refreshing.close()
            else:
                await asyncio.wait({asyncio.wrap_future(future)})  # it may be cancelled there, which says nothing here
        return self.report(view)

    def refresh(self, view: str = ALL) -> Report:
        """The sync twin of `arefresh`. Raises RuntimeError on a thread with a running event loop."""
        refuse_to_block("refresh()")
        return asyncio.run(self.arefresh(view))

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of this monitor's events, of the given types or of all. Returns the function that stops it.

        They are `HealthChanged`, `RecoveryStarted`, `RecoveryEnded` and `RecoveryGaveUp`. The listener is called inline
        and must not block; what it raises is logged once.
        """
        return self._hub.listen(listener, types)

    def snapshot(self) -> MonitorSnapshot:
        """Returns the state as of now; looking changes nothing."""
        report = self.report()
        return MonitorSnapshot(self.name, self.running, worst(each.status for each in report.checks), report.checks)

    async def _refresh(self, view: str) -> None:
        wanted = [self._watches[entry.name].refresh() for entry in self.report(view).checks]
        await asyncio.gather(*wanted)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins in a loop; called there."""
        self._clock.drive(loop)
        for recovering in self._recovering:
            recovering.start(loop)
        for watch in self._watches.values():
            watch.start(loop)

    def _thread_of(self, loop: asyncio.AbstractEventLoop) -> threading.Thread:
        """Returns a thread that runs a loop until it is stopped."""

        def run() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(self._begin, loop)
            try:
                loop.run_forever()
                left = asyncio.all_tasks(loop)
                _cancel(left)
                if left:
                    loop.run_until_complete(asyncio.wait(left, timeout=_PATIENCE))
            finally:
                loop.close()

        return threading.Thread(target=run, name=f"seawall-{self.name}", daemon=True)


def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()


def _checked(checks: Iterable[Check]) -> tuple[Check, ...]:
    wanted = "give a list of checks, such as [Check('database', ping)]"
    if isinstance(checks, Check | str) or not isinstance(checks, Iterable):
        raise TypeError(f"checks={checks!r} is no list; {wanted}")
    got = tuple(checks)
    seen: set[str] = set()
    for check in got:
        if not isinstance(check, Check):
            raise TypeError(f"checks holds {check!r}, which is no Check; {wanted}")
        if check.name in seen:
            raise ValueError(f"checks holds two of the name {check.name!r}; give each a name of its own")
        seen.add(check.name)
    return got


def _recoveries(recoveries: Iterable[Recovery], watches: dict[str, Watch]) -> list[Recovery]:
    wanted = f"give a list of recoveries, such as [{Recovery.example}]"
    if isinstance(recoveries, Recovery | str) or not isinstance(recoveries, Iterable):
        raise TypeError(f"recoveries={recoveries!r} is no list; {wanted}")
    got = list(recoveries)
    seen: set[str] = set()
    for each in got:
        if not isinstance(each, Recovery):
            raise TypeError(f"recoveries holds {each!r}, which is no Recovery; {wanted}")
        if each.check not in watches:
            names = ", ".join(map(repr, watches)) or "none"
            raise ValueError(
                f"recoveries holds one of the check {each.check!r}, which is not watched; there are {names}"
            )
        if each.check in seen:
            raise ValueError(f"recoveries holds two of the check {each.check!r}; put both actions into one function")
        seen.add(each.check)
    return got
