"""The load: requests at fixed moments, to every variant alike, however long their answers take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from seawall.chaos.record import Ending, Record, Request
from seawall.chaos.scenario import Variant

PATIENCE: Final = 5.0
"""Seconds beyond `usable_within` after which a call that has not ended is given up."""
GOODBYE: Final = 2.0
"""Seconds that calls have to end after they were cancelled."""


def expected(seconds: float, rate: float) -> int:
    """Returns how many requests are due within so many seconds: number n at n / rate, the first at once."""
    return max(1, math.ceil(round(seconds * rate, 6)))


class Traffic:
    """The requests of one variant: each in a task of its own, and given up when it takes too long.

    Args:
        variant: what they are sent to.
        record: keeps those that have ended.
        usable_within: seconds after which an answer is late.
        start: when the load begins, on the clock of the running event loop.
    """

    def __init__(self, variant: Variant, record: Record, usable_within: float, start: float) -> None:
        self.record = record
        self._variant = variant
        self._usable_within = usable_within
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._due: dict[int, float] = {}  # of the requests that have neither ended nor been given up
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that have been sent and have not ended."""
        return len(self._due)

    def overdue(self) -> list[float]:
        """Returns when those were due that are waiting and late already."""
        return [due for due in self._due.values() if self._now - due > self._usable_within]

    @property
    def unended(self) -> int:
        """Calls that are still running, those that were given up included."""
        return len(self._tasks)

    def send(self, number: int, due: float) -> None:
        """Sends a request, which was due at a second of the load, in a task of its own."""
        self._due[number] = due
        task = asyncio.create_task(self._ask(number))
        self._tasks.add(task)
        timer = self._loop.call_at(self._start + due + self._usable_within + PATIENCE, self._give_up, number, task)
        task.add_done_callback(lambda done: self._ended(done, timer))

    async def last_answers(self) -> None:
        """Waits until every request has ended or has been given up."""
        while self._due:  # their timers bound it
            await asyncio.wait(self._tasks, timeout=0.05)
        await self._goodbye()

    async def stop(self) -> None:
        """Ends what is in flight. Requests that are late already count as such; of younger ones nothing is known."""
        for number, due in list(self._due.items()):
            if self._now - due > self._usable_within:
                self._keep(number, "late")
        self._due.clear()
        for task in self._tasks:
            task.cancel()
        await self._goodbye()

    @property
    def _now(self) -> float:
        return self._loop.time() - self._start

    async def _ask(self, number: int) -> None:
        try:
            answer = await self._variant.send(number)
            ending, target, reference = answer.outcome, answer.target, answer.reference
        except asyncio.CancelledError:
            if number not in self._due:
                raise
            self._fail(number, "CancelledError")  # the variant's own affair: nobody here has cancelled it
        except Exception as error:
            self._fail(number, type(error).__name__)
        else:
            self._keep(number, ending, target, reference)

    def _fail(self, number: int, failure: str) -> None:
        if number in self._due:
            self.record.failures[failure] += 1
        self._keep(number, "failed")

    def _keep(self, number: int, ending: Ending, target: str | None = None, reference: str | None = None) -> None:
        due = self._due.pop(number, None)
        if due is None:
            return  # given up before
        latency = self._now - due
        if ending != "failed" and latency > self._usable_within:
            ending = "late"
        self.record.add(Request(due, latency, ending, target, reference))

    def _give_up(self, number: int, task: asyncio.Task[None]) -> None:
        self._keep(number, "late")
        task.cancel()

    def _ended(self, task: asyncio.Task[None], timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._tasks.discard(task)

    async def _goodbye(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE)


class OpenLoop:
    """Sends the same requests to every variant at the same moments.

    It never waits for answers, so a slow variant is not spared. When it falls behind itself, it sends what is due at
    once; latencies count from when a request was due.

    Args:
        traffics: one for each variant.
        rate: requests a second.
        seconds: the length of the load.
        start: when it begins, on the clock of the running event loop.
    """

    def __init__(self, traffics: Sequence[Traffic], rate: float, seconds: float, start: float) -> None:
        self._traffics = traffics
        self._rate = rate
        self._seconds = seconds
        self._start = start
        self.behind = 0.0
        """The most seconds by which a request was sent too late."""

    async def run(self) -> None:
        """Sends every request, and returns at the end of the load."""
        clock = asyncio.get_running_loop().time
        for number in range(expected(self._seconds, self._rate)):
            due = number / self._rate
            await asyncio.sleep(self._start + due - clock())
            for traffic in self._traffics:
                traffic.send(number, due)
            self.behind = max(self.behind, clock() - self._start - due)
        await asyncio.sleep(self._start + self._seconds - clock())
