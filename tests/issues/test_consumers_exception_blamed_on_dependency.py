"""An exception that the consumer throws into a stream was counted as the dependency's failure."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from seawall import CircuitBreaker, Pipeline, Retry, Timeout
from tests.both import NUMBERS


def alone(breaker: CircuitBreaker) -> Any:
    """The breaker itself."""
    return breaker


def linked(breaker: CircuitBreaker) -> Any:
    """The breaker in a pipeline."""
    return Pipeline(f"blamed pipeline {next(NUMBERS)}", Retry(on=OSError, backoff=0), breaker, Timeout(5))


forms = pytest.mark.parametrize("form", [alone, linked])
colours = pytest.mark.parametrize("colour", ["sync", "async"])


def breaker_of_one() -> CircuitBreaker:
    """Opens at the first failure."""
    return CircuitBreaker(failures=1, name=f"blamed {next(NUMBERS)}")


def body_raises(protect: Any, colour: str, error: Exception, answer: Callable[[Exception], None]) -> None:
    """Raises in the body of a context whose generator answers so to what is thrown in."""

    def conn() -> Iterator[int]:
        try:
            yield 1
        except Exception as thrown:
            answer(thrown)
            raise

    async def aconn() -> AsyncIterator[int]:
        try:
            yield 1
        except Exception as thrown:
            answer(thrown)
            raise

    async def main() -> None:
        async with asynccontextmanager(protect(aconn))():
            raise error

    with suppress(OSError, LookupError, ValueError):
        if colour == "async":
            asyncio.run(main())
        else:
            with contextmanager(protect(conn))():
                raise error


@forms
@colours
def test_a_body_that_raises_leaves_the_breaker_closed(form: Any, colour: str) -> None:
    """The dependency has answered; what the consumer does with the answer is the consumer's."""
    breaker = breaker_of_one()
    for error in (ValueError("body"), OSError("body's own connection")):
        body_raises(form(breaker), colour, error, lambda thrown: None)
        assert "closed" == breaker.state


@colours
def test_a_generator_that_catches_nothing_leaves_it_closed(colour: str) -> None:
    """As in `@contextmanager @CircuitBreaker(failures=1) def conn(): yield 1`."""
    breaker = breaker_of_one()

    @breaker
    def conn() -> Iterator[int]:
        yield 1

    @breaker
    async def aconn() -> AsyncIterator[int]:
        yield 1

    async def main() -> None:
        async with asynccontextmanager(aconn)():
            raise ValueError("body")

    def run() -> None:
        with contextmanager(conn)():
            raise ValueError("body")

    with pytest.raises(ValueError, match="body"):
        asyncio.run(main()) if colour == "async" else run()
    assert "closed" == breaker.state


@forms
@colours
def test_what_the_producer_makes_of_it_counts(form: Any, colour: str) -> None:
    """Another exception, out of a failing rollback say, is the dependency's."""
    breaker = breaker_of_one()

    def roll_back(thrown: Exception) -> None:
        raise ConnectionError("rollback failed") from thrown

    body_raises(form(breaker), colour, ValueError("body"), roll_back)
    assert "open" == breaker.state


@forms
@colours
def test_a_failure_after_a_swallowed_throw_counts(form: Any, colour: str) -> None:
    """What was thrown in before excuses nothing that the producer does later by itself."""
    breaker = breaker_of_one()

    def items() -> Iterator[int]:
        with suppress(ValueError):
            yield 1
        yield 2
        raise ConnectionError("producer")

    async def aitems() -> AsyncIterator[int]:
        for item in items():
            with suppress(ValueError):
                yield item
        raise ConnectionError("producer")

    async def main() -> None:
        stream = form(breaker)(aitems)()
        await anext(stream)
        await stream.athrow(ValueError())
        await anext(stream)

    def run() -> None:
        stream = form(breaker)(items)()
        next(stream)
        stream.throw(ValueError())
        next(stream)

    with pytest.raises(ConnectionError, match="producer"):
        asyncio.run(main()) if colour == "async" else run()
    assert "open" == breaker.state
