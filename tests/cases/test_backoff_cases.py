"""The numbered behaviour cases of backoff: pure functions of the retry's number and of chance."""

from __future__ import annotations

import math
from typing import Any

import pytest

from seawall import Backoff, Retry
from tests.both import Colour, every

MIDDLE = 0.5
"""What the source of chance gives where chance does not matter."""


def delays(backoff: Backoff, count: int, rng: float = MIDDLE) -> list[float]:
    """Returns the first delays, each told of the one before, as a retry does it."""
    found: list[float] = []
    for retry in range(1, count + 1):
        found.append(backoff.delay(retry, found[-1] if found else None, lambda: rng))
    return found


KINDS = {
    "constant": (Backoff.fixed(1), [1.0, 1.0, 1.0]),
    "linear": (Backoff.linear(1), [1.0, 2.0, 3.0]),
    "exponential": (Backoff.exponential(1), [1.0, 2.0, 4.0]),
}


@pytest.mark.parametrize(("backoff", "expected"), KINDS.values(), ids=KINDS)
def test_core_25_the_kinds_without_jitter(backoff: Backoff, expected: list[float]) -> None:
    """From a base of 1: constant 1, 1, 1; linear 1, 2, 3; exponential 1, 2, 4."""
    assert expected == delays(backoff, 3)


@every
@pytest.mark.parametrize(("backoff", "expected"), KINDS.values(), ids=KINDS)
def test_core_25_a_retry_waits_so_long(colour: Colour, backoff: Backoff, expected: list[float]) -> None:
    """These are the seconds between the attempts of a retry."""
    fn = colour.script(ConnectionError, ConnectionError, ConnectionError, "fine")
    assert "fine" == colour.call(Retry(on=ConnectionError, max_attempts=4, backoff=backoff), fn)
    assert expected == colour.clock.slept
    assert [0.0, expected[0], sum(expected[:2]), sum(expected)] == fn.started


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "proportional"])
@pytest.mark.parametrize("make", [Backoff.fixed, Backoff.listed, Backoff.linear, Backoff.exponential])
def test_core_25_a_base_of_nothing_is_no_delay(make: Any, jitter: str) -> None:
    """From a base of 0 every delay is 0."""
    assert [0.0] * 5 == delays(make(0, jitter=jitter), 5)


@pytest.mark.parametrize("rng", [0.0, MIDDLE, 1.0])
@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "additive", "proportional"])
@pytest.mark.parametrize("make", [Backoff.linear, Backoff.exponential])
def test_core_25_no_delay_is_above_the_cap(make: Any, jitter: str, rng: float) -> None:
    """With a cap of 2.5 no delay is longer, whatever the jitter; without jitter they end at the cap."""
    found = delays(make(1, cap=2.5, jitter=jitter), 10, rng)
    assert 2.5 >= max(found)
    if jitter == "none":
        assert [1.0, 2.0, 2.5, 2.5] == found[:4]


@pytest.mark.parametrize("jitter", ["additive", "proportional"])
def test_core_25_a_constant_delay_is_capped_too(jitter: str) -> None:
    """A constant delay takes no cap of its own; jitter never lifts it above the general one of an hour."""
    backoff = Backoff.fixed(3600, jitter=jitter)
    assert 3600.0 == backoff.cap
    assert [3600.0] * 3 == delays(backoff, 3, rng=1.0)


@pytest.mark.parametrize(
    ("rng", "first", "third"), [(0.0, 0.75, 2.25), (0.4, 0.95, 2.85), (0.6, 1.05, 3.15), (1.0, 1.25, 3.75)]
)
def test_core_26_a_quarter_more_or_less(rng: float, first: float, third: float) -> None:
    """Proportional jitter spreads a constant 1 and the third linear delay, 3, by 25 % to either side."""
    assert pytest.approx(first, rel=1e-12) == Backoff.fixed(1, jitter="proportional").delay(1, None, lambda: rng)
    assert pytest.approx(third, rel=1e-12) == Backoff.linear(1, jitter="proportional").delay(3, 2.0, lambda: rng)


def test_core_26_full_jitter_at_its_most() -> None:
    """From 0.05 with a cap of 20 and chance at 1, the delays double and end at the cap."""
    expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]
    assert pytest.approx(expected, rel=1e-12) == delays(Backoff.exponential(0.05, cap=20, jitter="full"), 11, rng=1.0)


@pytest.mark.parametrize("retry", [1025, 1026, 10_000, 10**9])
@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "additive", "proportional"])
def test_core_26_late_attempts_wait_for_the_cap(jitter: str, retry: int) -> None:
    """From attempt 1025 on the delay is the cap where chance is at its most, and is always a number from 0 to it."""
    for backoff in (Backoff.exponential(0.05, cap=20, jitter=jitter), Backoff.linear(0.05, cap=20, jitter=jitter)):
        assert 20.0 == backoff.delay(retry, 20.0, lambda: 1.0)
        for rng in (0.0, MIDDLE):
            delay = backoff.delay(retry, 20.0, lambda rng=rng: rng)
            assert math.isfinite(delay)
            assert 0.0 <= delay <= 20.0


@pytest.mark.parametrize("retry", [1025, 1026, 10_000, 10**9])
def test_core_26_the_smallest_base_overflows_nowhere(retry: int) -> None:
    """A base so small that its factor's power overflows below the cap gives a number all the same."""
    assert 0.0 <= Backoff.exponential(1e-308, cap=20).delay(retry, None, lambda: 1.0) <= 20.0


@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", "additive", "proportional"])
@pytest.mark.parametrize("make", [Backoff.fixed, Backoff.linear, Backoff.exponential])
def test_core_26_no_delay_is_ever_wild(make: Any, jitter: str) -> None:
    """Through 3,000 attempts no delay of any kind is negative, infinite or no number."""
    for rng in (0.0, MIDDLE, 1.0):
        assert all(math.isfinite(delay) and delay >= 0 for delay in delays(make(0.05, jitter=jitter), 3000, rng))
