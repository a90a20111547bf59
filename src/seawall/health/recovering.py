"""A recovery at work: from the first bad result until the check is good again, or nothing more is tried."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections import deque
from typing import Any, Literal, TypeAlias

from seawall._core.arguments import Rng
from seawall._core.clock import Clock, DefaultClock
from seawall._core.events import LOGGER, Hub
from seawall.health.calling import Caller
from seawall.health.events import RecoveryEnded, RecoveryGaveUp, RecoveryStarted
from seawall.health.recovery import Recovery
from seawall.health.status import Status
from seawall.health.threads import Threads
from seawall.health.watch import Watch

Stage: TypeAlias = Literal["idle", "running", "waiting", "gave_up"]


class Recovering:
    """Runs one recovery for one watched check. Its task lives in the watch's event loop."""

    def __init__(
        self, recovery: Recovery, watch: Watch, hub: Hub, threads: Threads, clock: Clock | DefaultClock, rng: Rng
    ) -> None:
        self._recovery = recovery
        self._watch = watch
        self._hub = hub
        self._clock = clock
        self._rng = rng
        self._caller = Caller(recovery.action, threads, clock)
        self._task: asyncio.Task[None] | None = None
        self._runs: deque[float] = deque()  # when each run of the last `within` seconds began
        self._told = False  # that there will be no more runs for now
        self._bad = 0
        self._reason = ""
        self.stage: Stage = "idle"
        watch.heed.append(self.heed)
        watch.recovery = lambda: self.stage

    def heed(self, status: Status, description: str) -> None:
        """Takes note of a result, and begins where it is time to."""
        bad = self._recovery.is_bad(status)
        if bad is None:
            return
        self._bad = self._bad + 1 if bad else 0
        self._reason = description
        if not bad and self.stage == "gave_up":
            self.stage = "idle"
        if self._bad >= self._recovery.after and self.stage == "idle":
            self.stage = "running"
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._recover(), context=contextvars.Context())

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins anew in a loop. The runs of the last while still count."""
        self._caller.begin_in(loop)
        self._task, self._bad, self.stage = None, 0, "idle"

    def detach(self) -> list[asyncio.Future[Any]]:
        """Lets go of what is under way, and returns it, to be cancelled in its loop. Called from any thread."""
        tasks = [] if self._task is None else [self._task]
        self._task, self.stage = None, "idle"
        return [*tasks, *self._caller.detach()]

    async def _recover(self) -> None:
        await asyncio.sleep(0)  # a task that begins eagerly could end before it is known
        delay: float | None = None
        after: Stage = "idle"
        try:
            for run in itertools.count(1):
                if not self._may_run():
                    after = "gave_up"
                    return
                self.stage = "running"
                if await self._run(run):
                    return
                self.stage = "waiting"
                delay = self._recovery.backoff.delay(run, delay, self._rng)
                await self._clock.asleep(delay)
                if self._bad < self._recovery.after:
                    return
        except Exception:
            LOGGER.exception("the recovery of %r could not be run", self._watch.check.name)
        finally:
            if self._task is asyncio.current_task():
                self._task, self.stage = None, after

    def _may_run(self) -> bool:
        """Whether another run is allowed now; says so, once, where it is not."""
        limit, within = self._recovery.max_runs, self._recovery.within
        now = self._clock.now()
        while self._runs and now - self._runs[0] >= within:
            self._runs.popleft()
        if limit is None or len(self._runs) < limit:
            self._runs.append(now)
            self._told = False
            return True
        if not self._told:
            self._told = True
            self._hub.tell(RecoveryGaveUp(self._recovery.check, len(self._runs), within))
        return False

    async def _run(self, run: int) -> bool:
        """Runs the action, and returns whether it helped, as far as that is known."""
        began = self._clock.now()
        self._hub.tell(RecoveryStarted(self._recovery.check, run, self._reason))
        end = await self._caller.call(self._recovery.timeout)
        if end.overdue:
            end = end._replace(failure=f"the action timed out after {self._recovery.timeout:g} s")
        failure = end.failure
        succeeded = failure is None
        if self._recovery.verify:
            await self._watch.verify()
            succeeded = not self._bad
            if not succeeded and failure is None:
                failure = f"the check is still bad: {self._reason}" if self._reason else "the check is still bad"
        self._hub.tell(RecoveryEnded(self._recovery.check, run, succeeded, self._clock.now() - began, failure))
        return succeeded and self._recovery.verify
