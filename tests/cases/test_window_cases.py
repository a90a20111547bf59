"""The numbered behaviour case of the window in time."""

import pytest

from seawall import CircuitBreaker
from seawall._core.window import TimeWindow
from tests.both import Colour, every

OUTCOMES = [(0.0, True), (0.1, False), (0.2, False), (1.2, False), (2.2, False), (3.2, True), (4.2, False)]
LATER = [(5.2, (5, 1)), (6.2, (5, 1)), (11.2, (1, 0))]


def test_core_6_spans_leave_as_a_whole() -> None:
    """Over 5 s in spans of 1 s: 7 calls and 2 failures, then 5 and 1 at 5.2 s and at 6.2 s, 1 and 0 at 11.2 s."""
    window = TimeWindow(5, buckets=5)
    for now, failed in OUTCOMES:
        window.add(failed, False, now)
    assert (7, 2) == (window.total, window.failures)
    for now, expected in LATER:
        window.add(False, False, now)
        assert expected == (window.total, window.failures)


@pytest.mark.parametrize("start", [0.25, 1e3, 1e6, 1e9])
def test_core_6_wherever_the_clock_begins(start: float) -> None:
    """The same holds for a clock that does not begin at 0, as long as it begins with a span."""
    window, start = TimeWindow(5, buckets=5), float(int(start))
    for now, failed in OUTCOMES:
        window.add(failed, False, start + now)
    for now, expected in LATER:
        window.add(False, False, start + now)
        assert expected == (window.total, window.failures)


def test_core_6_looking_lets_go_too() -> None:
    """Without further calls the counts fall as time passes, down to nothing."""
    window = TimeWindow(5, buckets=5)
    for now, failed in OUTCOMES:
        window.add(failed, False, now)
    seen = []
    for now in (4.9, 5.0, 6.0, 7.0, 8.0, 9.0):
        window.move(now)
        seen.append((window.total, window.failures))
    assert [(7, 2), (4, 1), (3, 1), (2, 1), (1, 0), (0, 0)] == seen


@every
def test_core_6_a_breaker_forgets_by_time(colour: Colour) -> None:
    """A breaker over 50 s, which has spans of 5 s, forgets the three calls of its first span as a whole."""
    breaker = CircuitBreaker(failures=100, window=50, min_calls=100)
    for now, failed in OUTCOMES:
        colour.clock.advance(now * 10 - colour.clock.now())
        try:
            colour.call(breaker, colour.script(ConnectionError if failed else "fine"))
        except ConnectionError:
            assert failed
    counts = []
    for now in (42.0, 49.0, 50.0, 99.0):
        colour.clock.advance(now - colour.clock.now())
        shown = breaker.snapshot()
        counts.append((shown.calls, shown.failures))
    assert [(7, 2), (7, 2), (4, 1), (0, 0)] == counts
