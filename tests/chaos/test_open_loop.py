"""The load in virtual time: when requests are sent, how they end, and what becomes of those that do not."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from seawall.chaos import Answer, Counts, Fault, Variant
from seawall.chaos.load import OpenLoop, Traffic, expected
from seawall.chaos.record import Record
from seawall.testing import FakeClock

Send = Callable[[int], Awaitable[Answer]]


class Sink(Variant):
    """A variant that notes when which request came, and answers as the test wants."""

    def __init__(self, send: Send) -> None:
        self.came: list[tuple[float, int]] = []
        self._send = send
        self._start = asyncio.get_running_loop().time()

    async def send(self, number: int) -> Answer:
        """Note when it came."""
        self.came.append((round(asyncio.get_running_loop().time() - self._start, 6), number))
        return await self._send(number)

    async def strike(self, fault: Fault) -> None:
        """Do nothing."""

    lift = strike

    async def counts(self) -> Counts:
        """Count nothing."""
        return Counts(0, 0, 0, 0)

    finish = counts


class Loaded(NamedTuple):
    """A sink after a load: its traffic, how late the load was, how many calls were left running."""

    sink: Sink
    traffic: Traffic
    behind: float
    unended: int


async def at_once(number: int) -> Answer:
    """Answer without any delay."""
    return Answer("fresh", "catalog", str(number))


def load(*sends: Send, seconds: float = 2, rate: float = 2, stop: float = math.inf) -> list[Loaded]:
    """Run a load through a sink for each `send`, and return them."""

    async def main() -> list[Loaded]:
        with FakeClock():
            start = asyncio.get_running_loop().time()
            sinks = [Sink(send) for send in sends]
            traffics = [Traffic(sink, Record(seconds, expected(seconds, rate)), 2, start) for sink in sinks]
            loop = OpenLoop(traffics, rate, seconds, start)
            running = asyncio.create_task(loop.run())
            await asyncio.wait([running], timeout=None if stop == math.inf else stop)
            if not running.done():
                running.cancel()
            for traffic in traffics:
                await (traffic.last_answers() if stop == math.inf else traffic.stop())
            left = [traffic.unended for traffic in traffics]
        return [Loaded(*each, loop.behind, number) for *each, number in zip(sinks, traffics, left, strict=True)]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("seconds", "rate", "number"), [(10, 60, 600), (1.4, 1, 2), (0.1, 1, 1), (10, 0.1, 1), (0.3, 10, 3), (7, 0.7, 5)]
)
def test_so_many_requests_are_due(seconds: float, rate: float, number: int) -> None:
    """The first at once, and as many more as come before the end."""
    assert number == expected(seconds, rate)


def test_every_variant_gets_the_same_requests_at_the_same_moments() -> None:
    """Request n is due at n / rate, whatever the other variant does."""

    async def never(number: int) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    first, second = load(at_once, never)

    assert [(0, 0), (0.5, 1), (1, 2), (1.5, 3)] == first.sink.came == second.sink.came


def test_the_load_does_not_wait_for_answers() -> None:
    """It is an open loop: while all requests take 1.5 s, further ones are sent, and several run at once."""
    running, most = 0, 0

    async def slow(number: int) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1.7)
        running -= 1
        return Answer("fresh")

    (loaded,) = load(slow)

    assert 4 == most
    assert [1.7] * 4 == pytest.approx(loaded.traffic.record.latencies)


def test_answers_are_kept_as_they_came() -> None:
    """With their outcome, target and reference, and the time from when they were due."""
    (loaded,) = load(at_once, rate=1)

    assert [(0, "fresh", "catalog", "0"), (1, "fresh", "catalog", "1")] == [
        (request.due, request.ending, request.target, request.reference) for request in loaded.traffic.record.requests
    ]


def test_an_answer_after_its_time_is_late() -> None:
    """2 s is in time, more is not; a failure is a failure at any time."""

    async def send(number: int) -> Answer:
        await asyncio.sleep((2.0, 2.25, 3.0)[number])
        if number == 2:
            raise OSError
        return Answer("cached")

    (loaded,) = load(send, seconds=0.75, rate=4)

    assert ["cached", "late", "failed"] == [request.ending for request in loaded.traffic.record.requests]
    assert [2.0, 2.25, 3.0] == pytest.approx(loaded.traffic.record.latencies)


def test_a_call_that_never_ends_is_given_up() -> None:
    """5 s after it became of no use; it counts as late, with the time until then, and its task is cancelled."""
    cancelled = []

    async def never(number: int) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(number)
        raise AssertionError

    (loaded,) = load(never)

    assert [("late", 7.0)] * 4 == [
        (request.ending, round(request.latency, 6)) for request in loaded.traffic.record.requests
    ]
    assert ([0, 1, 2, 3], 0, 0) == (cancelled, loaded.traffic.waiting, loaded.unended)


def test_one_that_does_not_even_end_when_cancelled_is_left_behind() -> None:
    """The load ends all the same, and says that it is there."""
    let_go: list[asyncio.Event] = []

    async def stubborn(number: int) -> Answer:
        let_go.append(asyncio.Event())
        while not let_go[number].is_set():
            try:
                await let_go[number].wait()
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_later(60, let_go[number].set)
        return Answer("fresh")

    (loaded,) = load(stubborn, rate=0.5)

    assert (["late"], 1) == ([request.ending for request in loaded.traffic.record.requests], loaded.unended)


def test_what_fails_is_counted_by_class() -> None:
    """Exceptions, a CancelledError of the variant's own, and an answer that is none."""

    async def send(number: int) -> Answer:
        if number == 3:
            return None  # type: ignore[return-value]
        raise (OSError, OSError, asyncio.CancelledError)[number]

    (loaded,) = load(send)

    assert {"failed": 4} == loaded.traffic.record.endings
    assert {"OSError": 2, "CancelledError": 1, "AttributeError": 1} == loaded.traffic.record.failures


