"""The numbered behaviour case of rate limits."""

from __future__ import annotations

import asyncio
import random
import threading
from itertools import pairwise
from typing import Any

import pytest

from seawall import RateLimit, RateLimitedError
from seawall.testing import FakeClock
from tests.both import PATIENCE, Async, Colour, every, run_in

ALGORITHMS = pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "gcra"])


def starts(colour: Colour, limit: RateLimit, gaps: list[float]) -> list[float]:
    """Asks again after each gap, and returns the instants of the calls that were let through."""
    fn = colour.script("fine")
    protected = limit(fn)
    for gap in gaps:
        colour.clock.advance(gap)
        try:
            if isinstance(colour, Async):
                asyncio.run(protected())
            else:
                protected()
        except RateLimitedError:
            pass
    return fn.started


def most_in_a_second(instants: list[float]) -> int:
    """Returns how many instants lie in the fullest span of one second (its end left out)."""
    return max(sum(begin <= instant < begin + 1 - 1e-6 for instant in instants) for begin in instants)


@every
@pytest.mark.parametrize("max_wait", [0.0, 0.5])
def test_core_38_a_strict_window_never_holds_eleven(colour: Colour, max_wait: float) -> None:
    """With 10 in 1 s, asked far more often at odd instants, no span of a second ever holds eleven starts."""
    rng = random.Random(38)
    limit = RateLimit(10, algorithm="sliding_window", max_wait=max_wait)
    instants = starts(colour, limit, [rng.choice([0.0, 0.0, 0.01, 0.03, 0.2]) for _ in range(400)])
    assert 10 == most_in_a_second(instants)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(instants, instants[10:], strict=False))


@every
def test_core_38_a_strict_window_at_the_edge(colour: Colour) -> None:
    """Ten starts just before a full second leave room for none just after it."""
    limit = RateLimit(10, algorithm="sliding_window")
    instants = starts(colour, limit, [0.875, *[0.0] * 10, 0.25, 0.625, 0.125])
    assert [0.875] * 10 + [1.875] == instants


@every
def test_core_38_a_token_bucket_lets_a_burst_through(colour: Colour) -> None:
    """10 a second with a burst of 10, asked every 1/256 s: 19 or 20 starts in [0, 1), as the documentation says."""
    limit = RateLimit(10, burst=10)
    instants = starts(colour, limit, [0.0] * 12 + [1 / 256] * 255)
    assert all(0 <= instant < 1 for instant in instants)
    assert 19 <= len(instants) <= 20
    assert [0.0] * 10 == instants[:10]
    assert "a span of `per` may hold up to `rate + burst` starts" in " ".join(RateLimit.__doc__.split())


@every
def test_core_38_gcra_spaces_evenly(colour: Colour) -> None:
    """GCRA lets no burst through: its starts are a tenth of a second apart."""
    instants = starts(colour, RateLimit(10, algorithm="gcra"), [0.0] * 12 + [1 / 256] * 255)
    assert 10 == len(instants)
    assert all(later - earlier >= 0.1 - 1e-6 for earlier, later in pairwise(instants))


@run_in(Async)
@ALGORITHMS
def test_core_38_a_cancelled_waiters_turn_is_used_again(colour: Async, algorithm: Any) -> None:
    """Of calls booked for 0, 1 and 2 s the second is cancelled: a newcomer has its turn at 1 s, not at 3 s."""
    limit = RateLimit(1, algorithm=algorithm, max_wait=10)
    scripts = [colour.script("fine") for _ in range(4)]
    flights = []
    for number in range(3):
        flights.append(colour.start(limit, scripts[number]))
        colour.until(lambda: len(colour.clock.slept) == number)  # noqa: B023 - called before the next turn
    flights[1].cancel()
    colour.until(flights[1].done)
    flights.append(colour.start(limit, scripts[3]))
    colour.until(lambda: len(colour.clock.slept) == 3)
    for number in (0, 2, 3):
        assert "fine" == colour.end(flights[number])
    assert [[0.0], [], [2.0], [1.0]] == [script.started for script in scripts]


@ALGORITHMS
def test_core_38_an_interrupted_threads_turn_is_used_again(algorithm: Any) -> None:
    """The same for a thread that is interrupted while it sleeps."""

    class Interrupted(FakeClock):
        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            if len(self.slept) == 1:
                raise KeyboardInterrupt
            self.advance(seconds)

    clock = Interrupted()
    limit = RateLimit(1, algorithm=algorithm, max_wait=10, clock=clock)
    limit.acquire()
    with pytest.raises(KeyboardInterrupt):
        limit.acquire()
    limit.acquire()
    assert ([1.0, 1.0], 1.0) == (clock.slept, clock.now())


@every
@ALGORITHMS
def test_core_38_too_long_a_wait_fails_at_once(colour: Colour, algorithm: Any) -> None:
    """A turn in 1 s for a caller who waits 0.5 s at most: refused without sleeping, and nothing is used up."""
    limit = RateLimit(1, algorithm=algorithm, max_wait=0.5)
    fn = colour.script("fine")
    assert "fine" == colour.call(limit, fn)
    for _ in range(5):
        with pytest.raises(RateLimitedError) as caught:
            colour.call(limit, fn)
        assert 1.0 == caught.value.retry_after
    assert ([], 0.0) == (colour.clock.slept, colour.clock.now())
    colour.clock.advance(0.5)
    assert "fine" == colour.call(limit, fn)
    assert ([0.0, 1.0], [0.5]) == (fn.started, colour.clock.slept)


@ALGORITHMS
def test_core_38_threads_share_a_limit(algorithm: Any) -> None:
    """Of 40 threads that ask at once, as many are let through as fit: 10, or 1 where the rule is to space evenly."""
    with FakeClock():
        limit, together = RateLimit(10, algorithm=algorithm), threading.Barrier(40)
        through, refused = [], []

        def ask() -> None:
            together.wait(PATIENCE)
            try:
                limit.acquire()
            except RateLimitedError as error:
                refused.append(error)
            else:
                through.append(1)

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    most = 1 if algorithm == "gcra" else 10
    assert (most, 40 - most) == (len(through), len(refused))
