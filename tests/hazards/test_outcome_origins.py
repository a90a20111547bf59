"""What says nothing about the dependency counts nowhere: cancellations, and seawall's own rejections."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

import seawall
from seawall import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    Pipeline,
    RateLimit,
    RateLimitedError,
    RejectedError,
    Retry,
    Timeout,
)
from seawall.testing import FakeClock

NUMBERS = count()
CANCELLATIONS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
SHAPES: tuple[dict[str, Any], ...] = (
    {"failures": 1},
    {"failures": 1, "window_calls": 5},
    {"failure_rate": 0.01, "window": 60.0, "min_calls": 1},
    {"failures": 1, "on": BaseException},
    {"failures": 1, "on": lambda error: True},
    {"failures": 1, "on_result": lambda result: False},
)
shapes = pytest.mark.parametrize("shape", SHAPES)
colours = pytest.mark.parametrize("colour", ["sync", "async", "stream", "astream"])


@pytest.fixture(autouse=True)
def clock() -> Iterator[FakeClock]:
    """Runs every test here on fake time."""
    with FakeClock() as clock:
        yield clock


def name() -> str:
    """Gives a name that nothing else has."""
    return f"origin-{next(NUMBERS)}"


def through(colour: str, strategy: Any, body: Callable[[], object]) -> object:
    """Runs `body` once, protected in one colour."""

    def stream() -> Iterator[object]:
        yield body()

    async def acall() -> object:
        return body()

    async def astream() -> Any:
        yield body()

    async def first() -> object:
        return [item async for item in strategy(astream)()].pop()

    match colour:
        case "sync":
            return strategy(lambda: body())()
        case "async":
            return asyncio.run(strategy(acall)())
        case "stream":
            return list(strategy(stream)()).pop()
        case _:
            return asyncio.run(first())


@pytest.mark.parametrize("error", CANCELLATIONS)
@colours
@shapes
def test_five_cancelled_calls_count_nowhere(shape: dict[str, Any], colour: str, error: type[BaseException]) -> None:
    """Five cancellations while closed leave the circuit closed and its counts at nothing, whatever `on` says."""
    breaker = CircuitBreaker(**shape, name=name())

    def cancelled() -> object:
        raise error

    for _ in range(5):
        with pytest.raises(error):
            through(colour, breaker, cancelled)
    assert "closed" == breaker.state
    assert (0, 0) == (breaker.snapshot().calls, breaker.snapshot().failures)


@pytest.mark.parametrize(
    "rejection",
    [
        BulkheadFullError("inner"),
        RateLimitedError("inner", 1.0),
        CircuitOpenError("inner", 1.0),
        CircuitIsolatedError("inner"),
        DeadlineExceededError("inner"),
    ],
    ids=lambda error: type(error).__name__,
)
@colours
@shapes
def test_rejections_from_further_in_count_nowhere(shape: dict[str, Any], colour: str, rejection: RejectedError) -> None:
    """No rejection that reaches a breaker from inside opens it, whatever `on` says."""
    breaker = CircuitBreaker(**shape, name=name())

    def refused() -> object:
        raise rejection

    for _ in range(3):
        with pytest.raises(type(rejection)):
            through(colour, breaker, refused)
    assert "closed" == breaker.state
    assert (0, 0) == (breaker.snapshot().calls, breaker.snapshot().failures)


def test_an_inner_bulkheads_rejections_count_nowhere() -> None:
    """Of three calls of which the inner bulkhead rejects two, the breaker counts the one that ran (core 20)."""
    breaker = CircuitBreaker(failure_rate=0.01, window=60.0, min_calls=1)
    pipeline = Pipeline(name(), breaker, Bulkhead(1), Timeout(10.0))

    async def main() -> list[object]:
        go = asyncio.Event()

        async def call() -> str:
            await go.wait()
            return "answer"

        tasks = [asyncio.create_task(pipeline.acall(call)) for _ in range(3)]
        await asyncio.wait(tasks[1:], timeout=60)
        go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    ended = asyncio.run(main())
    assert ["str", "BulkheadFullError", "BulkheadFullError"] == [type(end).__name__ for end in ended]
    assert ("closed", 1, 0) == (breaker.state, breaker.snapshot().calls, breaker.snapshot().failures)


@colours
def test_a_probe_rejected_further_in_gives_its_slot_back(clock: FakeClock, colour: str) -> None:
    """Where the inner rate limit refuses the probe, the next call is the probe."""
    breaker = CircuitBreaker(failures=1, open_for=10.0)
    limit = RateLimit(1, per=60.0)
    pipeline = Pipeline(name(), breaker, limit, Timeout(1.0))
    breaker.acquire().failure()
    limit.acquire()
    clock.advance(10.0)
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            through(colour, pipeline, lambda: "answer")
        assert "half_open" == breaker.state
    clock.advance(60.0)
    assert "answer" == through(colour, pipeline, lambda: "answer")
    assert "closed" == breaker.state


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_open_circuit_of_an_inner_pipeline_counts_nowhere(colour: str) -> None:
    """An outer breaker stays closed while the breaker of the pipeline below rejects."""
    inner_breaker, outer_breaker = CircuitBreaker(failures=1), CircuitBreaker(failures=1)
    inner = Pipeline(name(), inner_breaker, Timeout(10.0))
    outer = Pipeline(name(), outer_breaker, Timeout(10.0))
    inner_breaker.acquire().failure()

    def call() -> object:
        return inner.call(lambda: "answer")

    async def acall() -> object:
        async def answer() -> str:
            return "answer"

        return await inner.acall(answer)

    for _ in range(3):
        with pytest.raises(CircuitOpenError):
            outer.call(call) if colour == "sync" else asyncio.run(outer.acall(acall))
    assert "closed" == outer_breaker.state


def test_a_call_cut_by_the_callers_deadline_counts_nowhere() -> None:
    """A deadline shorter than the call's own time-out releases the permit; the time-out itself is a failure."""
    breaker = CircuitBreaker(failures=1)
    pipeline = Pipeline(name(), breaker, Timeout(10.0))

    async def hang() -> None:
        await asyncio.Event().wait()

    async def cut() -> None:
        async with seawall.deadline(1.0):
            await pipeline.acall(hang)

    with pytest.raises(seawall.CallTimeoutError) as caught:
        asyncio.run(cut())
    assert caught.value.by_deadline
    assert "closed" == breaker.state
    with pytest.raises(seawall.CallTimeoutError):
        asyncio.run(pipeline.acall(hang))
    assert "open" == breaker.state


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_call_not_started_for_want_of_time_counts_nowhere(clock: FakeClock, colour: str) -> None:
    """A deadline that has passed is no word about the dependency."""
    breaker = CircuitBreaker(failures=1)
    pipeline = Pipeline(name(), breaker, Timeout(10.0))

    async def answer() -> None:
        """Answers."""

    async def late() -> None:
        async with seawall.deadline(1.0):
            clock.advance(2.0)
            await pipeline.acall(answer)

    def sync_late() -> None:
        with seawall.deadline(1.0):
            clock.advance(2.0)
            pipeline.call(lambda: None)

    with pytest.raises(DeadlineExceededError):
        sync_late() if colour == "sync" else asyncio.run(late())
    assert ("closed", 0) == (breaker.state, breaker.snapshot().calls)


