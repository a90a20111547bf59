"""No delay is ever below 0, above the cap, or not a number; nor above what is said to be its longest."""

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seawall import Backoff

JITTERS = ("none", "full", "equal", "decorrelated", "additive", "proportional")
CHANCE = st.floats(0.0, 1.0)
RETRY = st.one_of(st.integers(1, 40), st.integers(1, 10**6), st.sampled_from([1024, 1025, 1026, 10**6]))
SECONDS = st.one_of(
    st.just(0.0), st.floats(0.0, 3600.0), st.floats(0.0, 1e-300), st.sampled_from([5e-324, 1e-9, 3600.0])
)
CAPS = st.one_of(st.floats(1e-9, 1e6), st.just(1e308))


def jitter_and_spread(draw: st.DrawFn) -> dict[str, Any]:
    """Draws a jitter with a spread that fits it."""
    jitter = draw(st.sampled_from(JITTERS))
    if jitter not in ("additive", "proportional"):
        return {"jitter": jitter}
    most = 1.0 if jitter == "proportional" else 3600.0
    return {"jitter": jitter, "spread": draw(st.one_of(st.none(), st.floats(0.0, most)))}


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    """Draws any backoff that can be made."""
    extra = jitter_and_spread(draw)
    match draw(st.sampled_from(["fixed", "listed", "linear", "exponential"])):
        case "fixed":
            return Backoff.fixed(draw(SECONDS), **extra)
        case "listed":
            return Backoff.listed(*draw(st.lists(SECONDS, min_size=1, max_size=5)), **extra)
        case "linear":
            base, cap = draw(SECONDS), draw(CAPS)
            assume(base <= cap)
            return Backoff.linear(base, step=draw(st.one_of(st.none(), SECONDS)), cap=cap, **extra)
        case _:
            base, cap = draw(SECONDS), draw(CAPS)
            assume(base <= cap)
            return Backoff.exponential(
                base, factor=draw(st.one_of(st.floats(1.0, 10.0), st.just(1e300))), cap=cap, **extra
            )


@given(backoff=backoffs(), retry=RETRY, chance=CHANCE, last=st.floats(0.0, 1.0))
@settings(max_examples=600, deadline=None, derandomize=True)
def test_a_delay_is_a_number_from_zero_to_the_cap(backoff: Backoff, retry: int, chance: float, last: float) -> None:
    """For any retry up to a million, any chance from 0 to 1 and any last delay within the cap."""
    for previous in (None, last * backoff.cap):
        delay = backoff.delay(retry, previous, lambda: chance)
        assert math.isfinite(delay)
        assert 0.0 <= delay <= backoff.cap


@given(backoff=backoffs(), chances=st.lists(CHANCE, min_size=5, max_size=30))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_delays_that_build_on_each_other_stay_within_the_cap(backoff: Backoff, chances: list[float]) -> None:
    """The same along a chain of retries, each with the delay before it."""
    previous: float | None = None
    for retry, chance in enumerate(chances, 1):
        previous = backoff.delay(retry, previous, lambda chance=chance: chance)
        assert 0.0 <= previous <= backoff.cap
        assert previous <= backoff.longest(retry) or math.isclose(previous, backoff.longest(retry))


@given(base=st.floats(1e-6, 10.0), factor=st.floats(1.0, 5.0), cap=st.floats(10.0, 1e4), retry=st.integers(1, 300))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_exponential_delays_are_the_powers_or_the_cap(base: float, factor: float, cap: float, retry: int) -> None:
    """Without jitter, delay n is base x factor^(n-1), or the cap where that is less."""
    try:
        power = base * factor ** (retry - 1)
    except OverflowError:
        power = math.inf
    expected = min(cap, power)
    assert math.isclose(expected, Backoff.exponential(base, factor=factor, cap=cap).plain(retry), rel_tol=1e-9)


@given(base=SECONDS, step=SECONDS, retry=RETRY)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_linear_delays_are_the_sums_or_the_cap(base: float, step: float, retry: int) -> None:
    """Without jitter, delay n is base + (n-1) x step, or the cap where that is less."""
    assert math.isclose(min(3600.0, base + step * (retry - 1)), Backoff.linear(base, step=step).plain(retry))


@pytest.mark.parametrize(
    ("chance", "expected"), [(0.0, 0.75), (0.4, 0.95), (0.6, 1.05), (1.0, 1.25)], ids=lambda value: str(value)
)
def test_proportional_jitter_spans_a_quarter_both_ways(chance: float, expected: float) -> None:
    """The known figures of core 26."""
    assert math.isclose(expected, Backoff.fixed(1.0, jitter="proportional").delay(1, None, lambda: chance))
