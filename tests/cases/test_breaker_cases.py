"""The numbered behaviour cases of the circuit breaker."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    Timeout,
)
from tests.both import Colour, every, pipeline
from tests.breakers import play, seen, trip


@every
def test_core_1_failures_in_a_row_open(colour: Colour) -> None:
    """With failures=3, F S F F leaves it closed and a third F in a row opens it."""
    breaker = CircuitBreaker(failures=3)
    play(colour, breaker, "F S F F")
    assert "closed" == breaker.state
    play(colour, breaker, "F")
    assert "open" == breaker.state


@every
def test_core_1_a_success_in_between_starts_anew(colour: Colour) -> None:
    """With failures=2, success and failure in turn never open it."""
    breaker = CircuitBreaker(failures=2)
    play(colour, breaker, "SF" * 20)
    assert ("closed", 1, 1) == seen(breaker)


@every
def test_core_2_failures_among_the_last_calls_open(colour: Colour) -> None:
    """With two failures among the last three calls, F S leaves it closed and F opens it."""
    breaker = CircuitBreaker(failures=2, window_calls=3)
    play(colour, breaker, "F S")
    assert "closed" == breaker.state
    play(colour, breaker, "F")
    assert "open" == breaker.state


@every
def test_core_2_half_of_the_last_calls_is_not_three_of_four(colour: Colour) -> None:
    """With three failures among the last four calls, success and failure in turn never open it."""
    breaker = CircuitBreaker(failures=3, window_calls=4)
    play(colour, breaker, "SF" * 20)
    assert ("closed", 4, 2) == seen(breaker)


@every
def test_core_4_a_rate_opens_at_exactly_its_threshold(colour: Colour) -> None:
    """Over 20 s, from 5 calls on, 40 % of failures leave it closed and exactly 50 % open it."""
    breaker = CircuitBreaker(failure_rate=0.5, window=20, min_calls=5)
    for letter in "SSSFF":
        play(colour, breaker, letter)
        colour.clock.advance(1)
    assert 5.0 == colour.clock.now()
    assert ("closed", 5, 2) == seen(breaker)
    assert 0.4 == breaker.snapshot().failure_rate
    play(colour, breaker, "F")
    assert "open" == breaker.state


@every
def test_core_5_a_success_may_open_where_it_completes_the_minimum(colour: Colour) -> None:
    """The rate is undefined below 5 calls; a fifth one that succeeds makes it 60 %, which opens the circuit."""
    breaker = CircuitBreaker(failure_rate=0.5, window=20, min_calls=5)
    play(colour, breaker, "F F F S")
    assert ("closed", 4, 3) == seen(breaker)
    assert None is breaker.snapshot().failure_rate
    play(colour, breaker, "S")
    assert "open" == breaker.state


@every
def test_core_9_an_opening_ends_at_its_very_end(colour: Colour) -> None:
    """Open for 5 s: rejected at 3 s with 2 s to go, admitted at 6 s and half-open while the probe runs."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    play(colour, breaker, "F")
    colour.clock.advance(3)
    fn = colour.script(lambda: breaker.state)
    with pytest.raises(CircuitOpenError) as caught:
        colour.call(breaker, fn)
    assert (0, 2.0) == (fn.calls, caught.value.retry_after)
    colour.clock.advance(3)
    assert "half_open" == colour.call(breaker, fn)
    assert "closed" == breaker.state


@every
def test_core_9_admitted_at_the_very_instant(colour: Colour) -> None:
    """Open for 5 s, a call at exactly 5 s is admitted; just before it is not."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    play(colour, breaker, "F")
    colour.clock.advance(4.999)
    with pytest.raises(CircuitOpenError):
        colour.call(breaker, colour.script("fine"))
    colour.clock.advance(5 - colour.clock.now())
    assert 5.0 == colour.clock.now()
    assert "half_open" == colour.call(breaker, colour.script(lambda: breaker.state))


@every
def test_core_20_local_rejections_are_not_counted(colour: Colour) -> None:
    """A bulkhead inside the breaker rejects two of three calls: the breaker counts the real one, and stays closed."""
    breaker, bulkhead = CircuitBreaker(failure_rate=0.5, window=60, min_calls=1), Bulkhead(1)
    calls = pipeline(breaker, bulkhead, Timeout(10))
    fn = colour.script("fine")
    taken = bulkhead.acquire()
    for _ in range(2):
        with pytest.raises(BulkheadFullError):
            colour.call(calls, fn)
    taken.release()
    assert "fine" == colour.call(calls, fn)
    assert 1 == fn.calls
    assert ("closed", 1, 0) == seen(breaker)


@every
def test_core_20_a_probe_that_is_rejected_locally_gives_its_place_back(colour: Colour) -> None:
    """The only probe is rejected by the bulkhead inside: no verdict, and the next call is the probe."""
    breaker, bulkhead = CircuitBreaker(failures=1, open_for=5), Bulkhead(1)
    calls = pipeline(breaker, bulkhead, Timeout(10))
    trip(breaker)
    colour.clock.advance(5)
    taken = bulkhead.acquire()
    with pytest.raises(BulkheadFullError):
        colour.call(calls, colour.script("fine"))
    taken.release()
    assert "half_open" == breaker.state
    assert "half_open" == colour.call(calls, colour.script(lambda: breaker.state))
    assert "closed" == breaker.state


@every
def test_core_21_an_isolated_circuit_stays_isolated(colour: Colour) -> None:
    """Isolated, it still rejects after 6 s though it opens for 5, and with an error of another type than open."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    hold = breaker.isolate()
    colour.clock.advance(6)
    with pytest.raises(CircuitIsolatedError) as caught:
        colour.call(breaker, colour.script("fine"))
    assert not isinstance(caught.value, CircuitOpenError)
    assert "isolated" == breaker.state
    hold.close()
    assert "fine" == colour.call(breaker, colour.script("fine"))