@pytest.mark.parametrize("on", [Exception, ConnectionError, (ConnectionError, ValueError), lambda error: True])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_open_circuit_is_not_retried_unless_listed(clock: FakeClock, colour: str, on: Any) -> None:
    """A rejection by the open circuit passes a Retry at once, without a sleep."""
    breaker = CircuitBreaker(failures=1)
    pipeline = Pipeline(name(), Retry(on=on, max_attempts=3, backoff=1.0), breaker, Timeout(1.0))
    breaker.acquire().failure()
    with pytest.raises(CircuitOpenError):
        through(colour, pipeline, lambda: "answer")
    assert [] == clock.slept


@pytest.mark.parametrize("on", [CircuitOpenError, RejectedError, (ConnectionError, CircuitOpenError)])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_open_circuit_that_is_listed_is_retried_by_the_own_backoff(clock: FakeClock, colour: str, on: Any) -> None:
    """A listed rejection is retried, and its `retry_after` of 20 s is not taken for a server's word."""
    breaker = CircuitBreaker(failures=1, open_for=20.0)
    pipeline = Pipeline(name(), Retry(on=on, max_attempts=3, backoff=10.0), breaker, Timeout(1.0))
    breaker.acquire().failure()
    assert "answer" == through(colour, pipeline, lambda: "answer")
    assert [10.0, 10.0] == clock.slept


@pytest.mark.parametrize("error", CANCELLATIONS)
@pytest.mark.parametrize("on", [Exception, BaseException, lambda error: True])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_cancellation_is_never_retried(colour: str, on: Any, error: type[BaseException]) -> None:
    """No predicate and no class makes a Retry repeat a cancelled call, and its identity is kept."""
    calls = []
    instance = error()

    def cancelled() -> object:
        calls.append(None)
        raise instance

    with pytest.raises(error) as caught:
        through(colour, Retry(on=on, max_attempts=5, backoff=0.0, name=name()), cancelled)
    assert 1 == len(calls)
    assert colour == "async" or instance is caught.value
