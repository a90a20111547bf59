"""The circuit breaker: slow calls, bad results, modes, permits and guards, leases, and what it shows of itself."""

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from seawall import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitChanged,
    CircuitOpenError,
    Pipeline,
    RejectedError,
    Timeout,
)
from seawall.testing import FakeClock, Recorder
from tests.breakers import call, counts

NUMBERS = itertools.count()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def test_slow_calls_open_the_circuit(colour: str) -> None:
    """A call of exactly `slow_after` is slow; half of at least four slow ones open it, though none failed."""
    with FakeClock():
        breaker = CircuitBreaker(slow_after=1, slow_rate=0.5, window_calls=10, min_calls=4, name=f"slow {colour}")
        for lasting in (1.0, 0.999, 0.5):
            call(breaker, lasting=lasting, colour=colour)
        assert ("closed", (3, 0, 1)) == (breaker.state, counts(breaker))
        call(breaker, lasting=5, colour=colour)
        assert "open" == breaker.state


def test_a_slow_failure_is_both(colour: str) -> None:
    """It counts as one call, one failure and one slow call."""
    with FakeClock():
        breaker = CircuitBreaker(
            failure_rate=0.9, slow_after=1, slow_rate=0.9, window_calls=10, name=f"slow failure {colour}"
        )
        call(breaker, OSError(), lasting=2, colour=colour)
        call(breaker, lasting=0, colour=colour)
        assert (2, 1, 1) == counts(breaker)


def test_a_slow_probe_opens_the_circuit_again() -> None:
    """Half-open, the same rate of slow calls judges the probes."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(
            slow_after=1, slow_rate=1, window_calls=1, open_for=5, probes=2, name="slow probe", clock=clock
        )
        call(breaker, lasting=1)
        clock.advance(5)
        call(breaker, lasting=2)
        assert "half_open" == breaker.state
        call(breaker, lasting=2)
        assert "open" == breaker.state
        clock.advance(5)
        call(breaker, lasting=2)
        call(breaker, lasting=0)
        assert "closed" == breaker.state


def test_a_bad_result_is_a_failure(colour: str) -> None:
    """The caller has the result all the same; the rejection that follows has no cause to show."""
    with FakeClock():
        breaker = CircuitBreaker(failures=2, on_result=lambda result: result >= 500, name=f"bad result {colour}")
        assert [500, 200, 503] == [call(breaker, status, colour=colour) for status in (500, 200, 503)]
        assert "closed" == breaker.state
        assert 500 == call(breaker, 500, colour=colour)
        with pytest.raises(CircuitOpenError) as caught:
            call(breaker, 200, colour=colour)
        assert None is caught.value.__cause__


def test_failures_within_a_window_of_time() -> None:
    """Three within 10 s open it; spread wider they do not."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=3, window=10, name="in time")
        for _ in range(6):
            call(breaker, OSError())
            clock.advance(6)
        assert "closed" == breaker.state
        for _ in range(2):
            call(breaker, OSError())
        assert "open" == breaker.state


def test_what_is_ignored_is_asked_before_what_fails() -> None:
    """`ignore` wins over `on`; what neither names is an answer, a success; a rejection counts nowhere, even listed."""
    breaker = CircuitBreaker(
        failures=9, window_calls=99, on=(OSError, RejectedError), ignore=TimeoutError, name="order"
    )
    for error in (ConnectionError(), TimeoutError()):
        call(breaker, error)
    assert (1, 1, 0) == counts(breaker)
    for other in (KeyError(), BulkheadFullError("elsewhere"), CallTimeoutError("elsewhere", 1, by_deadline=True)):
        with pytest.raises(type(other)) if not isinstance(other, OSError) else _nothing():
            call(breaker, other)
    assert (2, 1, 0) == counts(breaker)


class _nothing:
    """A context that does nothing."""

    def __enter__(self) -> None:
        """Enters."""

    def __exit__(self, *exc: object) -> None:
        """Leaves."""


def test_a_predicate_says_what_is_a_failure() -> None:
    """`on` may be a function of the exception."""
    breaker = CircuitBreaker(failures=1, on=lambda error: "fatal" in str(error), name="predicate")
    call(breaker, OSError("mild"))
    assert "closed" == breaker.state
    call(breaker, OSError("fatal"))
    assert "open" == breaker.state


def test_the_rejection_says_who_when_and_why() -> None:
    """Name, seconds until the next try, and the last failure as the cause; also while half-open."""
    failure = OSError("down")
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=30, name="bank rejection")
        call(breaker, failure)
        clock.advance(12)
        with pytest.raises(CircuitOpenError) as caught:
            breaker.acquire()
        assert ("bank rejection", 18.0, failure) == (
            caught.value.name,
            caught.value.retry_after,
            caught.value.__cause__,
        )
        assert "'bank rejection' is open; try again in 18 s" == str(caught.value)
        clock.advance(18)
        permit = breaker.acquire()
        with pytest.raises(CircuitOpenError) as caught:
            breaker.acquire()
        assert (30.0, failure) == (caught.value.retry_after, caught.value.__cause__)
        permit.success()


def test_the_first_end_of_a_permit_counts() -> None:
    """Success, failure and release each end it; what follows does nothing."""
    breaker = CircuitBreaker(failures=9, window_calls=9, name="permits")
    for ends in (("success", "failure"), ("failure", "success"), ("release", "failure")):
        permit = breaker.acquire()
        for end in ends:
            getattr(permit, end)()
    assert (2, 1, 0) == counts(breaker)


