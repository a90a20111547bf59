"""The timing kit: how a row of contenders is measured on a noisy machine.

The contenders of a row take turns, in many short rounds whose order rotates, so that a busy moment hits all of them. A
round calls one contender in a tight loop for about `round_ns`; its figure is the mean of a call. What stands for a
contender is the minimum of its rounds: noise only ever adds. The loop is the same for all, but each has its own copy of
the loop's code, as every call site has its own inline caches; and since where such a copy lies in memory can cost or
save a tenth, all contenders are made anew several times, in batches. The loop's own cost (about 5 ns) is not subtracted
from anything.

An async row runs in one task of one event loop, and each round ends with one pass of that loop inside the timed part,
so that what a call leaves to the loop (timers to clean up) is paid by who left it.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import statistics
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from time import perf_counter_ns
from types import FunctionType
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How long to measure. `peers_at_scale`: whether peers, too, run with 10,000 of everything."""

    batches: int = 5
    rounds: int = 80
    round_ns: int = 1_000_000
    repeats: int = 25
    interpreters: int = 15
    peers_at_scale: bool = True

    @classmethod
    def quick(cls) -> Settings:
        return cls(batches=2, rounds=20, repeats=3, interpreters=3, peers_at_scale=False)


@dataclass(frozen=True)
class Figure:
    """What was measured of one contender: `low` is its figure, in `unit`; `median` shows the noise."""

    low: float
    median: float
    unit: str = "ns"
    note: str = ""

    @property
    def spread(self) -> float:
        """Median over low: 1.00 is a quiet machine."""
        return self.median / self.low if self.low else 1.0


@dataclass
class Result:
    """The figures of one row, by contender, and what was missing."""

    figures: dict[str, Figure] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass
class Entrant:
    """One contender of one row, ready to be called."""

    call: Callable[[Any], Any]
    loop: Callable[[Callable[[Any], Any], int], Any]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    count: int = 0
    per_call: list[float] = field(default_factory=list)


def figure(values: Iterable[float], unit: str = "ns", note: str = "") -> Figure:
    """Returns the figure of all rounds of a contender."""
    kept = list(values)
    return Figure(min(kept), statistics.median(kept), unit, note)


# ------------------------------------------------------------------------------------------------------------- loops


def call_loop(fn: Callable[[Any], Any], count: int) -> int:
    calls = repeat(None, count)
    start = perf_counter_ns()
    for _ in calls:
        fn(1)
    return perf_counter_ns() - start


async def acall_loop(fn: Callable[[Any], Awaitable[Any]], count: int) -> int:
    calls = repeat(None, count)
    start = perf_counter_ns()
    for _ in calls:
        await fn(1)
    await asyncio.sleep(0)
    return perf_counter_ns() - start


def raising_loop(fn: Callable[[Any], Any], count: int) -> int:
    calls = repeat(None, count)
    start = perf_counter_ns()
    for _ in calls:
        try:
            fn(1)
        except Exception:
            pass
    return perf_counter_ns() - start


async def araising_loop(fn: Callable[[Any], Awaitable[Any]], count: int) -> int:
    calls = repeat(None, count)
    start = perf_counter_ns()
    for _ in calls:
        try:
            await fn(1)
        except Exception:
            pass
    await asyncio.sleep(0)
    return perf_counter_ns() - start


def own_copy(function: Callable[..., Any]) -> Any:
    """Returns the same function with inline caches of its own."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    copy.__qualname__ = function.__qualname__
    return copy


# ------------------------------------------------------------------------------------------------------------ rounds

Plan = Generator[tuple[Entrant, int], int, None]


def plan(entrants: list[Entrant], settings: Settings) -> Plan:
    """Yields who is to be called how often, and is sent the nanoseconds that it took."""
    gc.collect()
    for entrant in entrants:
        count, took = 16, 0
        while took < settings.round_ns / 4:
            count *= 2
            took = yield entrant, count
        entrant.count = max(1, round(count * settings.round_ns / took))
    for number in range(settings.rounds):
        turn = number % len(entrants)
        for entrant in entrants[turn:] + entrants[:turn]:
            gc.collect(0)  # nobody's round pays for what another one left behind
            took = yield entrant, entrant.count
            entrant.per_call.append(took / entrant.count)


def follow(steps: Plan) -> None:
    """Carries out a plan of sync calls."""
    step = next(steps, None)
    while step is not None:
        entrant, count = step
        with entrant.around():
            took = entrant.loop(entrant.call, count)
        try:
            step = steps.send(took)
        except StopIteration:
            return


async def afollow(steps: Plan) -> None:
    """Carries out a plan of async calls, in this task."""
    step = next(steps, None)
    while step is not None:
        entrant, count = step
        with entrant.around():
            took = await entrant.loop(entrant.call, count)
        try:
            step = steps.send(took)
        except StopIteration:
            return


def take_turns(entrants: dict[str, Entrant], settings: Settings) -> None:
    """Measures one batch of contenders against each other; each keeps what its calls took."""
    steps = plan(list(entrants.values()), settings)
    if any(inspect.iscoroutinefunction(entrant.loop) for entrant in entrants.values()):
        asyncio.run(afollow(steps))
    else:
        follow(steps)
