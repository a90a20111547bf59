"""The end of an isolation, and a reset, made an active breaker of one that only counts, or does nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from seawall import CircuitBreaker, CircuitIsolatedError, Pipeline, Timeout
from tests.both import NUMBERS


def isolate(breaker: CircuitBreaker) -> None:
    """Isolates for a moment."""
    with breaker.isolate():
        with pytest.raises(CircuitIsolatedError):
            breaker.acquire()
        assert "isolated" == breaker.state


def isolate_twice(breaker: CircuitBreaker) -> None:
    """Holds it twice, and lets go of both."""
    with breaker.isolate(), breaker.isolate():
        pass


def reset_while_isolated(breaker: CircuitBreaker) -> None:
    """Ends the isolation by a reset."""
    with breaker.isolate():
        breaker.reset()


def relink(breaker: CircuitBreaker) -> None:
    """Nothing but a use in a pipeline."""
    Pipeline(f"forgetful modes {next(NUMBERS)}", breaker, Timeout(5))


def fail(breaker: CircuitBreaker, times: int) -> None:
    """Makes calls that fail."""

    def down() -> None:
        raise OSError("down")

    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            breaker(down)()


@pytest.mark.parametrize("act", [isolate, isolate_twice, CircuitBreaker.reset, reset_while_isolated, relink])
@pytest.mark.parametrize(("mode", "counted"), [("metrics_only", 5), ("disabled", 0)])
def test_a_mode_outlives_what_is_done_by_hand(mode: Any, counted: int, act: Callable[[CircuitBreaker], None]) -> None:
    """Mode and state stay what they were set to, and failures open nothing."""
    breaker = CircuitBreaker(failures=2, window_calls=10, name=f"forgetful mode {next(NUMBERS)}")
    breaker.mode = mode
    act(breaker)
    assert (mode, mode) == (breaker.mode, breaker.state)
    fail(breaker, 5)
    assert (mode, counted) == (breaker.state, breaker.snapshot().failures)
    breaker.mode = "active"
    assert ("active", "closed") == (breaker.mode, breaker.state)


def test_a_mode_is_told_while_isolated() -> None:
    """The isolation hides the state, not the mode."""
    breaker = CircuitBreaker(failures=2, name=f"forgetful mode {next(NUMBERS)}")
    breaker.mode = "metrics_only"
    with breaker.isolate():
        assert ("metrics_only", "isolated") == (breaker.mode, breaker.state)


def test_a_replacement_takes_the_mode_over() -> None:
    """A relinked breaker goes on in the mode of the old one, also after an isolation and a reset."""
    old = CircuitBreaker(failures=2)
    pipeline = Pipeline(f"forgetful relinked {next(NUMBERS)}", old, Timeout(5))
    old.mode = "metrics_only"
    pipeline.relink(CircuitBreaker(failures=1), Timeout(5))
    breaker = pipeline.get(CircuitBreaker)
    for act in (isolate, CircuitBreaker.reset):
        act(breaker)
        assert ("metrics_only", "metrics_only") == (breaker.mode, breaker.state)


def test_an_active_breaker_is_closed_by_either() -> None:
    """As ever."""
    breaker = CircuitBreaker(failures=1, name=f"forgetful mode {next(NUMBERS)}")
    for act in (isolate, CircuitBreaker.reset):
        fail(breaker, 1)
        assert "open" == breaker.state
        act(breaker)
        assert ("active", "closed") == (breaker.mode, breaker.state)
