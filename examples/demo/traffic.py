"""The load: the same requests to both variants at the same moments, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx2

from examples.demo.pipeline import Price
from seawall import SeawallError

ITEMS = ("tea", "coffee", "cocoa")
PATIENCE = 2.0  # seconds after which an answer is of no use to the caller
LAST_ANSWERS = 6.0  # seconds to wait for what is still in flight at the end
FAILED = (httpx2.HTTPError, SeawallError)  # what a caller gets in place of an answer; anything else is our mistake
COLUMNS = 24  # moments that the live view divides a run into


@dataclass(eq=False, slots=True)
class Call:
    """One request as its caller sees it. Seconds count from the start of the run."""

    due: float
    ended: float = 0.0
    outcome: str = "waiting"  # then fresh, last known, late or failed

    @property
    def latency(self) -> float:
        """Seconds from when the request was due, so that a delay in sending it counts too."""
        return self.ended - self.due


@dataclass
class Moment:
    """The calls that were due in one part of the run, summed up for the live view."""

    slowest: float = 0.0
    outcomes: set[str] = field(default_factory=set)


class Variant:
    """One way of asking, with the record of all its calls."""

    def __init__(self, name: str, ask: Callable[[str], Awaitable[Price]], seconds: float) -> None:
        self.name = name
        self.ended: list[Call] = []
        self.waiting: set[Call] = set()
        self.outcomes = {"fresh": 0, "last known": 0, "late": 0, "failed": 0}
        self.moments = [Moment() for _ in range(COLUMNS)]
        self._ask = ask
        self._seconds = seconds

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return len(self.ended) + len(self.waiting)

    @property
    def usable(self) -> int:
        """Requests that got an answer that is of use: fresh or last known, and in time."""
        return self.outcomes["fresh"] + self.outcomes["last known"]

    @property
    def failed(self) -> int:
        """Requests that got an error, or an answer that came too late."""
        return self.outcomes["failed"] + self.outcomes["late"]

    async def warm(self) -> None:
        """Asks for everything while the server is healthy: connections are open, answers are known."""
        left, tries = list(ITEMS), 10  # several, since a busy machine may be slow at first
        while left:
            try:
                await self._ask(left[-1])
                left.pop()
            except FAILED:
                tries -= 1
                if not tries:
                    raise

    async def send(self, number: int, due: float, start: float) -> None:
        """Sends a request and records what became of it. A cancelled one is left out."""
        call = Call(due)
        self.waiting.add(call)
        try:
            answer = await self._ask(ITEMS[number % len(ITEMS)])
            outcome = "fresh" if answer.fresh else "last known"
        except FAILED:
            outcome = "failed"
        finally:
            self.waiting.discard(call)
        self._record(call, outcome, asyncio.get_running_loop().time() - start)

    def give_up(self, now: float) -> None:
        """Counts as failed what is in flight for longer than its caller has patience."""
        for call in [call for call in self.waiting if now - call.due > PATIENCE]:
            self.waiting.discard(call)
            self._record(call, "failed", now)

    def moment(self, due: float) -> int:
        """Returns the index of the moment that a second belongs to."""
        return min(COLUMNS - 1, int(due / self._seconds * COLUMNS))

    def _record(self, call: Call, outcome: str, now: float) -> None:
        call.ended = now
        call.outcome = "late" if outcome != "failed" and call.latency > PATIENCE else outcome
        self.ended.append(call)
        self.outcomes[call.outcome] += 1
        moment = self.moments[self.moment(call.due)]
        moment.slowest = max(moment.slowest, call.latency)
        moment.outcomes.add(call.outcome)


async def open_loop(variants: Sequence[Variant], rate: float, seconds: float, start: float) -> None:
    """Sends `rate` requests a second through each variant, however long answers take; returns after the last one."""
    clock = asyncio.get_running_loop().time
    sending: set[asyncio.Task[None]] = set()
    try:
        for number in range(max(1, round(rate * seconds))):
            due = number / rate
            await asyncio.sleep(start + due - clock())
            sending |= {asyncio.create_task(variant.send(number, due, start)) for variant in variants}
            sending -= {task for task in sending if task.done() and task.result() is None}
        await asyncio.sleep(start + seconds - clock())
        await _last_answers(sending)
    finally:
        for variant in variants:
            variant.give_up(clock() - start)
        for task in sending:
            task.cancel()


async def _last_answers(sending: set[asyncio.Task[None]]) -> None:
    if sending:
        done, _ = await asyncio.wait(sending, timeout=LAST_ANSWERS)
        for task in done:
            task.result()  # a mistake in the demo itself is shown, not counted
