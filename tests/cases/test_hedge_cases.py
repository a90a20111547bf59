"""The numbered behaviour case of hedged calls, which are async only."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from seawall import Hedge, Hedged
from seawall.testing import Recorder
from tests.both import NUMBERS, Async, Held, Lasts, run_in

asynchronous = run_in(Async)


class Attempts:
    """An async function of scripted attempts: how many are under way, at most and now, and how many were cancelled.

    A cancelled attempt takes `cleanup` seconds to end.
    """

    def __init__(self, colour: Async, *outcomes: Any, cleanup: float = 0.0) -> None:
        self.script = colour.script(*outcomes)
        self.cleanup = cleanup
        self.running = self.most = self.cancelled = 0
        self.__qualname__ = self.script.__qualname__

    async def __call__(self) -> Any:
        """Makes one attempt."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.script()
        except asyncio.CancelledError:
            await asyncio.sleep(self.cleanup)
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


class Result:
    """A result that is to be closed."""

    closed = 0

    async def aclose(self) -> None:
        """Notes that it was closed."""
        await asyncio.sleep(0)
        self.closed += 1


@asynchronous
def test_core_36_without_delay_all_start_at_once(colour: Async) -> None:
    """With a delay of 0 and two extra, three attempts start at the same instant; the fastest answers."""
    fn = Attempts(colour, Lasts(3.0, "slow"), Lasts(1.0, "fast"), Lasts(2.0, "middling"))
    assert "fast" == colour.call(Hedge(0, max_extra=2), fn)
    assert ([0.0, 0.0, 0.0], 3) == (fn.script.started, fn.most)
    assert (1.0, 2, 0) == (colour.clock.now(), fn.cancelled, fn.running)


@asynchronous
def test_core_36_with_an_infinite_delay_never_two_at_once(colour: Async) -> None:
    """With an infinite delay another attempt starts only when one has failed, never beside it."""
    fn = Attempts(colour, Lasts(100.0, ConnectionError), Lasts(100.0, ConnectionError), Lasts(100.0, "fine"))
    assert "fine" == colour.call(Hedge(math.inf, max_extra=2), fn)
    assert ([0.0, 100.0, 200.0], 1) == (fn.script.started, fn.most)


@asynchronous
def test_core_36_a_failure_starts_the_next_at_once(colour: Async) -> None:
    """A failure that may pass starts the next attempt at that instant, not after the delay."""
    fn = Attempts(colour, Lasts(0.25, ConnectionError), "fine")
    with Recorder(Hedged) as events:
        assert "fine" == colour.call(Hedge(1.0, on=ConnectionError), fn)
    assert [0.0, 0.25] == fn.script.started
    assert [(2, "failed")] == [(event.attempt, event.reason) for event in events.of(Hedged)]


@asynchronous
def test_core_36_a_fatal_failure_cancels_all(colour: Async) -> None:
    """A failure that is not listed ends the call at once: itself is raised, and the other attempts are cancelled."""
    fatal = ValueError("fatal")
    fn = Attempts(colour, Lasts(5.0, "slow"), Lasts(1.0, fatal), Lasts(5.0, "slow"))
    with pytest.raises(ValueError, match="fatal") as caught:
        colour.call(Hedge(0, max_extra=2, on=ConnectionError), fn)
    assert fatal is caught.value
    assert (1.0, 3, 2, 0) == (colour.clock.now(), fn.script.calls, fn.cancelled, fn.running)


@asynchronous
def test_core_36_slow_attempts_are_joined_by_others(colour: Async) -> None:
    """After 20 ms each, two extra: with the first two slow there are three calls and one result."""
    fn = Attempts(colour, Lasts(1.0, "first"), Lasts(1.0, "second"), Lasts(0.01, "third"))
    with Recorder(Hedged) as events:
        assert "third" == colour.call(Hedge(0.02, max_extra=2), fn)
    assert pytest.approx([0.0, 0.02, 0.04]) == fn.script.started
    assert pytest.approx(0.05) == colour.clock.now()
    assert [(2, "slow"), (3, "slow")] == [(event.attempt, event.reason) for event in events.of(Hedged)]


