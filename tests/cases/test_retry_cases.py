"""The numbered behaviour cases of retries: time, nesting, cancellation, and what servers ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from seawall import CallTimeoutError, Retry, RetryStopped, Timeout
from seawall._core.retry_after import seconds_of
from seawall.testing import FakeClock, Recorder
from tests.both import NUMBERS, Async, Colour, Held, Lasts, Sync, Threads, both, every, pipeline, run_in

ELEVEN = datetime(2019, 6, 3, 11, tzinfo=UTC).timestamp()
DATES = {
    "3600": 3600.0,
    "Mon, 03 Jun 2019 11:30:12 GMT": 1812.0,
    "Monday, 03-Jun-19 11:30:12 GMT": 1812.0,
    "Mon Jun  3 11:30:12 2019": 1812.0,
    "Mon, 03 Jun 2019 12:00:00 GMT": 3600.0,
    "Mon, 03 Jun 2019 10:59:59 GMT": 0.0,
}


class ThrottledError(Exception):
    """What a client raises for an answer with a Retry-After header."""

    def __init__(self, retry_after: Any) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


@pytest.mark.parametrize(("header", "seconds"), DATES.items())
def test_core_27_a_header_is_read_in_every_form(header: str, seconds: float) -> None:
    """Seconds and the three forms of HTTP dates are read as seconds from 11:00 on; a date in the past is 0."""
    assert seconds == seconds_of(header, ELEVEN)


@every
@pytest.mark.parametrize(("header", "seconds"), DATES.items())
def test_core_27_a_retry_waits_as_asked(colour: Colour, header: str, seconds: float) -> None:
    """The next attempt comes when the header says, or after the own backoff of 2 s where that is longer."""
    colour.clock.set_wall(ELEVEN)
    retry = Retry(on=ThrottledError, backoff=2.0, max_retry_after=21600, max_elapsed=None)
    fn = colour.script(ThrottledError(header), "fine")
    assert "fine" == colour.call(retry, fn)
    assert [0.0, max(2.0, seconds)] == fn.started


@every
def test_core_27_with_the_header_off_the_backoff_rules(colour: Colour) -> None:
    """With retry_after=False the header is not looked at, however long it asks for."""
    fn = colour.script(ThrottledError("3600"), ThrottledError("21601"), "fine")
    assert "fine" == colour.call(Retry(on=ThrottledError, backoff=2.0, retry_after=False), fn)
    assert [0.0, 2.0, 4.0] == fn.started


@every
def test_core_27_up_to_the_cap_it_waits(colour: Colour) -> None:
    """With a cap of 21600 s, a header of 21600 is honoured."""
    fn = colour.script(ThrottledError("21600"), "fine")
    assert "fine" == colour.call(Retry(on=ThrottledError, max_retry_after=21600, max_elapsed=None), fn)
    assert [0.0, 21600.0] == fn.started


@every
def test_core_27_above_the_cap_it_stops(colour: Colour) -> None:
    """With a cap of 21600 s, a header of 21601 ends the retrying at once, with the last failure itself."""
    last = ThrottledError("21601")
    fn = colour.script(ThrottledError("1"), last, "fine")
    retry = Retry(on=ThrottledError, max_attempts=5, backoff=1.0, max_retry_after=21600, max_elapsed=None)
    with Recorder(RetryStopped) as events, pytest.raises(ThrottledError) as caught:
        colour.call(retry, fn)
    assert last is caught.value
    assert ([0.0, 1.0], 1.0) == (fn.started, colour.clock.now())
    assert ["retry_after"] == [event.reason for event in events.of(RetryStopped)]


@every
def test_core_28_the_time_for_all_attempts_ends_the_retrying(colour: Colour) -> None:
    """With 0.1 s for all, a second attempt that lasts 0.12 s is the last one: two calls, the second's failure."""
    last = ConnectionError("the second")
    fn = colour.script(ConnectionError("the first"), Lasts(0.12, last))
    retry = Retry(on=ConnectionError, max_attempts=10, backoff=0.0, max_elapsed=0.1)
    with pytest.raises(ConnectionError) as caught:
        colour.call(retry, fn)
    assert last is caught.value
    assert 2 == fn.calls


