"""A half-open circuit has its quota anew in every epoch, and is judged by it."""

from itertools import count
from typing import Any

import pytest

from seawall import CircuitBreaker, CircuitOpenError
from seawall.testing import FakeClock

NUMBERS = count()


@pytest.fixture
def clock() -> FakeClock:
    """Gives a clock for breakers alone."""
    return FakeClock()


def breaker_with(clock: FakeClock, **figures: Any) -> CircuitBreaker:
    """Makes a closed breaker that opens at the first failure, for 10 s."""
    shape = {} if "failure_rate" in figures else {"failures": 1}
    return CircuitBreaker(**{**shape, "open_for": 10.0, **figures}, clock=clock, name=f"quota-{next(NUMBERS)}")


def half_open(clock: FakeClock, **figures: Any) -> CircuitBreaker:
    """Makes a breaker that admits its next call as a probe."""
    breaker = breaker_with(clock, **figures)
    breaker.acquire().failure()
    clock.advance(10.0)
    return breaker


def test_a_probe_lease_of_the_callers_choice_is_kept(clock: FakeClock) -> None:
    """`probe_lease` frees the slot at its own instant, and not before."""
    breaker = half_open(clock, probe_lease=3.0)
    breaker.acquire()
    clock.advance(2.5)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    clock.advance(0.5)
    breaker.acquire().success()
    assert "closed" == breaker.state


def test_an_opening_of_no_time_does_not_stampede(clock: FakeClock) -> None:
    """Where `open_for` says 0, the half-open circuit still admits one probe and not all of them."""
    breaker = breaker_with(clock, open_for=lambda attempt: 0.0)
    breaker.acquire().failure()
    admitted = 0
    for _ in range(50):
        try:
            breaker.acquire()
        except CircuitOpenError:
            continue
        admitted += 1
    assert 1 == admitted


def test_half_open_quota_is_four_anew_in_every_epoch(clock: FakeClock) -> None:
    """Of a quota of four, a released probe is given again once, and the next epoch has four anew (core 10)."""
    breaker = half_open(clock, failure_rate=0.5, window_calls=10, min_calls=1, probes=4)
    permits = [breaker.acquire() for _ in range(4)]
    for _ in range(2):
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
    permits.pop().release()
    permits.append(breaker.acquire())
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    for permit in permits:
        permit.failure()
    assert "open" == breaker.state
    clock.advance(10.0)
    for _ in range(4):
        breaker.acquire()
    with pytest.raises(CircuitOpenError):
        breaker.acquire()


@pytest.mark.parametrize("ends", ["SSSXSF", "SSSXF", "XXXXSSSS", "XFSXSS"])
def test_half_open_is_never_wedged_by_cancelled_probes(clock: FakeClock, ends: str) -> None:
    """However many of four probes are cancelled, four outcomes come about and close it (core 13)."""
    breaker = half_open(clock, failure_rate=0.5, window_calls=10, min_calls=1, probes=4)
    for end in ends:
        if breaker.state != "half_open":
            break
        permit = breaker.acquire()
        {"S": permit.success, "F": permit.failure, "X": permit.release}[end]()
    assert "closed" == breaker.state


def test_a_failed_probe_reopens_a_breaker_that_also_judges_slowness(clock: FakeClock) -> None:
    """With `failures` and `slow_rate` together, a probe that fails does not close the circuit."""
    breaker = breaker_with(clock, window_calls=4, slow_after=5.0, slow_rate=1.0, min_calls=1)
    breaker.acquire().failure()
    assert "open" == breaker.state
    clock.advance(10.0)
    breaker.acquire().failure()
    assert "open" == breaker.state
