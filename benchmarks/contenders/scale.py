"""What grows: the cost of a call with the number of pipelines, and with the number of calls in flight."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from benchmarks.contenders.five import nopanic_stack, pipeline
from benchmarks.measure import Figure, Result, Settings, figure, own_copy
from benchmarks.rows import Protect, Row, awork, bare

FEW, MANY = 10, 10_000
CALLS = 10_000


@dataclass(frozen=True)
class Pipelines(Row):
    """Calls to many functions in turn, each with a pipeline of its own. `bare` shows what of it is the processor's
    cache: as many distinct functions, unprotected."""

    few: int = FEW
    many: int = MANY

    def measured(self, settings: Settings) -> Result:
        makers: dict[str, Callable[[int], Protect]] = {
            "bare": lambda number: bare,
            "seawall": lambda number: pipeline(f"pipeline {number}"),
        }
        if settings.peers_at_scale:
            makers["nopanic"] = lambda number: nopanic_stack()
        result = Result()
        for name, make in makers.items():
            try:
                protected = [make(number)(own_copy(awork)) for number in range(self.many)]
            except ImportError as error:
                result.missing[name] = f"not installed ({error.name or error})"
            else:
                result.figures[name] = asyncio.run(self._growth(protected, settings))
        return result

    async def _growth(self, protected: list[Any], settings: Settings) -> Figure:
        each = len(protected)
        sequences = {self.few: protected[: self.few] * (each // self.few), self.many: protected}
        rounds: dict[int, list[float]] = {self.few: [], self.many: []}
        loop = own_copy(in_turn)
        gc.collect()
        for _ in range(settings.repeats):
            for size, sequence in sequences.items():
                gc.collect(0)
                rounds[size].append(await loop(sequence) / each)
        return grown(figure(rounds[self.few]), figure(rounds[self.many]))


async def in_turn(sequence: list[Any]) -> int:
    start = perf_counter_ns()
    for fn in sequence:
        await fn(1)
    await asyncio.sleep(0)
    return perf_counter_ns() - start


def grown(few: Figure, many: Figure) -> Figure:
    """Returns by what factor a cost grew; its spread is that of the two."""
    low = many.low / few.low if few.low > 0 else float("nan")
    return Figure(low, low * max(few.spread, many.spread), "x", f"{few.low:,.0f} -> {many.low:,.0f} ns")


@dataclass(frozen=True)
class InFlight(Row):
    """Calls that are in flight at once, as many tasks; the cost of the same tasks with the bare function subtracted.

    Each call suspends once, so that all are in flight together; each task makes its share of 10,000 calls.
    """

    few: int = 1
    many: int = 10_000

    def measured(self, settings: Settings) -> Result:
        protects: dict[str, Callable[[], Protect]] = {
            "bare": lambda: bare,
            "seawall": lambda: pipeline("in flight", slots=self.many),
        }
        if settings.peers_at_scale:
            protects["nopanic"] = lambda: nopanic_stack(slots=self.many)
        result = Result()
        calls: dict[str, Any] = {}
        for name, make in protects.items():
            try:
                calls[name] = make()(own_copy(suspending))
            except ImportError as error:
                result.missing[name] = f"not installed ({error.name or error})"
        rounds = asyncio.run(self._rounds(calls, settings))
        for name in [name for name in calls if name != "bare"]:
            few, many = (beyond(rounds[name, size], rounds["bare", size]) for size in (self.few, self.many))
            result.figures[name] = grown(few, many)
        return result

    async def _rounds(self, calls: dict[str, Any], settings: Settings) -> dict[tuple[str, int], list[float]]:
        rounds: dict[tuple[str, int], list[float]] = {}
        gc.collect()
        for number in range(settings.repeats):
            for size in (self.few, self.many):
                turn = number % len(calls)
                for name in [*calls][turn:] + [*calls][:turn]:
                    gc.collect(0)
                    took = await together(calls[name], size)
                    rounds.setdefault((name, size), []).append(took / CALLS)
        return rounds


def beyond(calls: list[float], bare_calls: list[float]) -> Figure:
    """Returns what calls cost more than bare ones: the difference of their figures, since pairs differ in noise."""
    own, other = figure(calls), figure(bare_calls)
    return Figure(own.low - other.low, own.median - other.median)


async def suspending(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


async def together(fn: Any, size: int) -> int:
    share = CALLS // size

    async def calls() -> None:
        for _ in range(share):
            await fn(1)

    start = perf_counter_ns()
    tasks = [asyncio.create_task(calls()) for _ in range(size)]
    for task in tasks:
        await task
    return perf_counter_ns() - start


ROWS: list[Row] = [
    Pipelines("pipelines", "cost per call from 10 to 10,000 pipelines, async"),
    InFlight("in-flight", "cost per call from 1 to 10,000 calls in flight, async"),
]
