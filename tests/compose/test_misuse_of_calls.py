"""Misuse of decorators and calls: what cannot be protected, or not in this colour, is refused with the way out."""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from seawall import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    Strategy,
    Timeout,
)
from seawall.testing import FakeClock

NUMBERS = itertools.count()


def sync() -> int:
    """A function."""
    return 5


async def suspended() -> int:
    """An async function."""
    return 5


def items() -> Iterator[int]:
    """A generator."""
    yield 5


async def aitems() -> AsyncIterator[int]:
    """An async generator."""
    yield 5


STRATEGIES: tuple[Callable[[str], Strategy], ...] = (
    lambda name: Retry(on=OSError, name=name),
    lambda name: CircuitBreaker(failures=1, name=name),
    lambda name: Timeout(1, name=name),
    lambda name: Bulkhead(1, name=name),
    lambda name: RateLimit(1, name=name),
    lambda name: Fallback(1, on=OSError, name=name),
    lambda name: Hedge(name=name),
    lambda name: Pipeline(name),  # type: ignore[list-item, return-value]
)


def bare() -> Pipeline:
    """A pipeline without strategies."""
    return Pipeline(f"misused call {next(NUMBERS)}")


@pytest.mark.parametrize("make", STRATEGIES)
@pytest.mark.parametrize("thing", [int, Exception, 5, None, "text", []])
def test_only_functions_can_be_decorated(make: Callable[[str], Any], thing: Any) -> None:
    """Classes, and things that cannot be called."""
    with pytest.raises(TypeError, match=r"(is a class|cannot be called); protect a function") as caught:
        make(f"decorates {next(NUMBERS)}")(thing)
    assert repr(thing) in str(caught.value)


def test_a_refused_decoration_gives_no_name() -> None:
    """The strategy is named after the first function that it does protect."""
    retry = Retry(on=OSError)
    with pytest.raises(TypeError):
        retry(5)  # type: ignore[arg-type]
    retry(sync)
    assert "sync" == retry.name


@pytest.mark.parametrize("thing", [int, 5, None])
@pytest.mark.parametrize("method", ["call", "acall", "call_outcome", "acall_outcome"])
def test_only_functions_can_be_called(method: str, thing: Any) -> None:
    """The same words."""

    async def main() -> None:
        await getattr(bare(), method)(thing)

    with pytest.raises(TypeError, match=r"(is a class|cannot be called); protect a function"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "fn", "message"),
    [
        ("call", suspended, r"call\(\) takes a plain function, and suspended is an async function; use acall\(\)"),
        ("call", items, r"call\(\) takes a plain function, and items is a generator; .*decorate generators"),
        ("call", aitems, r"call\(\) takes a plain function, and aitems is an async generator; .*decorate generators"),
        ("call", functools.partial(suspended), r"call\(\) takes .* suspended is an async function; use acall\(\)"),
        ("acall", sync, r"acall\(\) takes an async function, and sync is a plain function; use call\(\)"),
        ("acall", items, r"acall\(\) takes an async function, and items is a generator; .*decorate generators"),
        (
            "acall",
            aitems,
            r"acall\(\) takes an async function, and aitems is an async generator; .*decorate generators",
        ),
        ("acall", functools.partial(sync), r"acall\(\) takes .* sync is a plain function; use call\(\)"),
    ],
)
@pytest.mark.parametrize("outcome", ["", "_outcome"])
def test_a_call_in_the_wrong_colour_is_refused(method: str, fn: Any, message: str, outcome: str) -> None:
    """The error names the function, what it is, and what to use; nothing is called."""

    async def main() -> None:
        await getattr(bare(), method + outcome)(fn)

    with pytest.raises(TypeError, match=message):
        asyncio.run(main())


@pytest.mark.parametrize("fn", [sync, items, aitems])
def test_a_hedge_serves_async_functions_only(fn: Any) -> None:
    """Refused at decoration, by the Hedge alone and within a pipeline; the error names the kind of function."""
    kinds = {sync: "a plain function", items: "a generator", aitems: "an async generator"}
    message = f"serves async functions only, not {kinds[fn]}"
    with pytest.raises(TypeError, match=message):
        Hedge(name=f"hedge {next(NUMBERS)}")(fn)
    guarded = Pipeline(f"hedged {next(NUMBERS)}", Hedge())
    with pytest.raises(TypeError, match=message):
        guarded(fn)
    with pytest.raises(TypeError, match="not a plain function"):
        guarded.call(sync)


