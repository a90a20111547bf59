"""The checks of arguments by themselves, and the reading of hints."""

import math
import random
from datetime import timedelta
from typing import Any

import pytest

from seawall._core import arguments
from seawall._core.retry_after import seconds_of
from seawall._core.window import CountWindow, Durations, TimeWindow

NOW = 1_559_559_600.0
"""Mon, 03 Jun 2019 11:00:00 GMT."""


def len_of(hint: object) -> str:
    """A short name for a long hint."""
    return f"{type(hint).__name__}-{len(str(hint))}"


@pytest.mark.parametrize(("value", "seconds"), [(1, 1.0), (0.5, 0.5), (timedelta(minutes=2), 120.0), (1e-9, 1e-9)])
def test_seconds_are_floats(value: Any, seconds: float) -> None:
    """Whatever they are given as."""
    got = arguments.seconds("limit", value)
    assert (seconds, float) == (got, type(got))


def test_zero_and_infinity_are_allowed_where_they_mean_something() -> None:
    """And refused elsewhere, with the bound in words."""
    assert 0.0 == arguments.seconds("limit", 0, zero=True)
    assert math.inf == arguments.seconds("limit", math.inf, infinite=True)
    with pytest.raises(
        ValueError, match=r"^limit=0 is out of range; use a duration above 0, in seconds or as a timedelta$"
    ):
        arguments.seconds("limit", 0)
    with pytest.raises(ValueError, match=r"^limit=-1 is out of range; use a duration of at least 0, in seconds"):
        arguments.seconds("limit", -1, zero=True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: arguments.whole("count", 0, least=1), "count=0 is too small; use a whole number of at least 1"),
        (
            lambda: arguments.whole("count", 1.0, least=1),
            "count=1.0 is not a whole number; use a whole number of at least 1",
        ),
        (lambda: arguments.number("rate", 2, least=0, most=1), "rate=2 is out of range; use a number from 0 to 1"),
        (lambda: arguments.number("rate", 0, least=0, above=True), "rate=0 is out of range; use a number above 0"),
        (lambda: arguments.number("rate", math.nan, least=0), "rate=nan; use a number from 0"),
        (lambda: arguments.choice("how", "x", ("a", "b")), "how='x' is unknown; use one of 'a', 'b'"),
        (lambda: arguments.function("fn", 5, "a predicate"), "fn=5 cannot be called; use a predicate"),
    ],
)
def test_the_words_of_an_error(call: Any, text: str) -> None:
    """Argument, value, what is wrong, and what would be right, in one line."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert text == str(caught.value)


def test_a_source_of_chance_is_a_function_or_has_a_method() -> None:
    """`random.Random` and `random.random` alike."""
    chance = random.Random(3)
    assert random.Random(3).random() == arguments.rng("rng", chance)()
    assert 0.5 == arguments.rng("rng", lambda: 0.5)()


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        (0, 0.0),
        (2.5, 2.5),
        (timedelta(minutes=1), 60.0),
        (timedelta(seconds=-1), None),
        ("120", 120.0),
        ("  120\t", 120.0),
        ("1.5", None),
        ("+5", None),
        ("٣", None),
        ("Mon, 03 Jun 2019 11:30:12 GMT", 1812.0),
        ("Monday, 03-Jun-19 11:30:12 GMT", 1812.0),
        ("Mon Jun  3 11:30:12 2019", 1812.0),
        ("Mon, 03 Jun 2019 13:30:12 +0200", 1812.0),
        ("Mon, 03 Jun 2019 10:00:00 GMT", 0.0),
        ("Mon, 99 Jun 2019 10:00:00 GMT", None),
        ("in a while", None),
        ("", None),
        (None, None),
        (False, None),
        (b"5", None),
        ([5], None),
        (-0.1, None),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_hints_in_every_form(hint: object, seconds: float | None) -> None:
    """RFC 9110 10.2.3 for text; what says nothing usable is None, never an error."""
    assert seconds == seconds_of(hint, NOW)


@pytest.mark.parametrize(
    "hint", ["9" * 400, "1" * 5000, 10**400, "Mon, 03 Jun 99999 10:00:00 GMT", "-" * 10_000], ids=len_of
)
def test_absurd_hints_are_no_errors(hint: object) -> None:
    """A server may send anything: too long is too long, or says nothing."""
    got = seconds_of(hint, NOW)
    assert got is None or got > 1e9


def test_a_window_of_calls_forgets_by_number() -> None:
    """Failures and slow calls leave with their call."""
    window = CountWindow(3)
    for failed, slow in ((True, False), (True, True), (False, True)):
        window.add(failed, slow, 0.0)
    assert (3, 2, 2) == (window.total, window.failures, window.slow)
    window.add(False, False, 0.0)
    assert (3, 1, 2) == (window.total, window.failures, window.slow)
    window.add(False, False, 0.0)
    assert (3, 0, 1) == (window.total, window.failures, window.slow)


def test_a_window_of_time_forgets_by_span() -> None:
    """Ten spans; a clock that jumps far, or back, does no harm."""
    window = TimeWindow(10)
    for second in range(10):
        window.add(second % 2 == 0, False, float(second))
    assert (10, 5) == (window.total, window.failures)
    window.move(10.0)
    assert (9, 4) == (window.total, window.failures)
    window.move(3.0)
    assert (9, 4) == (window.total, window.failures)
    window.move(1e9)
    assert (0, 0, 0) == (window.total, window.failures, window.slow)
    window.add(True, True, 1e9)
    assert (1, 1, 1) == (window.total, window.failures, window.slow)


@pytest.mark.parametrize("start", [-1000.0, -0.5, 0.0, 1e12])
def test_a_window_of_time_may_begin_anywhere(start: float) -> None:
    """Also before zero: a monotonic clock promises no origin."""
    window = TimeWindow(10)
    window.add(True, False, start)
    assert (1, 1) == (window.total, window.failures)
    window.move(start + 5)
    assert 1 == window.total
    window.move(start + 11)
    assert 0 == window.total


def test_durations_keep_the_last_ones() -> None:
    """Old ones make room; the quantile follows."""
    durations = Durations(0.5, size=4)
    for value in (100.0, 100.0, 100.0, 100.0):
        durations.add(value)
    assert 100.0 == durations.value()
    for value in (1.0, 2.0, 3.0, 4.0) * 4:
        durations.add(value)
    assert 4 == len(durations)
    assert 3.0 == durations.value()