@every
def test_core_21_the_last_hold_closes_the_circuit(colour: Colour) -> None:
    """With two holds, closing one (even twice) leaves it isolated, closing both closes it."""
    breaker = CircuitBreaker(failures=1)
    first, second = breaker.isolate(), breaker.isolate()
    for _ in range(2):
        first.close()
        with pytest.raises(CircuitIsolatedError):
            colour.call(breaker, colour.script("fine"))
    second.close()
    assert "closed" == breaker.state
    assert "fine" == colour.call(breaker, colour.script("fine"))


@every
@pytest.mark.parametrize("probing", [False, True], ids=["call", "probe"])
@pytest.mark.parametrize("ending", ["fine", ConnectionError()], ids=["S", "F"])
def test_core_21_an_end_while_isolated_changes_nothing(colour: Colour, ending: Any, probing: bool) -> None:
    """A call or probe that was under way when the circuit was isolated ends: it stays isolated."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    if probing:
        trip(breaker)
        colour.clock.advance(5)
    holds = []
    with suppress(ConnectionError):
        colour.call(breaker, colour.script(lambda: holds.append(breaker.isolate()) or ending))
    assert ("isolated", 0, 0) == seen(breaker)
    holds[0].close()
    assert ("closed", 0, 0) == seen(breaker)


@every
def test_core_22_each_further_opening_lasts_longer(colour: Colour) -> None:
    """From 5 s, times 1.5: the first opening ends before 6 s and not by 3, the second between 6 and 11."""
    breaker = CircuitBreaker(failures=1, open_for=5, open_for_factor=1.5)
    play(colour, breaker, "F")
    colour.clock.advance(3)
    with pytest.raises(CircuitOpenError):
        play(colour, breaker, "S")
    colour.clock.advance(3)
    play(colour, breaker, "F")
    colour.clock.advance(6)
    with pytest.raises(CircuitOpenError) as caught:
        play(colour, breaker, "S")
    assert 1.5 == caught.value.retry_after
    colour.clock.advance(5)
    play(colour, breaker, "S")
    assert "closed" == breaker.state


@every
def test_core_22_a_function_is_told_how_often_it_opened(colour: Colour) -> None:
    """The function is asked with 0, 1, 2, 3, 4 while probes fail, and from 0 again after the circuit has closed."""
    asked: list[int] = []
    breaker = CircuitBreaker(failures=1, open_for=lambda attempt: asked.append(attempt) or 5.0)
    for letter in "FFFFFSFFF":
        play(colour, breaker, letter)
        colour.clock.advance(5)
    assert [0, 1, 2, 3, 4, 0, 1, 2] == asked


WILD: list[Callable[[int], Any]] = [
    lambda attempt: math.inf,
    lambda attempt: math.nan,
    lambda attempt: 2.0**5000,
    lambda attempt: 10**400,
    lambda attempt: 301.0,
]


@every
@pytest.mark.parametrize("open_for", WILD, ids=["inf", "nan", "overflow", "huge", "more"])
@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_core_22_a_wild_opening_is_the_cap(colour: Colour, open_for: Callable[[int], float], jitter: float) -> None:
    """A function that overflows, or gives what is infinite or no number, opens for the cap: 300 s; nothing raises."""
    breaker = CircuitBreaker(failures=1, open_for=open_for, open_for_jitter=jitter, rng=lambda: 0.5)
    play(colour, breaker, "F")
    colour.clock.advance(299.5)
    with pytest.raises(CircuitOpenError) as caught:
        play(colour, breaker, "S")
    assert 0.5 == caught.value.retry_after
    colour.clock.advance(0.5)
    play(colour, breaker, "S")
    assert "closed" == breaker.state


@every
def test_core_22_a_factor_that_overflows_is_the_cap(colour: Colour) -> None:
    """The escalation itself may overflow: then the opening is the cap as well."""
    breaker = CircuitBreaker(failures=1, open_for=5, open_for_factor=1e300, open_for_cap=60)
    play(colour, breaker, "F")
    for _ in range(3):
        colour.clock.advance(60)
        play(colour, breaker, "F")
        assert 60.0 == breaker.snapshot().retry_after
