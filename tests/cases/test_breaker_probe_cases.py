"""The numbered behaviour cases of the circuit breaker: probes, late results, cancelled calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from seawall import (
    CircuitBreaker,
    CircuitOpenError,
)
from seawall.testing import FakeClock
from tests.both import PATIENCE, Async, Colour, Held, concurrent, every, run_in
from tests.breakers import play, seen, trip


def quota(breaker: CircuitBreaker) -> list[Any]:
    """Takes every probe that there is; one more is rejected, again and again."""
    permits = []
    with suppress(CircuitOpenError):
        while len(permits) < 100:
            permits.append(breaker.acquire())
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    return permits


@concurrent
def test_core_10_so_many_probes_and_no_more(colour: Any) -> None:
    """Of six calls four are let through; one that ends without a verdict makes room for exactly one more."""
    breaker = CircuitBreaker(failures=1, open_for=5, probes=4, successes=4)
    trip(breaker)
    colour.clock.advance(5)
    held = [Held(asyncio.CancelledError()), *(Held("fine") for _ in range(4))]
    scripts = [colour.script(outcome) for outcome in held]
    flights = [colour.start(breaker, script) for script in scripts[:4]]
    colour.until(lambda: all(script.calls for script in scripts[:4]))
    for _ in range(2):
        with pytest.raises(CircuitOpenError):
            colour.call(breaker, colour.script("fine"))
    held[0].let_go()
    with pytest.raises(asyncio.CancelledError):
        colour.end(flights[0])
    assert "half_open" == breaker.state
    flights.append(colour.start(breaker, scripts[4]))
    colour.until(lambda: scripts[4].calls == 1)
    with pytest.raises(CircuitOpenError):
        colour.call(breaker, colour.script("fine"))
    for each, flight in zip(held[1:], flights[1:], strict=True):
        each.let_go()
        assert "fine" == colour.end(flight)
    assert "closed" == breaker.state


@every
def test_core_10_the_quota_is_anew_each_time(colour: Colour) -> None:
    """After a failed probe and another opening, four probes are let through again, whatever became of the old ones."""
    breaker = CircuitBreaker(failures=1, open_for=5, probes=4)
    trip(breaker)
    colour.clock.advance(5)
    first = quota(breaker)
    assert 4 == len(first)
    first[0].failure(ConnectionError())
    assert "open" == breaker.state
    colour.clock.advance(5)
    assert 4 == len(quota(breaker))


def test_core_10_threads_share_the_quota() -> None:
    """Sixteen threads that ask at once get four probes between them."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=5, probes=4)
        trip(breaker)
        clock.advance(5)
        together, permits, rejected = threading.Barrier(16), [], []

        def ask() -> None:
            together.wait(PATIENCE)
            try:
                permits.append(breaker.acquire())
            except CircuitOpenError as error:
                rejected.append(error)

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (4, 12) == (len(permits), len(rejected))


@every
@pytest.mark.parametrize("nothing", ["X", "C"])
def test_core_13_what_says_nothing_frees_its_probe(colour: Colour, nothing: str) -> None:
    """Of four probes, S S S X F is one failure in four, 25 %: closed."""
    breaker = CircuitBreaker(failure_rate=0.5, window=60, min_calls=1, open_for=5, probes=4, ignore=LookupError)
    trip(breaker)
    colour.clock.advance(5)
    play(colour, breaker, "S S S")
    play(colour, breaker, nothing)
    assert "half_open" == breaker.state
    play(colour, breaker, "F")
    assert "closed" == breaker.state


@every
@pytest.mark.parametrize("nothing", ["X", "C"])
@pytest.mark.parametrize("form", [{"failure_rate": 0.5, "window": 60, "min_calls": 1}, {"failures": 1, "successes": 4}])
def test_core_13_a_half_open_circuit_is_never_wedged(colour: Colour, nothing: str, form: dict[str, Any]) -> None:
    """Probes that say nothing, be it four or forty, leave it half-open; four that succeed close it."""
    breaker = CircuitBreaker(**form, open_for=5, probes=4, ignore=LookupError)
    trip(breaker)
    colour.clock.advance(5)
    play(colour, breaker, nothing * 40)
    assert "half_open" == breaker.state
    play(colour, breaker, "S S S")
    assert "half_open" == breaker.state
    play(colour, breaker, "S")
    assert "closed" == breaker.state


def reset(breaker: CircuitBreaker, clock: FakeClock) -> list[Any]:
    """Resets it, after which one failure is counted."""
    breaker.reset()
    breaker.acquire().failure(ConnectionError())
    return []


def open_it(breaker: CircuitBreaker, clock: FakeClock) -> list[Any]:
    """Opens it."""
    trip(breaker, failures=2)
    return []


