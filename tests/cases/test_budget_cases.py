"""The numbered behaviour case of retry budgets."""

from __future__ import annotations

from typing import Any

import pytest

from seawall import BudgetRefused, Hedge, Hedged, Retry, RetryBudget, RetryStopped
from seawall.testing import Recorder
from tests.both import Async, Colour, Held, Lasts, concurrent, every, run_in


@concurrent
def test_core_34_a_second_retry_is_refused(colour: Any) -> None:
    """Half a retry per call, at least one: with two calls in flight and one retry running, another is refused."""
    budget = RetryBudget(rate=0.5, min_concurrent=1)
    retry, other = (Retry(on=ConnectionError, backoff=0.0, budget=budget) for _ in range(2))
    held, last = Held("fine"), ConnectionError("the last")
    retrying, refused = colour.script(ConnectionError, held), colour.script(last, "fine")
    flight = colour.start(retry, retrying)
    colour.until(lambda: retrying.calls == 2)
    assert (1, 1) == (budget.calls, budget.retries)
    seen: list[tuple[int, int]] = []
    other.listen(lambda event: seen.append((budget.calls, budget.retries)), BudgetRefused)
    with Recorder(BudgetRefused, RetryStopped) as events, pytest.raises(ConnectionError) as caught:
        colour.call(other, refused)
    assert last is caught.value
    assert (1, [(2, 1)]) == (refused.calls, seen)
    assert [budget.name] == [event.budget for event in events.of(BudgetRefused)]
    assert ["budget"] == [event.reason for event in events.of(RetryStopped)]
    held.let_go()
    assert "fine" == colour.end(flight)
    assert (0, 0) == (budget.calls, budget.retries)


@concurrent
def test_core_34_a_retry_that_has_ended_makes_room(colour: Any) -> None:
    """Once the running retry has ended, the next call may retry again."""
    budget = RetryBudget(rate=0.5, min_concurrent=1)
    retry = Retry(on=ConnectionError, backoff=1.0, budget=budget)
    for _ in range(3):
        assert "fine" == colour.call(retry, colour.script(ConnectionError, "fine"))
    assert (0, 0) == (budget.calls, budget.retries)


@run_in(Async)
def test_core_34_a_refused_hedge_leaves_the_original(colour: Async) -> None:
    """A hedge that the budget refuses is not started; the original's result is returned all the same."""
    budget = RetryBudget(rate=0.5, min_concurrent=1)
    retry, hedge = Retry(on=ConnectionError, backoff=0.0, budget=budget), Hedge(0.02, max_extra=2, budget=budget)
    held = Held("fine")
    retrying, slow = colour.script(ConnectionError, held), colour.script(Lasts(1.0, "the original's"))
    flight = colour.start(retry, retrying)
    colour.until(lambda: retrying.calls == 2)
    with Recorder(BudgetRefused, Hedged) as events:
        assert "the original's" == colour.call(hedge, slow)
    assert (1, 1.0) == (slow.calls, pytest.approx(colour.clock.now()))
    assert (0, 1) == (len(events.of(Hedged)), len(events.of(BudgetRefused)))
    held.let_go()
    assert "fine" == colour.end(flight)
    assert (0, 0) == (budget.calls, budget.retries)


@every
def test_core_34_the_floor_allows_a_retry(colour: Colour) -> None:
    """One retry per call, at least two: a single call in flight may retry."""
    budget = RetryBudget(rate=1.0, min_concurrent=2)
    fn = colour.script(ConnectionError, "fine")
    with Recorder(BudgetRefused) as events:
        assert "fine" == colour.call(Retry(on=ConnectionError, budget=budget), fn)
    assert (2, []) == (fn.calls, events.events)


@run_in(Async)
def test_core_34_the_floor_is_above_the_rate(colour: Async) -> None:
    """With one call in flight the floor allows two hedges, which the rate of 1.0 would not, and no third one."""
    budget = RetryBudget(rate=1.0, min_concurrent=2)
    fn = colour.script(Lasts(1.0, "fine"))
    with Recorder(BudgetRefused) as events:
        assert "fine" == colour.call(Hedge(0, max_extra=3, budget=budget), fn)
    assert (3, 1) == (fn.calls, len(events.events))
    assert (0, 0) == (budget.calls, budget.retries)
