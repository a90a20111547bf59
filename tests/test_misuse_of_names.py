"""Misuse of names: unknown, missing and surplus arguments, and what was not called or not listed as it should be."""

from collections.abc import Callable
from typing import Any

import pytest

from seawall import Backoff, Bulkhead, CircuitBreaker, Fallback, Hedge, Retry, Timeout
from tests.test_misuse import Make, breaker, fallback, retry


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Retry(), ["Retry()", "on", "Retry(on=ConnectionError"]),  # type: ignore[call-arg]
        (lambda: Retry(on=OSError, max_retries=3), ["max_retries=3", "did you mean max_attempts?"]),  # type: ignore[call-arg]
        (lambda: CircuitBreaker(failure_threshold=5), ["failure_threshold=5", "did you mean failures?"]),  # type: ignore[call-arg]
        (lambda: CircuitBreaker(failures=3, recovery_timeout=9), ["recovery_timeout=9", "open_for"]),  # type: ignore[call-arg]
        (lambda: Timeout(timeout=3), ["timeout=3", "seconds"]),  # type: ignore[call-arg]
        (lambda: Bulkhead(3, colour="red"), ["colour='red'", "max_waiting", "Bulkhead(20"]),  # type: ignore[call-arg]
    ],
)
def test_an_unknown_or_missing_argument_is_named_with_what_is_meant(make: Callable[[], Any], words: list[str]) -> None:
    """The argument, its value, and ours for words of other libraries."""
    with pytest.raises(TypeError) as caught:
        make()
    assert [] == [word for word in words if word not in str(caught.value)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Timeout(5, 1),
            r"Timeout\(\) takes 1 positional arguments and was given 2; .*by name, as in Timeout\(",
        ),  # type: ignore[call-arg, misc]
        (lambda: Retry(OSError), r"Retry\(\) takes 0 positional arguments and was given 1; .*as in Retry\(on="),  # type: ignore[call-arg, misc]
        (lambda: Bulkhead(), r"Bulkhead\(\) lacks the argument max_concurrent, which has no default; .*Bulkhead\(20"),  # type: ignore[call-arg]
        (lambda: Fallback([]), r"Fallback\(\) lacks the argument on, which has no default; .*Fallback\(\[\], on="),  # type: ignore[call-arg]
    ],
)
def test_surplus_and_missing_arguments_are_answered_with_a_right_use(make: Make, message: str) -> None:
    """How many there may be, which one is missing, and how it is written."""
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "backoff", [Backoff.exponential, Backoff.linear, Backoff.fixed, Backoff.listed, Backoff], ids=str
)
def test_a_backoff_that_was_not_called_is_refused(backoff: Any) -> None:
    """It can be called, with the number of the retry as its base: not what is meant."""
    with pytest.raises(TypeError, match=r"backoff=.* was not called; use Backoff\.exponential\(0\.2\)"):
        Retry(on=OSError, backoff=backoff)


@pytest.mark.parametrize("kind", [list, set, frozenset])
@pytest.mark.parametrize("make", [retry, breaker, fallback, Hedge])
def test_a_list_of_exceptions_is_answered_with_a_tuple(make: Make, kind: type) -> None:
    """The error says what it is, and what would be right."""
    with pytest.raises(TypeError, match=f"is a {kind.__name__}; use an exception class, a tuple of classes, or"):
        make(on=kind([ValueError]))