def test_a_load_that_falls_behind_sends_at_once() -> None:
    """A variant blocks the event loop for 1.2 s: the next two go together; latencies count from when they were due."""

    def block(number: int) -> Awaitable[Answer]:
        if number == 0:
            clock.advance(1.2)
        return at_once(number)

    with FakeClock() as clock:

        async def main() -> tuple[Sink, Traffic, float]:
            loop = asyncio.get_running_loop()
            clock.drive(loop)
            sink, start = Sink(block), loop.time()
            traffic = Traffic(sink, Record(2, 4), 2, start)
            open_loop = OpenLoop([traffic], 2, 2, start)
            await open_loop.run()
            await traffic.last_answers()
            return sink, traffic, open_loop.behind

        sink, traffic, behind = asyncio.run(main())

    assert [(0, 0), (1.2, 1), (1.2, 2), (1.5, 3)] == sink.came
    assert [1.2, 0.7, 0.2, 0] == pytest.approx([request.latency for request in traffic.record.requests])
    assert 0.7 == pytest.approx(behind)


def test_stopping_keeps_what_is_known() -> None:
    """At 2.6 s: one was answered, two are late already, and of the last two, 1.6 s and 0.6 s old, nothing is known."""

    async def send(number: int) -> Answer:
        if number:
            await asyncio.Event().wait()
        return Answer("fresh")

    (loaded,) = load(send, seconds=10, rate=2, stop=2.6)

    assert [("fresh", 0.0), ("late", 2.1)] == [
        (request.ending, round(request.latency, 6)) for request in loaded.traffic.record.requests
    ]
    assert (0, 0) == (loaded.traffic.waiting, loaded.unended)


def test_what_waits_too_long_is_seen_before_it_ends() -> None:
    """For the view: the seconds at which those were due."""

    async def main() -> list[list[float]]:
        with FakeClock():
            start = asyncio.get_running_loop().time()

            async def never(number: int) -> Answer:
                await asyncio.Event().wait()
                raise AssertionError

            traffic = Traffic(Sink(never), Record(10, 10), 2, start)
            traffic.send(0, 0.0)
            await asyncio.sleep(1)
            traffic.send(1, 1.0)
            seen = []
            for _ in range(3):
                await asyncio.sleep(0.75)
                seen.append(traffic.overdue())
            await traffic.stop()
            return seen

    assert [[], [0.0], [0.0, 1.0]] == asyncio.run(main())
