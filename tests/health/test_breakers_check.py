"""The check of circuit breakers."""

import gc
from typing import Any

import pytest

from seawall import CircuitBreaker, Pipeline, Timeout
from seawall.health import Check, Health, breakers_check
from tests.health.monitors import NUMBERS


def look(check: Check) -> Health:
    """Returns what a plain check finds."""
    found = check.look()
    assert isinstance(found, Health)
    return found


def broken(breaker: CircuitBreaker) -> None:
    """Opens a breaker as a failing dependency does."""

    def fail() -> None:
        raise ConnectionError("away at redis://:SECRET@h")

    with pytest.raises(ConnectionError):
        Pipeline(f"of {next(NUMBERS)}", breaker, Timeout(1.0)).call(fail)


@pytest.fixture
def pair() -> Any:
    """Two breakers with names."""
    gc.collect()
    number = next(NUMBERS)
    return [CircuitBreaker(name=f"{name} {number}", failures=1, open_for=60.0) for name in ("bank", "rates")]


def test_an_open_breaker_is_degraded(pair: list[CircuitBreaker]) -> None:
    """All closed: healthy; one open: degraded, with every state as data and the open one in words."""
    bank, rates = pair
    check = breakers_check([bank.name, rates.name])
    assert Health("healthy", "", {bank.name: "closed", rates.name: "closed"}) == look(check)

    broken(bank)
    expected = Health("degraded", f"{bank.name} is open", {bank.name: "open", rates.name: "closed"})
    assert expected == look(check)
    bank.reset()
    assert "healthy" == look(check).status


def test_every_breaker_of_the_process_by_default(pair: list[CircuitBreaker]) -> None:
    """Also those that were made later, and those inside pipelines."""
    check = breakers_check()
    assert set(look(check).data) >= {breaker.name for breaker in pair}
    pipeline = Pipeline(f"orders {next(NUMBERS)}", CircuitBreaker(failures=1), Timeout(1.0))
    assert "closed" == look(check).data[f"{pipeline.name}.breaker"]


@pytest.mark.parametrize("grave", ["bank", True])
def test_some_breakers_make_it_unhealthy(pair: list[CircuitBreaker], grave: Any) -> None:
    """Where it is said so, an open or isolated one is unhealthy; one that is half-open is not, or it would never be."""
    bank, rates = pair
    check = breakers_check([bank.name, rates.name], unhealthy=True if grave is True else [bank.name])
    broken(bank)
    assert "unhealthy" == look(check).status
    bank.reset()
    with bank.isolate():
        assert ("unhealthy", f"{bank.name} is isolated") == (look(check).status, look(check).description)
    broken(rates)
    assert ("unhealthy" if grave is True else "degraded") == look(check).status


def test_half_open_is_degraded() -> None:
    """A breaker that probes is on its way back."""
    breaker = CircuitBreaker(name=f"back {next(NUMBERS)}", failures=1, open_for=1e-6)
    broken(breaker)

    for unhealthy in (False, True):
        found = look(breakers_check([breaker.name], unhealthy=unhealthy))
        assert ("degraded", f"{breaker.name} is half-open") == (found.status, found.description)


def test_a_breaker_that_is_not_there_is_unknown(pair: list[CircuitBreaker]) -> None:
    """A name that is misspelt must not look healthy; one that is made later does then."""
    bank, _ = pair
    name = f"later {next(NUMBERS)}"
    check = breakers_check([bank.name, name])
    assert ("unknown", f"there is no breaker {name!r}") == (look(check).status, look(check).description)
    later = CircuitBreaker(name=name, failures=1)
    assert "healthy" == look(check).status
    assert later.name == name


def test_modes_that_let_everything_pass_are_healthy(pair: list[CircuitBreaker]) -> None:
    """A breaker that was switched off, or that only counts, holds nobody up."""
    bank, rates = pair
    bank.mode, rates.mode = "disabled", "metrics_only"

    assert Health("healthy", "", {bank.name: "disabled", rates.name: "metrics_only"}) == look(
        breakers_check([bank.name, rates.name], unhealthy=True)
    )
