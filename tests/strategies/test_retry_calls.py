"""Retry around calls: results that fail, hints from servers, delays of one's own, and the bounds on time."""

import asyncio
import logging
import math
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from seawall import (
    Backoff,
    BudgetRefused,
    BulkheadFullError,
    CircuitOpenError,
    RateLimitedError,
    Recovered,
    RejectedError,
    Retried,
    Retry,
    RetryBudget,
    RetryStopped,
)
from seawall.testing import FakeClock, Recorder

Answers = list[Any]


class BusyError(Exception):
    """A failure with a hint."""

    def __init__(self, retry_after: object) -> None:
        super().__init__(f"busy: {retry_after!r}")
        self.retry_after = retry_after


def ask(retry: Retry, answers: Answers, colour: str) -> Any:
    """Calls a function that gives each answer in turn, raising those that are exceptions."""

    def answer() -> Any:
        given = answers.pop(0)
        if isinstance(given, BaseException):
            raise given
        return given

    async def aanswer() -> Any:
        return answer()

    return retry(answer)() if colour == "sync" else asyncio.run(_of(retry(aanswer)))


async def _of(fn: Callable[[], Any]) -> Any:
    return await fn()


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def test_a_bad_result_is_retried_until_it_is_good(colour: str) -> None:
    """The events show the result that failed."""
    with FakeClock() as clock, Recorder() as events:
        retry = Retry(on=(), on_result=lambda result: result < 3, backoff=1, max_attempts=5, name=f"good {colour}")
        assert 3 == ask(retry, [1, 2, 3], colour)
    assert [1.0, 1.0] == clock.slept
    assert [(1, 1.0, None, 1), (2, 1.0, None, 2)] == [
        (event.attempt, event.delay, event.failure, event.result) for event in events.of(Retried)
    ]
    assert [3] == [event.attempts for event in events.of(Recovered)]


def test_the_last_bad_result_is_returned(colour: str) -> None:
    """A result is an answer: when the attempts are used up, it is what the caller gets."""
    with FakeClock(), Recorder() as events:
        retry = Retry(on=(), on_result=lambda result: True, backoff=0, name=f"last bad {colour}")
        assert "c" == ask(retry, ["a", "b", "c"], colour)
    assert [(3, "attempts", None, "c")] == [
        (event.attempts, event.reason, event.failure, event.result) for event in events.of(RetryStopped)
    ]


def test_failures_and_bad_results_count_together(colour: str) -> None:
    """The last of them decides whether the caller gets an exception or a result."""
    with FakeClock():
        retry = Retry(on=OSError, on_result=lambda result: result is None, backoff=0, name=f"mixed {colour}")
        assert None is ask(retry, [OSError(1), None, None], colour)
        with pytest.raises(OSError, match="3"):
            ask(retry, [None, OSError(2), OSError(3)], colour)


def test_an_error_of_the_predicate_is_the_callers(colour: str) -> None:
    """What `on_result` raises is not hidden, and not retried."""
    with FakeClock(), pytest.raises(ZeroDivisionError):
        ask(Retry(on=OSError, on_result=lambda result: 1 / result, name=f"faulty {colour}"), [0], colour)


@pytest.mark.parametrize(
    ("hint", "delay"),
    [
        (5, 5.0),
        (2.5, 2.5),
        (timedelta(seconds=7), 7.0),
        ("4", 4.0),
        (" 4 ", 4.0),
        ("0", 1.0),
        (0.25, 1.0),
        (30, 30.0),
        (math.nan, 1.0),
        (math.inf, 1.0),
        (-5, 1.0),
        ("-5", 1.0),
        ("soon", 1.0),
        ("", 1.0),
        (None, 1.0),
        (True, 1.0),
        (object(), 1.0),
        ("Sun, 15 Jun 2025 15:06:50 GMT", 10.0),
        ("Sunday, 15-Jun-25 15:06:50 GMT", 10.0),
        ("Sun Jun 15 15:06:50 2025", 10.0),
        ("Sun, 15 Jun 2025 15:06:30 GMT", 1.0),
        ("Sun, 32 Jun 2025 15:06:50 GMT", 1.0),
    ],
)
def test_a_failures_hint_is_the_least_delay(hint: object, delay: float) -> None:
    """Seconds, a timedelta, header text in every form; what says nothing leaves the own delay of 1 s."""
    with FakeClock() as clock:
        assert 1_750_000_000.0 == clock.wall()  # 2025-06-15 15:06:40 UTC
        assert "ok" == ask(Retry(on=BusyError, backoff=1, name=f"hint {hint!r:.30}"), [BusyError(hint), "ok"], "sync")
    assert [delay] == clock.slept


