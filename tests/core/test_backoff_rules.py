"""Backoff: what each rule gives by itself; the figures of cases core 25 and 26 are tested there."""

import math
from datetime import timedelta

import pytest

from seawall import Backoff, RetryBudget

RULES = [
    Backoff.fixed(2),
    Backoff.listed(1, 5, 15),
    Backoff.linear(1, step=3),
    Backoff.linear(0),
    Backoff.exponential(2.0, cap=30),
    Backoff.exponential(0),
    Backoff.exponential(1, factor=1),
    *(Backoff.exponential(1, cap=20, jitter=jitter) for jitter in ("full", "equal", "decorrelated", "additive")),
    Backoff.linear(1, cap=10, jitter="proportional", spread=1),
]


def test_rules_without_chance() -> None:
    """The delays before the first four retries."""
    plain = [[rule.plain(number) for number in (1, 2, 3, 4)] for rule in RULES[:7]]
    assert [
        [2.0, 2.0, 2.0, 2.0],
        [1.0, 5.0, 15.0, 15.0],
        [1.0, 4.0, 7.0, 10.0],
        [0.0, 0.0, 0.0, 0.0],
        [2.0, 4.0, 8.0, 16.0],
        [0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0, 1.0],
    ] == plain


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chance", [0.0, 0.5, 1 - 2**-53])
def test_no_delay_is_ever_unusable(rule: Backoff, chance: float) -> None:
    """Finite, at least 0, at most the cap and at most `longest`, whatever the number and the last delay."""
    for number in (1, 2, 3, 10, 1025, 10**6):
        for previous in (None,) if number == 1 else (0.0, 5.0, rule.cap):
            delay = rule.delay(number, previous, lambda: chance)
            assert math.isfinite(delay)
            assert 0 <= delay <= rule.cap
            assert delay <= rule.longest(number) + 1e-9


def test_durations_may_be_timedeltas() -> None:
    """Everywhere; the results are equal."""
    assert Backoff.fixed(60) == Backoff.fixed(timedelta(minutes=1))
    assert Backoff.listed(1, 5) == Backoff.listed(timedelta(seconds=1), 5.0)
    assert Backoff.exponential(1, cap=60) == Backoff.exponential(timedelta(seconds=1), cap=timedelta(minutes=1))
    assert Backoff.linear(1, step=2) == Backoff.linear(1, step=timedelta(seconds=2))


def test_a_rule_is_a_value() -> None:
    """Equal, hashable, and not to be changed."""
    assert 1 == len({Backoff.fixed(1), Backoff.fixed(1.0)})
    with pytest.raises(AttributeError):
        Backoff.fixed(1).cap = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("rule", "least", "most"),
    [
        (Backoff.fixed(10, jitter="full"), 0.0, 10.0),
        (Backoff.fixed(10, jitter="equal"), 5.0, 10.0),
        (Backoff.fixed(10, jitter="additive"), 10.0, 10.1),
        (Backoff.fixed(10, jitter="additive", spread=3), 10.0, 13.0),
        (Backoff.fixed(10, jitter="proportional"), 7.5, 12.5),
        (Backoff.fixed(10, jitter="proportional", spread=0.1), 9.0, 11.0),
        (Backoff.exponential(10, jitter="decorrelated"), 10.0, 30.0),
    ],
)
def test_how_far_chance_moves_a_delay(rule: Backoff, least: float, most: float) -> None:
    """From r = 0 to r = 1; additive has 0.1 s and proportional a quarter unless told otherwise."""
    assert least == pytest.approx(rule.delay(1, None, lambda: 0.0))
    assert most == pytest.approx(rule.delay(1, None, lambda: 1.0))
    assert most == pytest.approx(rule.longest(1))


def test_decorrelated_delays_follow_the_last_one() -> None:
    """From the base up to three times the last delay."""
    rule = Backoff.exponential(1, cap=20, jitter="decorrelated")
    assert [1.0, 6.5, 12.0] == [rule.delay(2, 4.0, lambda r=r: r) for r in (0.0, 0.5, 1.0)]  # type: ignore[misc]
    assert 20.0 == rule.delay(3, 19.0, lambda: 1.0)


def test_a_budget_bounds_retries_in_flight() -> None:
    """The larger of `min_concurrent` and the rate's share of the calls in flight."""
    budget = RetryBudget(0.5, 1)
    assert [True, False] == [budget.try_acquire(), budget.try_acquire()]
    for _ in range(6):
        budget.enter()
    assert [True, True, False] == [budget.try_acquire() for _ in range(3)]
    assert (6, 3) == (budget.calls, budget.retries)
    for _ in range(3):
        budget.leave()
    budget.release()
    assert not budget.try_acquire()
    assert "RetryBudget(rate=0.5, min_concurrent=1)" == repr(budget)


@pytest.mark.parametrize(
    "text",
    [
        "Backoff.fixed(2)",
        "Backoff.listed(1, 5, 15)",
        "Backoff.linear(1)",
        "Backoff.linear(1, step=3, cap=9)",
        "Backoff.exponential(0.2, cap=10, jitter='full')",
        "Backoff.exponential(1, factor=3, jitter='additive', spread=0.1)",
    ],
)
def test_the_repr_is_the_call_that_makes_it(text: str) -> None:
    """So that signatures and settings can be read, and copied."""
    assert text == repr(eval(text, {"Backoff": Backoff}))
