"""A whole run in virtual time: both variants meet the same, what is reported happened, and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from seawall.chaos import (
    Answer,
    Conditions,
    Counts,
    Fault,
    Measures,
    Progress,
    Result,
    Scenario,
    ScenarioError,
    Variant,
    run,
)
from seawall.testing import FakeClock

FAULTS = (
    Fault("catalog", "refuse", 0.2, 0.4, "refuses every connection"),
    Fault("payments", "errors", 0.4, 0.6, "answers 503"),
)
Step = Callable[[], Awaitable[Any]]


async def nothing() -> None:
    """Do nothing, as a step does unless a test wants something else."""


async def forever() -> None:
    """Hang."""
    await asyncio.Event().wait()


async def fail() -> None:
    """Fail."""
    raise OSError("no more files")


@dataclass(eq=False)
class Shop(Variant):
    """A variant that answers in 10 ms, and fails while it is struck; each step can be replaced."""

    warming: Step = nothing
    striking: Step = nothing
    lifting: Step = nothing
    finishing: Step = nothing
    counting: Step = nothing
    sending: Callable[[int], Awaitable[Answer]] | None = None
    counted: Counts = field(default_factory=lambda: Counts(7, 3, 1, 2, {"double_charges": 0}))
    seen: list[tuple[float, object]] = field(default_factory=list)
    struck: set[str] = field(default_factory=set)
    start: float = 0.0

    def note(self, what: object) -> None:
        """Keep what happened, and when."""
        self.seen.append((round(asyncio.get_running_loop().time() - self.start, 6), what))

    async def warm(self) -> None:
        """Take the time from here on."""
        await self.warming()
        self.start = asyncio.get_running_loop().time()

    async def strike(self, fault: Fault) -> None:
        """Note it."""
        self.note(f"strike {fault.kind}")
        self.struck.add(fault.target)
        await self.striking()

    async def lift(self, fault: Fault) -> None:
        """Note it."""
        self.note(f"lift {fault.kind}")
        await self.lifting()
        self.struck.discard(fault.target)

    async def send(self, number: int) -> Answer:
        """Answer, from one dependency and the other by turns."""
        self.note(number)
        if self.sending is not None:
            return await self.sending(number)
        await asyncio.sleep(0.01)
        if self.struck:
            raise ConnectionError
        return Answer("fresh", target=("catalog", "payments")[number % 2])

    async def counts(self) -> Counts:
        """Return fixed counts."""
        await self.counting()
        return self.counted

    async def finish(self) -> Counts:
        """Return the same."""
        self.note("finish")
        await self.finishing()
        return self.counted


class Shops(Scenario):
    """Two shops, one of them with other steps; `left` notes when they are left."""

    name = "Shops"
    says = "Two of a kind."
    rate = 10.0

    def __init__(
        self,
        *,
        faults: Sequence[Fault] = FAULTS,
        entering: Step = nothing,
        staying: Step = forever,
        exiting: Step = nothing,
        names: Sequence[str] = ("bare", "protected"),
        **steps: Any,
    ) -> None:
        self.script = faults
        self.entering, self.staying, self.exiting = entering, staying, exiting
        self.shops = dict(zip(names, (Shop(), Shop(**steps), Shop()), strict=False))
        self.left: list[str] = []

    def faults(self, conditions: Conditions) -> Sequence[Fault]:
        """Return the script."""
        return self.script

    def notes(self, conditions: Conditions) -> Sequence[str]:
        """Return one."""
        return [f"a note for {conditions.seconds:g} s"]

    def variants(self, conditions: Conditions) -> Mapping[str, AbstractAsyncContextManager[Variant]]:
        """Return the shops."""
        return {name: self.held(name) for name in self.shops}

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[Variant]:
        """Give a shop, and note its end, in the task in which it began."""
        task = asyncio.current_task()
        if name == "protected":
            await self.entering()
        try:
            async with asyncio.TaskGroup() as tasks:
                staying = tasks.create_task(self.staying() if name == "protected" else forever())
                yield self.shops[name]
                staying.cancel()
        finally:
            assert task is asyncio.current_task()
            if name == "protected":
                await self.exiting()
            self.left.append(name)


def play(scenario: Scenario, *cancels: float, seconds: float = 10.0, watch: Any = None) -> Result:
    """Run a scenario in virtual time, cancelling it at these seconds; no task may outlive it."""

    async def main() -> Result:
        loop = asyncio.get_running_loop()
        with FakeClock():
            running = asyncio.create_task(run(scenario, Conditions(seconds, scenario.rate, 1), watch))
            for second in cancels:
                loop.call_at(loop.time() + second, running.cancel)
            try:
                return await running
            finally:
                assert {asyncio.current_task()} == asyncio.all_tasks()
                assert 0 == running.cancelling()  # what was heeded is over, and does not disturb what comes after

    return asyncio.run(main())


def measures(result: Result) -> list[Measures]:
    """Return the measures of both variants."""
    return [side.measures for side in result.variants.values()]


def test_both_variants_meet_the_same_at_the_same_moments() -> None:
    """The same requests, strikes and lifts; what differs is how they bear it."""
    scenario = Shops(striking=lambda: asyncio.sleep(0.05), sending=lambda number: asyncio.sleep(6, Answer("fallback")))
    play(scenario)
    bare, protected = scenario.shops.values()

    faults = [(2, "strike refuse"), (4, "lift refuse"), (4, "strike errors"), (6, "lift errors")]
    assert sorted([*faults, *((number / 10, number) for number in range(100))], key=str) == sorted(
        bare.seen[:-1], key=str
    )
    assert sorted(bare.seen[:-1], key=str) == sorted(protected.seen[:-1], key=str)


def test_what_is_reported_is_what_happened() -> None:
    """The faults with their real seconds, the notes, the figures by name as JSON holds them."""
    result = play(Shops())

    assert [(FAULTS[0], 2, 4), (FAULTS[1], 4, 6)] == [
        (period.fault, pytest.approx(period.began), pytest.approx(period.ended)) for period in result.faults
    ]
    assert ("a note for 10 s",) == result.notes
    figures = {
        "requests": 100,
        "availability": 0.6,
        "p50": 0.01,
        "p95": 0.01,
        "p99": 0.01,
        "wasted_calls": 7,
        "retries": 3,
        "breaker_openings": 1,
        "fallbacks": 2,
        "recovery_seconds": 2.01,
        "double_charges": 0,
    }
    assert {
        "scenario": "Shops",
        "seconds": 10,
        "rate": 10,
        "seed": 1,
        "cut_short": False,
        "report": "report.html",
        "bare": figures,
        "protected": figures,
    } == result.as_dict(report="report.html")
    side = result.variants["bare"]
    assert ({"fresh": 60, "failed": 40}, {"ConnectionError": 40}) == (side.endings, side.failures)
    assert 50 == len(side.timeline)


def test_contexts_are_left_by_the_tasks_that_entered_them() -> None:
    """After finishing, which comes after the last answers."""
    scenario = Shops()
    play(scenario)

    assert ["bare", "protected"] == sorted(scenario.left)
    assert [(10, "finish")] * 2 == [shop.seen[-1] for shop in scenario.shops.values()]


def test_what_is_pending_counts_when_it_was_settled() -> None:
    """Five of ten promises were not kept."""

    async def promise(number: int) -> Answer:
        return Answer("pending", reference=f"{number}")

    kept = Counts(0, 0, 0, 0, {"unsettled": 5}, frozenset("13579"))
    result = play(Shops(sending=promise, counted=kept), seconds=1)

    assert {"pending": 5, "unsettled": 5} == result.variants["protected"].endings
    assert (0.5, {"unsettled": 5}) == (measures(result)[1].availability, measures(result)[1].further)


def test_a_variant_that_hangs_does_not_hold_up_the_run() -> None:
    """Its calls are given up 5 s after they were of no use any more."""

    async def hang(number: int) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    bare, protected = measures(play(Shops(sending=hang)))

    assert (0.6, 0.0, 7.0, None) == (
        bare.availability,
        protected.availability,
        protected.p50,
        protected.recovery_seconds,
    )


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ({"entering": fail}, "variant 'protected' did not start: OSError: no more files"),
        ({"entering": forever}, "variant 'protected' did not start: it took longer than 120 s"),
        ({"warming": fail}, "variant 'protected' did not warm up: OSError: no more files"),
        ({"warming": forever}, "variant 'protected' did not warm up: it took longer than 60 s"),
        ({"striking": fail}, "variant 'protected' could not begin 'refuse' on 'catalog': OSError: no more files"),
        ({"striking": forever}, "variant 'protected' could not begin 'refuse' on 'catalog': it took longer than 15 s"),
        ({"lifting": fail}, "variant 'protected' could not end 'refuse' on 'catalog': OSError: no more files"),
        ({"staying": fail}, "variant 'protected' ended in the middle of the run: OSError: no more files"),
        (
            {"counted": Counts(0, 0, 0, 0, {"p95": 1, "retries": 2, "mine": 3})},
            "variant 'protected' counts p95, retries in `further`; use names of its own there",
        ),
        (
            {"faults": [FAULTS[0], FAULTS[0]]},
            "scenario 'Shops': begins=0.2 of 'refuse' on 'catalog' lies within the same",
        ),
        ({"names": ["bare"]}, "scenario 'Shops' has the variants 'bare'; use two, such as 'bare' and 'protected'"),
        ({"names": ["a", "b", "c"]}, "scenario 'Shops' has the variants 'a', 'b', 'c'; use two"),
        ({"names": []}, "scenario 'Shops' has the variants none; use two"),
        (
            {"names": ["bare", "seed"]},
            "has the variants 'bare', 'seed'; use two, such as 'bare' and 'protected', and none",
        ),
    ],
)
def test_what_makes_a_run_impossible_is_named(steps: Any, text: str) -> None:
    """With the variant and the reason; the other variant is left as ever."""
    scenario = Shops(**steps)
    with pytest.raises(ScenarioError) as caught:
        play(scenario)

    assert text in str(caught.value)
    assert scenario.left in ([], ["bare"]) if "entering" in steps else len(scenario.left) in (0, 2)


def test_an_answer_is_of_use_for_some_time() -> None:
    """A time that makes no sense is named as the scenario's."""
    scenario = Shops()
    scenario.usable_within = 0
    with pytest.raises(
        ScenarioError, match="scenario 'Shops': usable_within=0 is out of range; use a duration above 0"
    ):
        play(scenario)