@pytest.mark.parametrize("hint", [31, 30.001, "31", timedelta(minutes=1), "Sun, 15 Jun 2025 15:10:00 GMT"])
def test_a_hint_above_the_cap_ends_the_retrying(colour: str, hint: object) -> None:
    """Sleeping less than asked would be rude, sleeping longer than allowed useless: the failure is passed on."""
    failure = BusyError(hint)
    with FakeClock() as clock, Recorder() as events, pytest.raises(BusyError) as caught:
        ask(Retry(on=BusyError, backoff=1, name=f"cap {colour} {hint!r}"), [failure], colour)
    assert failure is caught.value
    assert [] == clock.slept
    assert [(1, "retry_after")] == [(event.attempts, event.reason) for event in events.of(RetryStopped)]


def test_hints_can_be_left_aside() -> None:
    """With `retry_after=False` the own delays hold, even where the hint is above the cap."""
    with FakeClock() as clock:
        ask(Retry(on=BusyError, backoff=1, retry_after=False, name="aside"), [BusyError(500), "ok"], "sync")
    assert [1.0] == clock.slept


def test_a_hint_may_be_as_long_as_told() -> None:
    """With an infinite cap for hints only `max_elapsed` bounds them."""
    with FakeClock() as clock:
        retry = Retry(on=BusyError, backoff=1, max_retry_after=math.inf, max_elapsed=None, name="as long")
        ask(retry, [BusyError(5000), "ok"], "sync")
    assert [5000.0] == clock.slept


def test_a_rejection_is_retried_only_where_it_is_listed() -> None:
    """`Exception` does not list it; its class or RejectedError does; a predicate is not asked."""
    rejection = BulkheadFullError("elsewhere", None)
    for number, on in enumerate((Exception, lambda error: True, CircuitOpenError, OSError)):
        with FakeClock() as clock, pytest.raises(BulkheadFullError):
            ask(Retry(on=on, backoff=1, name=f"not listed {number}"), [rejection], "sync")
        assert [] == clock.slept
    for number, on in enumerate((BulkheadFullError, RejectedError, (OSError, RejectedError))):
        with FakeClock() as clock:
            ask(Retry(on=on, backoff=1, name=f"listed {number}"), [rejection, "ok"], "sync")
        assert [1.0] == clock.slept


def test_the_hint_of_a_rejection_is_no_servers_word() -> None:
    """Our own limiter's `retry_after` neither lengthens the delay nor ends the retrying."""
    with FakeClock() as clock:
        retry = Retry(on=RejectedError, backoff=1, name="own word")
        ask(retry, [RateLimitedError("elsewhere", 500.0), "ok"], "sync")
    assert [1.0] == clock.slept


def test_delays_from_a_function() -> None:
    """It is asked with the retry's number, from 1; what is negative, infinite, NaN or too large is made usable."""
    asked: list[int] = []
    delays = [2.0, -1.0, math.nan, math.inf, 0]

    def backoff(number: int) -> float:
        asked.append(number)
        return delays[number - 1]

    with FakeClock() as clock:
        retry = Retry(on=OSError, backoff=backoff, max_attempts=6, max_elapsed=None, name="function")
        ask(retry, [OSError()] * 5 + ["ok"], "sync")
    assert [1, 2, 3, 4, 5] == asked
    assert [2.0, 3600.0, 3600.0] == clock.slept


def test_delays_from_a_function_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is passed on, and the function's own error is logged."""
    with (
        FakeClock(),
        Recorder() as events,
        caplog.at_level(logging.ERROR, "seawall"),
        pytest.raises(OSError, match="mine"),
    ):
        ask(Retry(on=OSError, backoff=lambda number: 1 / 0, name="raises"), [OSError("mine")], "sync")
    assert ["backoff"] == [event.reason for event in events.of(RetryStopped)]
    assert ["backoff of 'raises' raised; the failure is passed on"] == [record.message for record in caplog.records]


