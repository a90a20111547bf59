"""A plain function that returned a coroutine passed for protected, while its work was not."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, Fallback, Pipeline, RateLimit, Retry, Timeout, deadline
from tests.both import NUMBERS

SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "bare": nullcontext,
    "below": lambda: deadline(60),
}


class Lazy:
    """A plain function that returns a coroutine; keeps those that it has made."""

    def __init__(self, failures: int = 0) -> None:
        self.made: list[Coroutine[Any, Any, int]] = []
        self.failures = failures
        self.__qualname__ = "lazy"

    async def work(self) -> int:
        """The work that would not be protected."""
        raise AssertionError("runs unprotected")

    def __call__(self) -> Any:
        """Makes one, after the failures."""
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("down")
        self.made.append(self.work())
        return self.made[-1]


def linked(name: str) -> Pipeline:
    """Returns a pipeline of a few."""
    return Pipeline(name, Retry(on=OSError, backoff=0), CircuitBreaker(failures=5), Timeout(5))


CALLS: dict[str, Callable[[str, Lazy], Any]] = {
    "retry": lambda name, fn: Retry(on=OSError, backoff=0, name=name)(fn)(),
    "retry with on_result": lambda name, fn: Retry(on=OSError, on_result=lambda r: r is None, backoff=0, name=name)(
        fn
    )(),
    "breaker": lambda name, fn: CircuitBreaker(failures=5, name=name)(fn)(),
    "breaker with a window": lambda name, fn: CircuitBreaker(failures=5, window_calls=9, name=name)(fn)(),
    "timeout": lambda name, fn: Timeout(5, name=name)(fn)(),
    "bulkhead": lambda name, fn: Bulkhead(5, name=name)(fn)(),
    "ratelimit": lambda name, fn: RateLimit(100, name=name)(fn)(),
    "fallback": lambda name, fn: Fallback(5, on=OSError, name=name)(fn)(),
    "pipeline": lambda name, fn: linked(name)(fn)(),
    "bare pipeline": lambda name, fn: Pipeline(name)(fn)(),
    "call": lambda name, fn: linked(name).call(fn),
    "call_outcome": lambda name, fn: linked(name).call_outcome(fn),
}


def refused(call: Callable[[str, Lazy], Any], lazy: Lazy) -> None:
    """The call is refused in words that say why, and no coroutine is left open."""
    message = r"lazy is a plain function that returned a coroutine.*async function around"
    try:
        with pytest.raises(TypeError, match=message):
            call(f"lazily {next(NUMBERS)}", lazy)
        assert [inspect.CORO_CLOSED] == [inspect.getcoroutinestate(each) for each in lazy.made]
    finally:
        for each in lazy.made:
            each.close()  # a failure of this test is not to become a RuntimeWarning in another one


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("how", CALLS)
def test_a_plain_function_that_returns_a_coroutine_is_refused(how: str, around: str) -> None:
    """By each strategy alone and by pipelines, without surroundings and below a deadline."""
    with SURROUNDINGS[around]():
        refused(CALLS[how], Lazy())


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("how", ["retry", "retry with on_result", "pipeline", "call"])
def test_it_is_refused_also_after_a_retry(how: str, around: str) -> None:
    """Where the first attempt raises and only the second one returns a coroutine."""
    with SURROUNDINGS[around]():
        refused(CALLS[how], Lazy(failures=1))


def test_it_is_refused_while_half_open() -> None:
    """A probe is a call like any other."""
    breaker = CircuitBreaker(failures=1, name=f"lazily {next(NUMBERS)}", open_for=1e-9)
    lazy = Lazy(failures=1)
    protected = breaker(lazy)
    with pytest.raises(OSError, match="down"):
        protected()
    refused(lambda name, fn: protected(), lazy)


async def later(failure: Exception) -> str:
    """An answer that takes a while."""
    await asyncio.sleep(0)
    return f"instead of {failure}"


@pytest.mark.parametrize("make", [lambda name, *s: s[0], lambda name, *s: Pipeline(name, *s, Timeout(5))])
def test_an_awaitable_answer_of_a_fallback_is_awaited(make: Any) -> None:
    """In an async call a source may be a plain function of a coroutine, or of any awaitable."""

    class Answer:
        def __await__(self) -> Any:
            return later(OSError("it")).__await__()

    async def down() -> str:
        raise OSError("down")

    async def main() -> list[str]:
        sources = (
            lambda failure: later(failure),
            lambda: asyncio.ensure_future(later(OSError("task"))),
            lambda: Answer(),
        )
        seen = []
        for source in sources:
            name = f"awaited {next(NUMBERS)}"
            protect = make(f"{name} pipeline", Fallback(source, on=OSError, name=name))
            seen.append(await protect(down)())
        return seen

    assert ["instead of down", "instead of task", "instead of it"] == asyncio.run(main())


def test_an_awaitable_that_fails_sends_on_to_the_next_source() -> None:
    """What it raises is what the source raises."""

    async def worse() -> str:
        raise KeyError("worse")

    @Fallback(lambda: worse(), "last", on=OSError)
    async def down() -> str:
        raise OSError("down")

    assert "last" == asyncio.run(down())


def test_an_awaitable_answer_is_streamed() -> None:
    """In an async generator it is the only item, or gives the items."""

    async def many() -> list[int]:
        return [1, 2]

    async def main() -> list[Any]:
        seen: list[Any] = []
        for source in (lambda: later(OSError("it")), lambda: many()):

            @Fallback(source, on=OSError, name=f"awaited {next(NUMBERS)}")
            async def items() -> AsyncIterator[Any]:
                raise OSError("down")
                yield

            seen.append([item async for item in items()])
        return seen

    assert [["instead of it"], [1, 2]] == asyncio.run(main())