def test_a_watch_sees_the_run_as_it_goes() -> None:
    """Its stage, its time, the faults that are on, and both variants; it is cancelled at the end."""
    seen: list[object] = []

    async def watch(progress: Progress) -> None:
        try:
            seen.append((progress.stage, progress.now))
            await asyncio.sleep(3.05)
            state = progress.variants["protected"]
            seen.append((progress.stage, [period.fault.kind for period in progress.faults if period.on]))
            seen.append((len(state.record.requests), state.waiting, round(state.availability or 0, 4), state.counts))
            await asyncio.sleep(8)
            seen.append(progress.stage)
            await forever()
        finally:
            seen.append(progress.stage)

    async def send(number: int) -> Answer:
        await asyncio.sleep(0.01 if number < 20 else 5)
        return Answer("cached")

    play(Shops(sending=send), watch=watch)

    assert [
        ("start", 0.0),
        ("load", ["refuse"]),
        (20, 11, 1.0, Counts(7, 3, 1, 2, {"double_charges": 0})),
        "last answers",
        "end",
    ] == seen


def test_what_waits_too_long_is_seen_as_late() -> None:
    """In the share and in the bins, before the request has ended."""
    seen: list[object] = []

    async def watch(progress: Progress) -> None:
        await asyncio.sleep(4.55)
        state = progress.variants["protected"]
        seen.append((state.availability, sum(part["late"] for part in state.bins())))

    async def hang(number: int) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    play(Shops(sending=hang), 4.6, watch=watch)

    assert [(0.0, 26)] == seen


def test_a_watch_that_fails_ends_the_run() -> None:
    """Its error is raised, and the variants are left."""
    scenario = Shops()

    async def watch(progress: Progress) -> None:
        await asyncio.sleep(3)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        play(scenario, watch=watch)
    assert ["bare", "protected"] == sorted(scenario.left)


def test_a_load_that_was_late_is_noted() -> None:
    """A driver that is too slow makes both variants look bad; who reads the figures must know."""
    with FakeClock() as clock:

        async def block(number: int) -> Answer:
            if number == 5:
                clock.advance(1.5)
            return Answer("cached")

        async def main() -> Result:
            clock.drive(asyncio.get_running_loop())
            return await run(Shops(sending=block), Conditions(10, 10, 1))

        notes = asyncio.run(main()).notes

    assert "The load itself was up to 1.4 s late" in notes[-1]