@pytest.mark.parametrize(
    ("source", "fn", "kind"),
    [
        (suspended, sync, "an async function"),
        (aitems, sync, "an async generator"),
        (items, sync, "a generator"),
        (suspended, items, "an async function"),
        (aitems, items, "an async generator"),
        (items, suspended, "a generator"),
        (aitems, suspended, "an async generator"),
        (functools.partial(suspended), sync, "an async function"),
    ],
)
def test_a_source_that_cannot_answer_is_refused(source: Any, fn: Any, kind: str) -> None:
    """At decoration: the error names the fallback, the source, and what would do."""
    name = f"fallback {next(NUMBERS)}"
    with pytest.raises(TypeError, match=f"{name}.* falls back to") as caught:
        Fallback("last", source, on=OSError, name=name)(fn)
    assert [] == [part for part in (kind, "cannot answer for", "or a value") if part not in str(caught.value)]
    guarded = Pipeline(f"falls back {next(NUMBERS)}", Fallback(source, on=OSError))
    with pytest.raises(TypeError, match="cannot answer for"):
        guarded(fn)


@pytest.mark.parametrize("thing", [5, None, "retry", int, print, [Timeout(1)]])
def test_a_pipeline_takes_strategies_only(thing: Any) -> None:
    """Other classes, functions and lists are none; the error shows what was given, and an example."""
    with pytest.raises(
        TypeError, match=r"is no strategy; give strategies one by one, such as Retry\(on=ConnectionError\)"
    ) as caught:
        Pipeline("no strategy", Timeout(1), thing)
    assert repr(thing) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (Retry, "Retry(on=ConnectionError, max_attempts=3)"),
        (CircuitBreaker, "CircuitBreaker(failures=5, open_for=30)"),
        (Timeout, "Timeout(10)"),
        (Bulkhead, "Bulkhead(20, max_waiting=40, max_wait=30)"),
        (RateLimit, "RateLimit(10, per=1)"),
        (Fallback, "Fallback([], on=ConnectionError)"),
        (Hedge, "Hedge(0.05, max_extra=1)"),
    ],
)
def test_a_class_of_strategies_is_answered_with_an_instance(kind: Any, example: str) -> None:
    """Whoever forgot the parentheses reads what goes into them."""
    with pytest.raises(TypeError, match="is no strategy; give an instance, such as ") as caught:
        Pipeline("class given", Timeout(1), kind)
    assert example in str(caught.value)


@pytest.mark.parametrize("make", STRATEGIES)
def test_a_strategy_is_no_function_to_protect(make: Callable[[str], Any]) -> None:
    """Neither is a pipeline: decorating one with another links nothing, so it is refused, with the way to link."""
    message = r"is no function to protect; link them: Pipeline\('name', Retry\(\.\.\.\), Timeout\(\.\.\.\)\)"
    for thing in (Timeout(1), bare()):
        with pytest.raises(TypeError, match=message) as caught:
            make(f"decorates a strategy {next(NUMBERS)}")(thing)
        assert repr(thing) in str(caught.value)


@pytest.mark.parametrize("make", STRATEGIES)
def test_a_mock_is_a_function_to_protect(make: Callable[[str], Any]) -> None:
    """It has every attribute that one asks it for, and is not taken for a strategy."""

    async def main() -> Any:
        return await make(f"decorates a mock {next(NUMBERS)}")(AsyncMock(return_value=5))()

    assert 5 == asyncio.run(main())


def test_a_pipeline_is_no_strategy() -> None:
    """Pipelines nest by decorating, not by listing."""
    with pytest.raises(TypeError, match="is no strategy"):
        Pipeline("outer", bare())  # type: ignore[arg-type]


def test_a_strategy_can_be_listed_once_only() -> None:
    """At construction and when relinking; the pipeline is left as it was."""
    twice = Timeout(1, name="listed twice")
    message = r"'listed twice' is listed twice; make two, or list it once"
    with pytest.raises(ValueError, match=message):
        Pipeline("twice", twice, twice)
    once = Pipeline("once", twice)
    with pytest.raises(ValueError, match=message):
        once.relink(twice, twice)
    assert (twice,) == once.strategies


def test_get_finds_exactly_one() -> None:
    """None or two: LookupError, with how many there are and what the pipeline is made of."""
    two = Pipeline("two", Timeout(9, name="outer of two"), Timeout(1, name="inner of two"))
    described = r"in Pipeline\('two', Timeout, Timeout\); get\(\) needs exactly one"
    with pytest.raises(LookupError, match=f"2 Timeout {described}"):
        two.get(Timeout)
    with pytest.raises(LookupError, match=f"no Retry {described}"):
        two.get(Retry)


@pytest.mark.parametrize("kind", ["Timeout", Timeout(1, name="got"), int, None])
def test_get_takes_a_class_of_strategies(kind: Any) -> None:
    """Names and strategies are none."""
    with pytest.raises(TypeError, match="is no class of strategies; use one such as CircuitBreaker") as caught:
        bare().get(kind)
    assert repr(kind) in str(caught.value)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", None])
def test_a_fake_clock_does_not_go_back(seconds: Any) -> None:
    """Nor anywhere that is no time."""
    with pytest.raises((ValueError, TypeError)):
        FakeClock().advance(seconds)
