"""Mocks, which have every attribute that is asked for, were taken for pipelines and refused."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import pytest

from seawall import Bulkhead, CircuitBreaker, Fallback, Hedge, Pipeline, RateLimit, Retry, Timeout
from tests.both import NUMBERS

PROTECTORS: dict[str, Callable[[str], Any]] = {
    "retry": lambda name: Retry(on=OSError, backoff=0, name=name),
    "breaker": lambda name: CircuitBreaker(failures=5, name=name),
    "timeout": lambda name: Timeout(5, name=name),
    "bulkhead": lambda name: Bulkhead(10, name=name),
    "ratelimit": lambda name: RateLimit(1000, name=name),
    "fallback": lambda name: Fallback(5, on=KeyError, name=name),
    "pipeline": lambda name: Pipeline(name, Retry(on=OSError, backoff=0), Timeout(5)),
}


def protector(kind: str) -> Any:
    """Returns one with a name of its own."""
    return PROTECTORS[kind](f"mocked {next(NUMBERS)}")


def function(a: int, *, b: int) -> int:
    """What is mocked."""
    return a + b


@pytest.mark.parametrize("kind", PROTECTORS)
@pytest.mark.parametrize("make", [Mock, MagicMock, lambda **given: create_autospec(function, **given)])
def test_a_mock_is_a_plain_function(kind: str, make: Any) -> None:
    """It is called with the arguments, and gives its answer."""
    mock = make(return_value=7)
    assert 7 == protector(kind)(mock)(1, b=2)
    mock.assert_called_once_with(1, b=2)


@pytest.mark.parametrize("kind", [*PROTECTORS, "hedge"])
def test_an_async_mock_is_an_async_function(kind: str) -> None:
    """It is awaited, and gives its answer."""
    mock = AsyncMock(return_value=7)
    protect = Hedge(60, name=f"mocked {next(NUMBERS)}") if kind == "hedge" else protector(kind)
    assert 7 == asyncio.run(protect(mock)(1, b=2))
    mock.assert_awaited_once_with(1, b=2)


def test_pipelines_call_mocks_undecorated() -> None:
    """`call` and `acall`; side effects are retried."""
    mock, amock = (make(side_effect=[OSError, 7]) for make in (MagicMock, AsyncMock))
    pipeline = protector("pipeline")
    assert 7 == pipeline.call(mock, 1)
    assert 7 == asyncio.run(pipeline.acall(amock, 1))
    assert (2, 2) == (mock.call_count, amock.await_count)


def test_a_strategy_is_still_no_function() -> None:
    """What the check was for."""
    for thing in (protector("retry"), protector("pipeline")):
        with pytest.raises(TypeError, match="is no function to protect"):
            protector("timeout")(thing)
