"""What a second review found in the changes that the first one led to."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    CircuitChanged,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    Timeout,
    deadline,
)
from seawall.testing import FakeClock, Recorder

NUMBERS = itertools.count()


def down() -> None:
    """Fails."""
    raise ConnectionError


def test_relinking_to_and_fro_tells_each_listener_once() -> None:
    """However often two strategies take each other's place."""
    one, other, heard = CircuitBreaker(failures=1), CircuitBreaker(failures=1), Recorder()
    pipeline = Pipeline(f"to and fro {next(NUMBERS)}", one, Timeout(1))
    one.listen(heard, CircuitChanged)
    for breaker in (other, one, other, one):
        pipeline.relink(breaker, Timeout(1))
    with pytest.raises(ConnectionError):
        pipeline.call(down)
    assert 1 == len(heard.events)


def test_many_cancelled_turns_are_forgotten_together() -> None:
    """Ten thousand turns that passed unused are dropped in one go, and the next call starts at once."""

    async def main() -> float:
        limit = RateLimit(1000, burst=1, max_wait=60)
        waiting = [asyncio.ensure_future(limit.aturn()) for _ in range(10_000)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        clock.advance(11)
        before = clock.now()
        await limit.aturn()
        return clock.now() - before

    with FakeClock() as clock:
        assert 0.0 == asyncio.run(main())


def test_a_loop_within_a_loop_spends_its_retries_once() -> None:
    """The inner loop, entered five times, makes two retries in all."""
    outer, inner = (Retry(on=ValueError, backoff=0) for _ in range(2))
    calls = 0
    for attempt in outer.attempts():
        with attempt:
            for _ in range(5):
                try:
                    for again in inner.attempts():
                        with again:
                            calls += 1
                            raise ValueError
                except ValueError:
                    pass
    assert 5 + 2 == calls


def test_two_stacked_retries_are_two() -> None:
    """The inner one recovers and the outer one rejects the result: what the inner one has spent stays spent."""
    calls = 0

    def flaky() -> int:
        nonlocal calls
        calls += 1
        if calls != 3:
            raise ConnectionError
        return calls

    inner = Retry(on=ConnectionError, backoff=0)
    outer = Retry(on=KeyError, on_result=lambda result: bool(result == 3), backoff=0)
    with pytest.raises(ConnectionError):
        outer(inner(flaky))()
    assert 3 + 1 == calls


def test_a_caller_that_gives_up_teaches_a_hedge_nothing() -> None:
    """Durations of calls that the caller cancelled are not learned."""

    async def slow() -> None:
        await asyncio.sleep(0.1)

    async def main() -> float:
        hedge = Hedge("p95")
        for _ in range(60):
            task = asyncio.ensure_future(hedge(slow)())
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return hedge.delay()

    with FakeClock():
        assert math.inf == asyncio.run(main())


def test_expired_deadlines_leave_no_callbacks_on_a_task() -> None:
    """A task that outlives many deadlines does not collect what they hung on it."""

    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> int:
        protected, removed = Timeout(60)(hang), 0
        task = asyncio.current_task()
        assert task is not None
        for _ in range(30):
            async with deadline(0.01):
                with pytest.raises(CallTimeoutError):
                    await protected()
        callbacks: list[Any] = getattr(task, "_callbacks", None) or []
        removed += len(callbacks)
        return removed

    with FakeClock():
        assert asyncio.run(main()) <= 1  # asyncio.run has one of its own


def test_shrinking_an_idle_bulkhead_turns_nobody_away() -> None:
    """Free slots go at once; nobody is refused for the sake of slots that nobody uses."""
    pipeline = Pipeline(f"idle shrink {next(NUMBERS)}", Bulkhead(5000), Timeout(1))
    pipeline.relink(Bulkhead(100), Timeout(1))
    slots = pipeline.get(Bulkhead)._slots
    assert (100, 0, 0) == (len(slots.free), len(slots.waiting), slots.running)


def test_closing_a_stream_closes_the_fallbacks_stream() -> None:
    """A fallback's async generator gives its slot back when the consumer stops, not some time later."""
    slots = Bulkhead(1)

    @slots
    async def stored() -> AsyncIterator[int]:
        yield 1
        yield 2

    @Fallback(stored, on=ConnectionError)
    async def items() -> AsyncIterator[int]:
        down()
        yield 0

    async def main() -> int:
        stream: Any = items()
        assert 1 == await anext(stream)
        await stream.aclose()
        return slots.snapshot().running

    assert 0 == asyncio.run(main())