@run_in(Async)
def test_core_28_a_total_timeout_cuts_the_delay(colour: Async) -> None:
    """A time-out of 0.1 s around a delay of 1 s: one attempt, the time-out at 0.1 s, the sleep cancelled."""
    calls = pipeline(Timeout(0.1), Retry(on=ConnectionError, backoff=1.0))
    fn = colour.script(ConnectionError)
    with pytest.raises(CallTimeoutError):
        colour.call(calls, fn)
    assert [0.0] == fn.started
    assert ([1.0], pytest.approx(0.1)) == (colour.clock.slept, colour.clock.now())


@run_in(Sync, Threads)
def test_core_28_a_delay_that_does_not_fit_a_deadline_is_not_begun(colour: Colour) -> None:
    """Where the retry can see what is left (a sync time-out hands a deadline down), the last failure comes at once."""
    calls = pipeline(Timeout(0.1), Retry(on=ConnectionError, backoff=1.0))
    last = ConnectionError()
    fn = colour.script(last)
    with pytest.raises(ConnectionError) as caught:
        colour.call(calls, fn)
    assert last is caught.value
    assert ([0.0], [], 0.0) == (fn.started, colour.clock.slept, colour.clock.now())


def nested(colour: Colour, form: str, outer: Retry, inner: Retry, fn: Any) -> Callable[[], Any]:
    """Returns what makes one call through two retries, in one pipeline or as two decorators."""
    outer.call_it(f"outer {next(NUMBERS)}")  # else both take the name of the function, which is warned of
    if form == "decorators":
        decorated = inner(fn)
        return lambda: colour.call(outer, decorated)
    calls = pipeline(outer, inner, Timeout(10))
    return lambda: colour.call(calls, fn)


@every
@pytest.mark.parametrize("form", ["pipeline", "decorators"])
def test_core_29_nested_retries_add(colour: Colour, form: str) -> None:
    """Ten retries outside, one inside, five failures: six calls, and success."""
    outer = Retry(on=ConnectionError, max_attempts=11, backoff=0.0)
    inner = Retry(on=ConnectionError, max_attempts=2, backoff=0.0)
    fn = colour.script(*[ConnectionError] * 5, "fine")
    assert "fine" == nested(colour, form, outer, inner, fn)()
    assert 6 == fn.calls


@every
@pytest.mark.parametrize("form", ["pipeline", "decorators"])
def test_core_29_nested_retries_never_multiply(colour: Colour, form: str) -> None:
    """Three attempts within three, always failing: five calls, never nine; and five again for the next call."""
    fn = colour.script(ConnectionError)
    call = nested(colour, form, Retry(on=ConnectionError), Retry(on=ConnectionError), fn)
    for calls in (5, 10):
        with pytest.raises(ConnectionError):
            call()
        assert calls == fn.calls


@run_in(Async)
@pytest.mark.parametrize("children", [1, 3])
def test_core_29_child_tasks_share_the_record(colour: Async, children: int) -> None:
    """What a child task has spent is known to the outer retry, and to the children of its later attempts.

    Those of the first attempt cannot know of one another: there is no record before the first failure.
    """
    outer = Retry(on=ConnectionError, backoff=1.0, name=f"outer {next(NUMBERS)}")
    inner = Retry(on=ConnectionError, backoff=0.5)
    fn = colour.script(ConnectionError)
    protected = inner(fn)

    async def body() -> None:
        failures = await asyncio.gather(*(protected() for _ in range(children)), return_exceptions=True)
        raise failures[0]

    with pytest.raises(ConnectionError):
        colour.call(outer, body)
    assert 3 * children + 2 * children == fn.calls


NEVER: list[Any] = [
    BaseException,
    asyncio.CancelledError,
    lambda error: True,
    lambda error: not isinstance(error, ValueError),
    lambda error: isinstance(error, BaseException),
]


