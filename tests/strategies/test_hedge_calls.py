"""Hedge: when another attempt starts, who wins, learned delays, and what becomes of late results."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from seawall import BudgetRefused, Hedge, Hedged, Pipeline, Retry, RetryBudget, Timeout
from seawall.testing import FakeClock, Recorder

Attempt = tuple[float, Any]
"""How long an attempt lasts, and its result or exception."""


class Scene:
    """A hedged function whose attempts last so long and end so; keeps the instants at which they began and ended."""

    def __init__(self, *attempts: Attempt) -> None:
        self.attempts = list(attempts)
        self.begun: list[float] = []
        self.cancelled = 0
        self.clock = FakeClock()

    async def __call__(self) -> Any:
        """One attempt."""
        self.begun.append(self.clock.now())
        lasting, result = self.attempts.pop(0)
        try:
            await asyncio.sleep(lasting)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(result, BaseException):
            raise result
        return result

    def run(self, hedge: Hedge) -> Any:
        """Makes one hedged call; no task is left behind."""

        async def main() -> Any:
            self.clock.drive(asyncio.get_running_loop())
            try:
                return await hedge(self)()
            finally:
                assert {asyncio.current_task()} == asyncio.all_tasks()

        with self.clock:
            return asyncio.run(main())


def test_a_slow_attempt_is_joined_by_another() -> None:
    """After the delay; the first answer wins, the loser is cancelled; the event says why."""
    scene = Scene((10, "slow"), (1, "quick"))
    with Recorder() as events:
        assert "quick" == scene.run(Hedge(2, name="joined"))
    assert ([0.0, 2.0], 1, 3.0) == (scene.begun, scene.cancelled, scene.clock.now())
    assert [("joined", 2, "slow")] == [(event.name, event.attempt, event.reason) for event in events.of(Hedged)]


def test_the_first_attempt_may_still_win() -> None:
    """The extra one is cancelled then."""
    scene = Scene((3, "first"), (10, "second"))
    assert "first" == scene.run(Hedge(2, name="still wins"))
    assert (1, 3.0) == (scene.cancelled, scene.clock.now())


def test_a_quick_call_is_not_hedged() -> None:
    """One attempt, no event."""
    scene = Scene((1.9, "only"))
    with Recorder() as events:
        assert "only" == scene.run(Hedge(2, name="quick call"))
    assert [] == events.events


def test_a_failure_starts_the_next_attempt_at_once() -> None:
    """Without waiting for the delay; the event says that it failed."""
    scene = Scene((1, OSError("one")), (1, "two"))
    with Recorder() as events:
        assert "two" == scene.run(Hedge(60, on=OSError, name="failed first"))
    assert [0.0, 1.0] == scene.begun
    assert ["failed"] == [event.reason for event in events.of(Hedged)]


def test_a_failure_that_is_not_listed_ends_the_call() -> None:
    """Others still running are cancelled."""
    scene = Scene((10, "slow"), (1, KeyError("fatal")))
    with pytest.raises(KeyError, match="fatal"):
        scene.run(Hedge(2, on=OSError, max_extra=5, name="fatal"))
    assert (1, 2) == (scene.cancelled, len(scene.begun))


def test_when_all_attempts_fail_the_last_failure_is_raised() -> None:
    """All of them were made."""
    scene = Scene((1, OSError("one")), (1, OSError("two")), (1, OSError("three")))
    with pytest.raises(OSError, match="three"):
        scene.run(Hedge(60, max_extra=2, name="all fail"))
    assert [0.0, 1.0, 2.0] == scene.begun


def test_an_infinite_delay_hedges_only_after_failures() -> None:
    """Never two attempts at once."""
    scene = Scene((100, OSError()), (100, "second"))
    assert "second" == scene.run(Hedge(math.inf, name="infinite delay"))
    assert [0.0, 100.0] == scene.begun


def test_a_refused_budget_goes_on_without() -> None:
    """The slow attempt answers; budget and event are as for a Retry."""
    budget = RetryBudget(0, 0, name="no hedges")
    scene = Scene((10, "slow"))
    with Recorder() as events:
        assert "slow" == scene.run(Hedge(2, budget=budget, max_extra=3, name="refused hedge"))
    assert [("refused hedge", "no hedges")] == [(event.name, event.budget) for event in events.of(BudgetRefused)]
    assert ([0.0], 0, 0) == (scene.begun, budget.calls, budget.retries)


def test_a_budget_has_everything_back_afterwards() -> None:
    """Whether the call ends well, with a failure or cancelled."""
    budget = RetryBudget()
    hedge = Hedge(1, budget=budget, name="gives back")
    assert "quick" == Scene((10, "slow"), (1, "quick")).run(hedge)
    with pytest.raises(OSError, match="b"):
        Scene((1, OSError("a")), (1, OSError("b"))).run(hedge)
    assert (0, 0) == (budget.calls, budget.retries)


def test_a_learned_delay_needs_samples() -> None:
    """None before `min_samples` successes; then that quantile of how long attempts took; failures teach nothing."""
    hedge = Hedge("p50", min_samples=3, name="learned")
    for lasting in (4, 2):
        assert math.inf == hedge.delay()
        Scene((lasting, "ok")).run(hedge)
    with pytest.raises(OSError, match="b"):
        Scene((1, OSError("a")), (1, OSError("b"))).run(hedge)
    assert math.inf == hedge.delay()
    Scene((3, "ok")).run(hedge)
    assert 3.0 == hedge.delay()
    scene = Scene((10, "slow"), (1, "quick"))
    assert "quick" == scene.run(hedge)
    assert [0.0, 3.0] == scene.begun


@pytest.mark.parametrize(("after", "delay"), [("p1", 1.0), ("p50", 51.0), ("p95", 96.0), ("p99", 100.0)])
def test_which_quantile_is_learned(after: str, delay: float) -> None:
    """Of 100 attempts that took 1 to 100 s."""
    hedge = Hedge(after, name=f"quantile {after}")
    for duration in range(1, 101):
        hedge.learn(float(duration))
    hedge._durations._fresh = 0  # type: ignore[union-attr]
    assert delay == pytest.approx(hedge.delay(), abs=1)


def closing(log: list[str], kind: str) -> Any:
    """Returns a result that is closed in one of three ways, and logs it."""

    class Closes:
        def close(self) -> None:
            log.append("close")

    class AsyncCloses(Closes):
        async def aclose(self) -> None:
            log.append("aclose")

    return {"close": Closes, "aclose": AsyncCloses, "nothing": object}[kind]()


def both_answer(hedge: Hedge, winner: Any, loser: Any) -> Any:
    """Makes a call whose loser answers although it is cancelled."""

    async def stubborn() -> Any:
        if begun:
            await asyncio.sleep(1)
            return winner
        begun.append(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return loser

    async def main() -> Any:
        return await hedge(stubborn)()

    begun: list[int] = []
    with FakeClock():
        return asyncio.run(main())


@pytest.mark.parametrize("kind", ["close", "aclose", "nothing"])
def test_a_late_result_is_closed(kind: str) -> None:
    """By `aclose` where it has one, else `close`; what cannot be closed is dropped."""
    log: list[str] = []
    assert 5 == both_answer(Hedge(2, name=f"late {kind}"), 5, closing(log, kind))
    assert ([] if kind == "nothing" else [kind]) == log


def test_a_late_result_may_be_disposed_of_by_hand() -> None:
    """By a function or an async function, instead of closing it."""
    log: list[object] = []

    async def later(result: object) -> None:
        log.append(("async", result))

    disposals: list[Callable[[Any], Any]] = [lambda result: log.append(("sync", result)), later]
    for number, dispose in enumerate(disposals):
        assert 5 == both_answer(Hedge(2, dispose=dispose, name=f"by hand {number}"), 5, 6)
    assert [("sync", 6), ("async", 6)] == log


def test_an_error_in_disposing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It does not spoil the answer."""
    with caplog.at_level(logging.ERROR, "seawall"):
        assert 5 == both_answer(Hedge(2, dispose=lambda result: 1 / 0, name="faulty disposal"), 5, 6)
    assert ["'faulty disposal' could not dispose of a late result"] == [record.message for record in caplog.records]


def test_each_attempt_goes_through_what_is_inside() -> None:
    """Time-outs hold for each attempt; a Retry outside begins the race anew."""
    scene = Scene((60, ""), (60, ""), (60, ""), (1, "fourth"))
    races = Pipeline("races", Retry(on=TimeoutError, backoff=0), Hedge(2), Timeout(5))

    async def main() -> Any:
        return await races.acall(scene)

    with scene.clock:
        assert "fourth" == asyncio.run(main())
    assert [0.0, 2.0] == scene.begun[:2]
    assert 4 == len(scene.begun)
