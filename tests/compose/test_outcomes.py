"""Outcomes: the value of a call, who served it, how many attempts it took, and how long."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seawall import Fallback, Hedge, Outcome, Pipeline, RateLimit, Retry, Timeout
from seawall.testing import FakeClock


def flaky(failures: int, answer: object = "ok", error: type[Exception] = OSError) -> Callable[[], Any]:
    """Returns a function that fails so many times, then answers."""
    left = iter(range(failures))

    def work() -> Any:
        if next(left, None) is not None:
            raise error("down")
        return answer

    return work


def outcome(pipeline: Pipeline, work: Callable[[], Any], colour: str) -> Outcome[Any]:
    """Makes one call of a colour and returns its outcome."""

    async def awork() -> Any:
        return work()

    return pipeline.call_outcome(work) if colour == "sync" else asyncio.run(pipeline.acall_outcome(awork))


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def retrying(name: str, *outer: Any) -> Pipeline:
    """A pipeline that retries after 2, 4 and 8 s."""
    return Pipeline(name, *outer, Retry(on=OSError, max_attempts=4, backoff=lambda number: 2.0**number), Timeout(10))


def test_the_outcome_of_a_plain_call(colour: str) -> None:
    """One attempt, served by the primary, in no time."""
    with FakeClock():
        assert Outcome("ok", "primary", 1, 0.0) == outcome(Pipeline(f"plain {colour}"), flaky(0), colour)


def test_attempts_and_duration_of_a_retried_call(colour: str) -> None:
    """The first attempt counts; the delays are part of the duration."""
    with FakeClock():
        assert Outcome("ok", "primary", 3, 6.0) == outcome(retrying(f"retried {colour}"), flaky(2), colour)


def test_a_served_fallback(colour: str) -> None:
    """All attempts of the primary are counted; the fallback's own work is none of them."""
    with FakeClock():
        pipeline = retrying(f"served {colour}", Fallback("stale", on=OSError))
        assert Outcome("stale", "value", 4, 14.0) == outcome(pipeline, flaky(9), colour)


def test_a_rejected_call_made_no_attempt(colour: str) -> None:
    """The function was never called: 0."""
    with FakeClock():
        pipeline = Pipeline(f"rejected {colour}", Fallback("stale", on=Exception), RateLimit(1, per=60))
        outcome(pipeline, flaky(0), colour)
        assert Outcome("stale", "value", 0, 0.0) == outcome(pipeline, flaky(0), colour)


def test_a_call_that_fails_raises(colour: str) -> None:
    """As `call` does; and the next outcome starts from zero."""
    with FakeClock():
        pipeline = retrying(f"fails {colour}")
        with pytest.raises(OSError, match="down"):
            outcome(pipeline, flaky(9), colour)
        assert 1 == outcome(pipeline, flaky(0), colour).attempts


def test_an_inner_pipelines_calls_are_not_ours(colour: str) -> None:
    """The trace is of one pipeline's call: inner attempts and fallbacks are hidden from it."""
    with FakeClock():
        inner = retrying(f"inner {colour}", Fallback("inner stale", on=OSError))
        outer = Pipeline(f"outer {colour}", Fallback("outer stale", on=KeyError))
        work = flaky(9)
        assert Outcome("inner stale", "primary", 1, 14.0) == outcome(outer, lambda: inner.call(work), "sync")

        async def nested() -> Any:
            return await inner.acall(_awaited(work))

        assert Outcome("inner stale", "primary", 1, 14.0) == asyncio.run(outer.acall_outcome(nested))


def _awaited(work: Callable[[], Any]) -> Callable[[], Any]:
    async def awork() -> Any:
        return work()

    return awork


def test_outcomes_within_outcomes(colour: str) -> None:
    """Each has its own figures, and the outer one goes on counting afterwards."""
    with FakeClock():
        inner, outer = retrying(f"nested inner {colour}"), retrying(f"nested outer {colour}")
        seen: list[Outcome[Any]] = []
        first = flaky(1)

        def work() -> Any:
            seen.append(inner.call_outcome(flaky(1)))
            return first()

        total = outer.call_outcome(work)
    assert [Outcome("ok", "primary", 2, 2.0)] * 2 == seen
    assert Outcome("ok", "primary", 2, 6.0) == total


def test_a_decorated_function_counts_for_itself(colour: str) -> None:
    """A pipeline around a function that another one decorates: one attempt for the outer."""
    with FakeClock():
        decorated = retrying(f"decorated {colour}")(flaky(2))
        assert Outcome("ok", "primary", 1, 6.0) == outcome(Pipeline(f"around {colour}"), decorated, "sync")


def test_a_hedged_call_counts_every_attempt() -> None:
    """Also those that lost."""
    lasting = [10.0, 1.0]

    async def work() -> str:
        await asyncio.sleep(lasting.pop(0))
        return "quick"

    async def main() -> Outcome[str]:
        return await Pipeline("hedged outcome", Hedge(2)).acall_outcome(work)

    with FakeClock():
        assert Outcome("quick", "primary", 2, 3.0) == asyncio.run(main())


def test_outcomes_of_tasks_side_by_side_are_their_own() -> None:
    """Ten at once through one pipeline: each with its own attempts."""

    async def main() -> list[int]:
        works = [pipeline.acall_outcome(_awaited(flaky(number % 4))) for number in range(10)]
        return [each.attempts for each in await asyncio.gather(*works)]

    with FakeClock():
        pipeline = retrying("side by side")
        assert [1, 2, 3, 4, 1, 2, 3, 4, 1, 2] == asyncio.run(main())


def test_a_pipelines_clock_times_its_outcomes() -> None:
    """Where it is given one of its own."""
    clock = FakeClock(100)
    assert 5.0 == Pipeline("own clock", clock=clock).call_outcome(clock.advance, 5).duration