def half_open(breaker: CircuitBreaker, clock: FakeClock) -> list[Any]:
    """Makes it half-open, with one of two probes under way."""
    trip(breaker, failures=2)
    clock.advance(5)
    return [breaker.acquire()]


@every
@pytest.mark.parametrize("ending", ["fine", ConnectionError()], ids=["S", "F"])
@pytest.mark.parametrize("meanwhile", [reset, open_it, half_open])
@pytest.mark.parametrize(
    "form",
    [
        {"failures": 2, "successes": 2},
        {"failures": 2, "window_calls": 10, "successes": 2},
        {"failure_rate": 0.5, "window": 60, "min_calls": 2},
        {"failures": 2, "successes": 2, "on_result": lambda result: False},
    ],
    ids=["row", "calls", "rate", "result"],
)
def test_core_16_a_late_end_changes_nothing(
    colour: Colour, form: dict[str, Any], meanwhile: Callable[..., list[Any]], ending: Any
) -> None:
    """A call that began before a reset, an opening or a half-opening ends after it: counts, state, quota stay."""
    breaker = CircuitBreaker(**form, open_for=5, probes=2)
    before, probes = [], []

    def during() -> Any:
        probes.extend(meanwhile(breaker, colour.clock))
        before.append(seen(breaker))
        return ending

    with suppress(ConnectionError):
        colour.call(breaker, colour.script(during))
    assert before == [seen(breaker)]
    if meanwhile is reset:
        assert "closed" == breaker.state
        trip(breaker, failures=1)  # the second since the reset
    if meanwhile is half_open:
        (left,) = quota(breaker)
        left.success()
        assert "half_open" == breaker.state
        probes[0].success()
        assert "closed" == breaker.state


@pytest.mark.parametrize("ending", ["success", "failure", "release"])
@pytest.mark.parametrize("form", [{"failures": 1, "successes": 2}, {"failure_rate": 0.5, "window": 60, "min_calls": 1}])
def test_core_16_a_probe_of_an_earlier_half_opening_changes_nothing(form: dict[str, Any], ending: str) -> None:
    """A probe of the first half-opening that ends in the second neither decides nor frees a place there."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(**form, open_for=5, probes=2)
        trip(breaker)
        clock.advance(5)
        late, other = quota(breaker)
        clock.advance(5)  # the leases of both are over: a third probe is let through beside them
        third = breaker.acquire()
        for each in (other, third):
            each.failure(ConnectionError())
        assert "open" == breaker.state
        clock.advance(5)
        first, second = quota(breaker)
        getattr(late, ending)()
        assert "half_open" == breaker.state
        assert [] == quota(breaker)
        first.success()
        assert "half_open" == breaker.state
        second.success()
        assert "closed" == breaker.state


CANCELLED = [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit]


@every
@pytest.mark.parametrize("cancelled", CANCELLED)
def test_core_18_a_cancelled_probe_frees_its_place_at_once(colour: Colour, cancelled: type[BaseException]) -> None:
    """A probe that is cancelled or interrupted changes no state, and the next call is admitted."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    trip(breaker)
    colour.clock.advance(5)
    with pytest.raises(cancelled):
        colour.call(breaker, colour.script(cancelled))
    assert "half_open" == breaker.state
    assert "half_open" == colour.call(breaker, colour.script(lambda: breaker.state))
    assert "closed" == breaker.state


@run_in(Async)
def test_core_18_a_probe_whose_task_is_cancelled(colour: Async) -> None:
    """The caller cancels the task of a probe: rejected before, admitted right after."""
    breaker = CircuitBreaker(failures=1, open_for=5)
    trip(breaker)
    colour.clock.advance(5)
    fn = colour.script(Held())
    flight = colour.start(breaker, fn)
    colour.until(lambda: fn.calls == 1)
    with pytest.raises(CircuitOpenError):
        colour.call(breaker, colour.script("fine"))
    flight.cancel()
    with pytest.raises(asyncio.CancelledError):
        colour.end(flight)
    assert "half_open" == breaker.state
    assert "fine" == colour.call(breaker, colour.script("fine"))


@every
@pytest.mark.parametrize("cancelled", CANCELLED)
@pytest.mark.parametrize("form", [{"failures": 1}, {"failure_rate": 0.1, "window": 60, "min_calls": 1}])
def test_core_18_cancelled_calls_are_not_counted(
    colour: Colour, form: dict[str, Any], cancelled: type[BaseException]
) -> None:
    """Five cancelled calls leave a closed circuit closed, with a total of 0."""
    breaker = CircuitBreaker(**form)
    for _ in range(5):
        with pytest.raises(cancelled):
            colour.call(breaker, colour.script(cancelled))
    assert ("closed", 0, 0) == seen(breaker)
