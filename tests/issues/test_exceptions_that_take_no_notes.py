"""A frozen dataclass that is an exception came out of a Retry as another error: it cannot take a note."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from seawall import Bulkhead, CallEnded, CircuitBreaker, Fallback, Pipeline, RateLimit, Retry, Timeout, deadline
from tests.both import NUMBERS


@dataclass(frozen=True)
class DownError(Exception):
    """A failure that cannot be changed."""

    code: int


def listened(name: str) -> Pipeline:
    """A pipeline in which every call is metered."""
    pipeline = Pipeline(name)
    pipeline.listen(lambda event: None, CallEnded)
    return pipeline


PROTECTORS: dict[str, Any] = {
    "retry": lambda name: Retry(on=DownError, backoff=0, name=name),
    "fallback": lambda name: Fallback(5, on=OSError, name=name),
    "ratelimit": lambda name: RateLimit(1000, name=name),
    "bulkhead": lambda name: Bulkhead(10, name=name),
    "breaker": lambda name: CircuitBreaker(failures=5, name=name),
    "timeout": lambda name: Timeout(5, name=name),
    "pipeline": lambda name: Pipeline(name, Retry(on=DownError, backoff=0), CircuitBreaker(failures=9), Timeout(5)),
    "metered": listened,
}


@pytest.mark.parametrize("around", [nullcontext, lambda: deadline(60)], ids=["bare", "below"])
@pytest.mark.parametrize("how", PROTECTORS)
@pytest.mark.parametrize("kind", ["call", "acall", "stream", "astream", "astream later"])
def test_it_passes_as_itself(kind: str, how: str, around: Any) -> None:
    """Through each strategy, in each kind of call: the very object, whatever the strategy would have added to it."""
    failure = DownError(503)
    protect = PROTECTORS[how](f"frozen {next(NUMBERS)}")

    def call() -> None:
        raise failure

    async def acall() -> None:
        raise failure

    def stream() -> Iterator[int]:
        raise failure
        yield

    async def astream() -> AsyncIterator[int]:
        raise failure
        yield

    async def astream_later() -> AsyncIterator[int]:
        yield 1
        raise failure

    async def consume() -> None:
        async for _ in protect(astream if kind == "astream" else astream_later)():
            pass

    runs: dict[str, Any] = {
        "call": lambda: protect(call)(),
        "acall": lambda: asyncio.run(protect(acall)()),
        "stream": lambda: list(protect(stream)()),
    }
    with around(), pytest.raises(Exception) as caught:  # noqa: PT011
        runs.get(kind, lambda: asyncio.run(consume()))()
    assert failure is caught.value


def test_it_passes_through_loops_and_nested_retries() -> None:
    """The loop form, and one Retry in another."""
    failure = DownError(503)
    outer, inner = (Retry(on=DownError, backoff=0, name=f"frozen {next(NUMBERS)}") for _ in range(2))
    calls: list[int] = []

    @outer
    def work() -> None:
        for attempt in inner.attempts():
            with attempt:
                calls.append(1)
                raise failure

    with pytest.raises(DownError) as caught:
        work()
    assert (failure, 5) == (caught.value, len(calls))
