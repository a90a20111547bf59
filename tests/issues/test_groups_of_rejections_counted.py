"""A TaskGroup wraps rejections into an ExceptionGroup, which was counted as a failure and retried."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    RateLimitedError,
    Retry,
    Timeout,
)
from tests.both import NUMBERS

FULL, OPEN, LIMITED = BulkheadFullError("slots", None), CircuitOpenError("circuit", 1.0), RateLimitedError("rate", 1.0)
CUT = CallTimeoutError("call", 1.0, True)
REJECTIONS = {
    "one": lambda: ExceptionGroup("g", [FULL]),
    "many": lambda: ExceptionGroup("g", [FULL, OPEN, LIMITED]),
    "nested": lambda: ExceptionGroup("g", [FULL, ExceptionGroup("h", [OPEN])]),
    "cut by a deadline": lambda: ExceptionGroup("g", [FULL, CUT]),
}
MIXED = {
    "flat": lambda: ExceptionGroup("g", [FULL, OSError()]),
    "nested": lambda: ExceptionGroup("g", [FULL, ExceptionGroup("h", [OPEN, OSError()])]),
}


def raising(make: Callable[[], Exception]) -> Callable[[], None]:
    """Returns a function that raises."""

    def work() -> None:
        raise make()

    return work


def breaker(**figures: Any) -> CircuitBreaker:
    """One with a window, which tells what it has counted."""
    return CircuitBreaker(**{"failures": 1, "window_calls": 10, **figures}, name=f"grouped {next(NUMBERS)}")


@pytest.mark.parametrize("make", REJECTIONS.values(), ids=REJECTIONS)
@pytest.mark.parametrize("on", [Exception, ExceptionGroup, lambda error: True])
def test_a_group_of_rejections_counts_nowhere(on: Any, make: Callable[[], Exception]) -> None:
    """Neither as a failure nor as a success, whatever `on` says."""
    circuit = breaker(on=on)
    with pytest.raises(ExceptionGroup):
        circuit(raising(make))()
    assert ("closed", 0) == (circuit.state, circuit.snapshot().calls)


@pytest.mark.parametrize("make", MIXED.values(), ids=MIXED)
def test_a_mixed_group_is_judged_by_on(make: Callable[[], Exception]) -> None:
    """It is a failure where it is listed, an answer where it is not, and nothing where it is ignored."""

    def mixed(error: Exception) -> bool:
        return isinstance(error, ExceptionGroup) and error.split(OSError)[0] is not None

    seen = []
    for figures in ({}, {"on": ExceptionGroup}, {"on": mixed}, {"on": OSError}, {"ignore": ExceptionGroup}):
        circuit = breaker(**{"failures": 5, **figures})
        with pytest.raises(ExceptionGroup):
            circuit(raising(make))()
        seen.append((circuit.snapshot().calls, circuit.snapshot().failures))
    assert [(1, 1), (1, 1), (1, 1), (1, 0), (0, 0)] == seen


@pytest.mark.parametrize("make", REJECTIONS.values(), ids=REJECTIONS)
def test_a_group_of_rejections_only_is_not_retried(make: Callable[[], Exception]) -> None:
    """As little as a rejection alone."""
    assert 1 == attempts(make)


@pytest.mark.parametrize("make", MIXED.values(), ids=MIXED)
def test_a_mixed_group_is_retried(make: Callable[[], Exception]) -> None:
    """Since something in it has really failed."""
    assert 3 == attempts(make)


def attempts(make: Callable[[], Exception]) -> int:
    """Returns how many attempts a Retry on any exception makes."""
    calls: list[int] = []

    @Retry(on=Exception, backoff=0)
    def work() -> None:
        calls.append(1)
        raise make()

    with pytest.raises(ExceptionGroup):
        work()
    return len(calls)


def test_a_task_group_of_rejected_calls() -> None:
    """The real thing: children that find a bulkhead full, below a breaker and a Retry."""
    slots = Bulkhead(1, name=f"grouped slots {next(NUMBERS)}")
    circuit = breaker()
    pipeline = Pipeline(f"grouped {next(NUMBERS)}", Retry(on=Exception, backoff=0), circuit, Timeout(5))
    calls: list[int] = []

    @slots
    async def child() -> None:
        await asyncio.sleep(0)

    async def parent() -> None:
        calls.append(1)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(child())

    async def main() -> None:
        with slots.guard():
            await pipeline.acall(parent)

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert {BulkheadFullError} == {type(each) for each in caught.value.exceptions}
    assert (1, "closed", 0) == (len(calls), circuit.state, circuit.snapshot().calls)