def test_no_delay_that_does_not_fit_is_begun(colour: str) -> None:
    """The last failure is raised at once, not after a sleep in vain."""
    retry = Retry(on=OSError, backoff=Backoff.listed(3, 8), max_attempts=9, max_elapsed=10, name=f"fits {colour}")
    with FakeClock() as clock, Recorder() as events, pytest.raises(OSError, match="second"):
        ask(retry, [OSError("first"), OSError("second")], colour)
    assert [3.0] == clock.slept
    assert 3.0 == clock.now()
    assert [("elapsed", 2, 3.0)] == [(event.reason, event.attempts, event.elapsed) for event in events.of(RetryStopped)]


def test_a_delay_that_just_fits_is_slept() -> None:
    """The bound is inclusive."""
    with FakeClock() as clock:
        retry = Retry(on=OSError, backoff=5, max_elapsed=10, max_attempts=3, name="just fits")
        assert "ok" == ask(retry, [OSError(), OSError(), "ok"], "sync")
    assert [5.0, 5.0] == clock.slept


def test_the_failure_keeps_a_note_of_the_attempts(colour: str) -> None:
    """The exception itself is raised; its note says who gave up, when and why; only the last note is kept."""
    failure = OSError("down")
    with FakeClock():
        retry = Retry(on=OSError, backoff=2, name=f"noted {colour}")
        for _ in range(2):
            with pytest.raises(OSError, match="down") as caught:
                ask(retry, [failure] * 3, colour)
            assert failure is caught.value
    assert [f"seawall: 'noted {colour}' gave up after attempt 3 and 4 s (attempts)"] == failure.__notes__


def test_a_failure_that_is_not_retried_keeps_no_note(colour: str) -> None:
    """It has nothing to do with the Retry."""
    with FakeClock(), Recorder() as events, pytest.raises(KeyError) as caught:
        ask(Retry(on=OSError, name=f"no note {colour}"), [KeyError("mine")], colour)
    assert not hasattr(caught.value, "__notes__")
    assert [] == events.events


def test_one_attempt_is_none_more(colour: str) -> None:
    """`max_attempts=1` never sleeps."""
    with FakeClock() as clock, pytest.raises(OSError, match="only"):
        ask(Retry(on=OSError, max_attempts=1, name=f"one {colour}"), [OSError("only")], colour)
    assert [] == clock.slept


def test_a_refused_budget_passes_the_failure_on() -> None:
    """The event names the budget; nothing is slept, and nothing stays in flight."""
    budget = RetryBudget(0, 0, name="none left")
    with FakeClock() as clock, Recorder() as events, pytest.raises(OSError, match="first"):
        ask(Retry(on=OSError, budget=budget, name="refused"), [OSError("first")], "sync")
    assert [] == clock.slept
    assert [("refused", "none left")] == [(event.name, event.budget) for event in events.of(BudgetRefused)]
    assert ["budget"] == [event.reason for event in events.of(RetryStopped)]
    assert (0, 0) == (budget.calls, budget.retries)


def test_jitter_comes_from_the_given_chance() -> None:
    """A seeded Random makes delays repeatable; a function will do as well."""
    delays = []
    for number, rng in enumerate((random.Random(7), random.Random(7).random)):
        with FakeClock() as clock:
            retry = Retry(on=OSError, backoff=Backoff.fixed(1, jitter="full"), rng=rng, name=f"chance {number}")
            ask(retry, [OSError(), OSError(), "ok"], "sync")
        delays.append(clock.slept)
    chance = random.Random(7)
    assert [[chance.random(), chance.random()]] * 2 == delays


def test_a_sync_retry_refuses_to_block_an_event_loop() -> None:
    """It would stall every task; without a delay it may go on."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="would block the event loop"):
            ask(Retry(on=OSError, backoff=1, name="blocks"), [OSError(), "ok"], "sync")
        assert "ok" == ask(Retry(on=OSError, backoff=0, name="does not block"), [OSError(), "ok"], "sync")

    asyncio.run(main())