def test_a_guarded_block_is_judged_like_a_call() -> None:
    """`with` and `async with`, nested too; a rejection never enters the block."""
    breaker = CircuitBreaker(failures=2, on=OSError, name="guarded block")
    guard = breaker.guard()

    async def main(error: BaseException) -> None:
        async with guard:
            raise error

    with pytest.raises(KeyError), guard, breaker.guard():
        raise KeyError
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            asyncio.run(main(OSError("down")))
    with pytest.raises(CircuitOpenError), guard:
        pytest.fail("entered an open circuit")


def test_looking_changes_nothing() -> None:
    """A thousand looks at state and snapshot: no event, no transition, no probe used up."""
    with FakeClock() as clock, Recorder() as events:
        breaker = CircuitBreaker(failures=2, window=10, open_for=5, name="looked at")
        call(breaker, OSError("a"))
        before = breaker.snapshot()
        for _ in range(1000):
            assert ("closed", before) == (breaker.state, breaker.snapshot())
        call(breaker, OSError("b"))
        clock.advance(5)
        opened = len(events.events)
        before = breaker.snapshot()
        assert ("half_open", 0.0, "OSError('b')") == (before.state, before.retry_after, before.last_failure)
        for _ in range(1000):
            assert ("half_open", before) == (breaker.state, breaker.snapshot())
        assert opened == len(events.events)
        call(breaker, 1)
        assert "closed" == breaker.state


def test_the_snapshots_rate_needs_enough_calls() -> None:
    """None until `min_calls` calls are in the window."""
    breaker = CircuitBreaker(failure_rate=1, window_calls=4, min_calls=2, name="rate")
    call(breaker, OSError())
    assert None is breaker.snapshot().failure_rate
    call(breaker, 1)
    assert 0.5 == breaker.snapshot().failure_rate


@pytest.mark.parametrize(
    ("jitter", "chance", "seconds"), [(0.5, 0.0, 5.0), (0.5, 0.5, 10.0), (0.5, 1.0, 15.0), (0, 0.9, 10.0)]
)
def test_an_opening_may_vary(jitter: float, chance: float, seconds: float) -> None:
    """By the given share, up and down; the event says how long it will be."""
    with FakeClock(), Recorder(CircuitChanged) as events:
        breaker = CircuitBreaker(
            failures=1, open_for=10, open_for_jitter=jitter, rng=lambda: chance, name=f"{jitter} {chance}"
        )
        call(breaker, OSError())
        assert seconds == breaker.snapshot().retry_after
    assert [seconds] == [event.open_for for event in events.of(CircuitChanged)]


@pytest.mark.parametrize("open_for", [math.inf, lambda attempt: math.nan, lambda attempt: 1 / 0, lambda attempt: 1e9])
def test_an_opening_never_exceeds_its_cap(open_for: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever `open_for` says, and also where it raises, which is logged."""
    with FakeClock(), caplog.at_level(logging.ERROR, "seawall"):
        breaker = CircuitBreaker(failures=1, open_for=open_for, open_for_cap=60, name=f"capped {next(NUMBERS)}")
        call(breaker, OSError())
        assert 60.0 == breaker.snapshot().retry_after
    raised = [record.message for record in caplog.records]
    assert raised in ([], [f"open_for of {breaker.name!r} raised; the circuit stays open for its cap of 60 s"])


def test_a_negative_opening_is_none_at_all() -> None:
    """The next call is a probe at once."""
    with FakeClock():
        breaker = CircuitBreaker(failures=1, open_for=lambda attempt: -5.0, name="negative")
        call(breaker, OSError())
        assert "half_open" == breaker.state


def lease_of(name: str, build: Callable[[CircuitBreaker], object], **given: Any) -> float:
    """Returns after how many seconds a hung probe lets another one through."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=5, name=name, **given)
        protected: Any = build(breaker)
        with pytest.raises(OSError, match="down"):
            protected(_down)()
        clock.advance(5)
        breaker.acquire()
        for seconds in range(100):
            try:
                breaker.acquire()
            except CircuitOpenError:
                clock.advance(1)
            else:
                return float(seconds)
    return math.inf


def _down() -> None:
    raise OSError("down")


def test_a_hung_probe_frees_its_slot_after_the_lease() -> None:
    """Given; else the opening; else twice the pipeline's time-out, where that is longer."""
    assert 3.0 == lease_of("given lease", lambda breaker: breaker, probe_lease=3)
    assert 5.0 == lease_of("opening as lease", lambda breaker: breaker)
    assert 20.0 == lease_of("time-out as lease", lambda breaker: Pipeline("leased", breaker, Timeout(10)))


def test_a_late_probe_counts_while_its_epoch_lives() -> None:
    """The lease frees the slot only: the first probe's success still closes the circuit."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=5, name="late probe")
        call(breaker, OSError())
        clock.advance(5)
        first = breaker.acquire()
        clock.advance(5)
        second = breaker.acquire()
        first.success()
        assert "closed" == breaker.state
        second.failure(OSError())
        assert "closed" == breaker.state


def test_several_successes_close_the_circuit() -> None:
    """`successes` probes must succeed; the first failure opens again, one attempt further."""
    with FakeClock() as clock, Recorder(CircuitChanged) as events:
        breaker = CircuitBreaker(
            failures=1, open_for=5, open_for_factor=3, probes=3, successes=3, name="several successes"
        )
        call(breaker, OSError())
        clock.advance(5)
        call(breaker, 1)
        call(breaker, OSError("probe"))
        clock.advance(15)
        for expected in ("half_open", "half_open", "closed"):
            call(breaker, 1)
            assert expected == breaker.state
    assert [
        ("closed", "open", 5.0),
        ("open", "half_open", None),
        ("half_open", "open", 15.0),
        ("open", "half_open", None),
        ("half_open", "closed", None),
    ] == [(event.old, event.new, event.open_for) for event in events.of(CircuitChanged)]
    assert "'several successes': circuit half_open -> open for 15 s after OSError: probe" == str(events.events[2])
