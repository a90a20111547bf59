"""The circuit breaker's switches: modes, reset and isolation."""

import pytest

from seawall import CircuitBreaker, CircuitChanged, CircuitIsolatedError
from seawall.testing import FakeClock, Recorder
from tests.breakers import call, counts


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def test_metrics_only_counts_and_lets_pass() -> None:
    """The counts go on, the circuit never opens; back in active mode it begins closed."""
    with Recorder(CircuitChanged) as events:
        breaker = CircuitBreaker(failures=2, window_calls=10, name="metrics only")
        for _ in range(2):
            call(breaker, OSError())
        assert "open" == breaker.state
        breaker.mode = "metrics_only"
        for _ in range(5):
            call(breaker, OSError())
        assert ("metrics_only", "metrics_only", (5, 5, 0)) == (breaker.mode, breaker.state, counts(breaker))
        breaker.mode = "active"
        assert ("active", "closed", (0, 0, 0)) == (breaker.mode, breaker.state, counts(breaker))
    assert ["open", "metrics_only", "closed"] == [event.new for event in events.of(CircuitChanged)]


def test_disabled_does_nothing(colour: str) -> None:
    """Every call passes, none is counted, and results of calls begun before change nothing."""
    breaker = CircuitBreaker(failures=1, name=f"disabled {colour}")
    before = breaker.acquire()
    breaker.mode = "disabled"
    before.failure(OSError())
    for _ in range(3):
        call(breaker, OSError(), colour=colour)
    assert ("disabled", "disabled", (0, 0, 0)) == (breaker.mode, breaker.state, counts(breaker))
    assert 5 == call(breaker, 5, colour=colour)
    breaker.mode = "active"
    call(breaker, OSError(), colour=colour)
    assert "open" == breaker.state


def test_setting_the_same_mode_changes_nothing() -> None:
    """An open circuit stays open when it is made active once more."""
    breaker = CircuitBreaker(failures=1, name="same mode")
    call(breaker, OSError())
    breaker.mode = "active"
    assert "open" == breaker.state
    with pytest.raises(ValueError, match=r"mode='off' is unknown; use one of 'active', 'metrics_only', 'disabled'"):
        breaker.mode = "off"  # type: ignore[assignment]


def test_reset_closes_from_every_state() -> None:
    """Counts and isolations are forgotten; a hold that is let go later does nothing."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=2, open_for=5, name="reset")
        call(breaker, OSError())
        breaker.reset()
        call(breaker, OSError())
        assert "closed" == breaker.state
        call(breaker, OSError())
        breaker.reset()
        assert "closed" == breaker.state
        for _ in range(2):
            call(breaker, OSError())
        clock.advance(5)
        probe = breaker.acquire()
        breaker.reset()
        probe.failure()
        assert "closed" == breaker.state
        hold = breaker.isolate()
        with pytest.raises(CircuitIsolatedError, match="'reset' is isolated by hand"):
            breaker.acquire()
        breaker.reset()
        assert "closed" == breaker.state
        for _ in range(2):
            call(breaker, OSError())
        hold.close()
        assert "open" == breaker.state


def test_an_isolation_is_a_context() -> None:
    """Within it every call is rejected; letting go twice is letting go once."""
    breaker = CircuitBreaker(failures=1, name="isolation")
    with breaker.isolate() as hold, pytest.raises(CircuitIsolatedError) as caught:
        breaker.acquire()
    assert None is caught.value.retry_after
    other = breaker.isolate()
    hold.close()
    assert "isolated" == breaker.state
    other.close()
    assert "closed" == breaker.state