@asynchronous
@pytest.mark.parametrize("after", [0, 0.02, math.inf])
def test_core_36_when_all_fail_one_failure_is_raised(colour: Async, after: float) -> None:
    """When every attempt fails, the error is the very failure of one of them, and all were made."""
    failures = [ConnectionError(number) for number in range(3)]
    fn = Attempts(colour, *(Lasts(0.5, failure) for failure in failures))
    with pytest.raises(ConnectionError) as caught:
        colour.call(Hedge(after, max_extra=2), fn)
    assert caught.value in failures
    assert (3, 0) == (fn.script.calls, fn.running)


@asynchronous
def test_core_36_losers_are_waited_for(colour: Async) -> None:
    """The result comes only when the cancelled attempts have cleaned up, which takes them 0.5 s here."""
    fn = Attempts(colour, Lasts(9.0, "slow"), Lasts(1.0, "fast"), Lasts(9.0, "slow"), cleanup=0.5)
    assert "fast" == colour.call(Hedge(0, max_extra=2), fn)
    assert (1.5, 2, 0) == (colour.clock.now(), fn.cancelled, fn.running)


@asynchronous
@pytest.mark.parametrize("own", [False, True], ids=["close", "dispose"])
def test_core_36_late_results_are_disposed_of(colour: Async, own: bool) -> None:
    """What a loser answers in spite of being cancelled is closed, or given to `dispose`; the winner's result is not."""
    results, disposed = [Result(), Result(), Result()], []
    numbers = iter(range(3))

    async def fn() -> Result:
        number = next(numbers)
        try:
            await asyncio.sleep(1.0 if number == 1 else 9.0)
        except asyncio.CancelledError:
            pass
        return results[number]

    hedge = Hedge(0, max_extra=2, dispose=disposed.append if own else None, name=f"hedge {next(NUMBERS)}")
    assert results[1] is colour.call(hedge, fn)
    assert ([0, 0, 0] if own else [1, 0, 1]) == [result.closed for result in results]
    assert ({results[0], results[2]} if own else set()) == set(disposed)


@asynchronous
def test_core_36_results_of_the_same_instant_are_disposed_of(colour: Async) -> None:
    """Of three attempts that end at the same instant one answers; the results of the other two are closed."""
    results = [Result(), Result(), Result()]
    fn = Attempts(colour, *(Lasts(1.0, result) for result in results))
    winner = colour.call(Hedge(0, max_extra=2), fn)
    assert [int(result is not winner) for result in results] == [result.closed for result in results]


@asynchronous
def test_core_36_the_callers_cancel_reaches_all(colour: Async) -> None:
    """When the caller is cancelled, all three attempts are cancelled and have ended before it ends."""
    fn = Attempts(colour, Held(), cleanup=0.5)
    flight = colour.start(Hedge(0, max_extra=2), fn)
    colour.until(lambda: fn.running == 3)
    flight.cancel("token")
    with pytest.raises(asyncio.CancelledError) as caught:
        colour.end(flight)
    assert ("token",) == caught.value.args
    assert (3, 0) == (fn.cancelled, fn.running)


@asynchronous
def test_core_36_a_learned_delay_needs_samples(colour: Async) -> None:
    """With "p95" from 20 samples on there is no hedging before, and then after what 95 % took."""
    hedge = Hedge("p95", min_samples=20)
    with Recorder(Hedged) as events:
        for number in range(1, 21):
            fn = colour.script(Lasts(float(number), "fine"))
            assert "fine" == colour.call(hedge, fn)
            assert 1 == fn.calls
    assert [] == events.events
    began = colour.clock.now()
    fn = colour.script(Lasts(100.0, "slow"), Lasts(0.5, "fast"))
    assert "fast" == colour.call(hedge, fn)
    assert pytest.approx([began, began + 20.0], abs=1.0) == fn.started


def test_core_36_a_sync_function_cannot_be_hedged() -> None:
    """Decorating a plain function is an error at once."""

    def fn() -> None:
        pass

    with pytest.raises(TypeError, match="async functions only"):
        Hedge()(fn)