@every
@pytest.mark.parametrize("on", NEVER, ids=["base", "cancelled", "any", "negated", "isinstance"])
@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_core_31_cancellation_is_never_retried(colour: Colour, on: Any, kind: type[BaseException]) -> None:
    """Whatever `on` says, a cancelled or interrupted call is not repeated, and the very exception is passed on."""
    stop = kind("stop")
    fn = colour.script(stop, "fine")
    with pytest.raises(kind) as caught:
        colour.call(Retry(on=on, backoff=0.0), fn)
    assert stop is caught.value
    assert 1 == fn.calls


@both
@pytest.mark.parametrize("on", NEVER, ids=["base", "cancelled", "any", "negated", "isinstance"])
@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_core_31_cancellation_ends_the_loop_form_too(colour: Colour, on: Any, kind: type[BaseException]) -> None:
    """In the loop form the very exception leaves the block, and there is no further attempt."""
    stop, numbers = kind("stop"), []
    retry = Retry(on=on, backoff=0.0)

    def body() -> None:
        for attempt in retry.attempts():
            with attempt:
                numbers.append(attempt.number)
                raise stop

    async def abody() -> None:
        async for attempt in retry.attempts():
            with attempt:
                numbers.append(attempt.number)
                raise stop

    with pytest.raises(kind) as caught:
        colour.call(Timeout(60, name=f"around {next(NUMBERS)}"), abody if isinstance(colour, Async) else body)
    assert stop is caught.value
    assert [1] == numbers


def under_way(colour: Async, fn: Any) -> Any:
    """Begins a call of `fn` with two retries, a second apart, that handles whatever it may."""
    return colour.start(pipeline(Retry(on=lambda error: True, backoff=1.0), Timeout(20)), fn)


def cancelled_with(colour: Async, flight: Any) -> tuple[Any, ...]:
    """Returns what the caller gave with the cancellation in which the call ends."""
    with pytest.raises(asyncio.CancelledError) as caught:
        colour.end(flight)
    return caught.value.args


@run_in(Async)
def test_core_31_cancelled_before_nothing_is_called(colour: Async) -> None:
    """A task that is cancelled before it runs makes no call."""
    fn = colour.script("fine")
    flight = under_way(colour, fn)
    flight.cancel("token")
    assert ("token",) == cancelled_with(colour, flight)
    assert 0 == fn.calls


@run_in(Async)
def test_core_31_cancelled_during_an_attempt_there_is_no_other(colour: Async) -> None:
    """A task that is cancelled during its first attempt makes no second one, and keeps the canceller's message."""
    fn = colour.script(Held(), "fine")
    flight = under_way(colour, fn)
    colour.until(lambda: fn.calls == 1)
    flight.cancel("token")
    assert ("token",) == cancelled_with(colour, flight)
    assert 1 == fn.calls


@run_in(Async)
def test_core_31_cancelled_during_the_delay_there_is_no_other_attempt(colour: Async) -> None:
    """A task that is cancelled between two attempts has made one call, at no further time."""
    fn = colour.script(ConnectionError, "fine")
    flight = under_way(colour, fn)
    colour.until(lambda: [1.0] == colour.clock.slept)
    flight.cancel("token")
    assert ("token",) == cancelled_with(colour, flight)
    assert ([0.0], 0.0) == (fn.started, colour.clock.now())


def test_core_31_interrupted_during_a_sync_delay_there_is_no_other_attempt() -> None:
    """A thread that is interrupted between two attempts has made one call, and raises the very interrupt."""
    interrupt, calls = KeyboardInterrupt("token"), []

    class Interrupted(FakeClock):
        def sleep(self, seconds: float) -> None:
            raise interrupt

    @Retry(on=lambda error: True, backoff=1.0, clock=Interrupted())
    def fn() -> None:
        calls.append(1)
        raise ConnectionError

    with pytest.raises(KeyboardInterrupt) as caught:
        fn()
    assert interrupt is caught.value
    assert [1] == calls


@both
def test_core_31_a_failed_call_keeps_its_exception(colour: Colour) -> None:
    """What is raised at the end is the last failure itself, never wrapped."""
    failures = [ConnectionError(number) for number in range(3)]
    with pytest.raises(ConnectionError) as caught:
        colour.call(Retry(on=ConnectionError, backoff=1.0), colour.script(*failures))
    assert failures[2] is caught.value
