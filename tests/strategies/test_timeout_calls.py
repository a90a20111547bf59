"""Timeout: sync calls under a deadline that they see, async calls cut short, and blocks of both kinds."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from seawall import (
    CallOverran,
    CallTimedOut,
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    Pipeline,
    Retry,
    Timeout,
    deadline,
    remaining,
)
from seawall.testing import FakeClock, Recorder


def test_a_sync_call_sees_the_time_left() -> None:
    """`remaining()` within it, counted down; nothing outside."""
    with FakeClock() as clock:

        @Timeout(timedelta(seconds=5))
        def work() -> list[float | None]:
            seen = [remaining()]
            clock.advance(2)
            return [*seen, remaining()]

        assert [5.0, 3.0] == work()
        assert None is remaining()


def test_a_late_sync_result_is_passed_on_with_an_event() -> None:
    """It cannot be cut short: the result is worth having, and the lateness worth knowing."""
    with FakeClock() as clock, Recorder() as events:

        @Timeout(5, name="late result")
        def work() -> str:
            clock.advance(7)
            return "late"

        assert "late" == work()
    assert [("late result", 5.0, 7.0)] == [(event.name, event.limit, event.took) for event in events.of(CallOverran)]
    assert ["'late result': took 7 s, over its limit of 5 s"] == [str(event) for event in events.events]


def test_a_sync_call_within_its_time_makes_no_event() -> None:
    """Exactly at the limit is still in time."""
    with FakeClock() as clock, Recorder() as events:
        Timeout(5, name="in time")(clock.advance)(5)
    assert [] == events.events


def test_a_late_sync_failure_is_passed_on() -> None:
    """The callee's own exception, untouched, and the overrun."""
    with FakeClock() as clock, Recorder() as events:

        @Timeout(5, name="late failure")
        def work() -> None:
            clock.advance(7)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            work()
    assert [CallOverran("late failure", 5.0, 7.0)] == events.events


def test_a_call_below_that_is_refused_by_our_limit_is_our_time_out() -> None:
    """The refused call's error is the cause; the one under the time-out did run, so its breaker counts a failure."""
    with FakeClock() as clock, Recorder() as events:
        inner = Pipeline("inner call")
        breaker = CircuitBreaker(failures=9, window_calls=9)
        outer = Pipeline("outer call", breaker, Timeout(5))

        def work() -> None:
            clock.advance(6)
            inner.call(pytest.fail, "was called after the deadline")

        with pytest.raises(CallTimeoutError) as caught:
            outer.call(work)
    assert ("outer call.timeout", 5.0, False) == (caught.value.name, caught.value.limit, caught.value.by_deadline)
    assert isinstance(caught.value.__cause__, DeadlineExceededError)
    assert "inner call" == caught.value.__cause__.name
    assert 1 == breaker.snapshot().failures
    assert [CallTimedOut("outer call.timeout", 5.0)] == events.of(CallTimedOut)


def test_a_call_below_that_is_refused_by_a_shorter_deadline_around_us_is_not_ours() -> None:
    """The deadline belongs to whoever set it: its error passes, and the breaker counts nothing."""
    with FakeClock() as clock:
        inner = Pipeline("refused below")
        breaker = CircuitBreaker(failures=9, window_calls=9)
        outer = Pipeline("not ours", breaker, Timeout(60))

        def work() -> None:
            clock.advance(6)
            inner.call(pytest.fail, "was called after the deadline")

        with deadline(5), pytest.raises(DeadlineExceededError):
            outer.call(work)
    assert (0, 0) == (breaker.snapshot().calls, breaker.snapshot().failures)


def test_nested_sync_limits_only_shorten() -> None:
    """The inner limit cannot give more time than the outer one has left."""
    with FakeClock() as clock:
        inner = Timeout(60, name="inner limit")(remaining)

        @Timeout(5, name="outer limit")
        def work() -> float | None:
            clock.advance(1)
            return inner()

        assert 4.0 == work()


def test_a_sync_retry_within_a_time_out_keeps_to_it() -> None:
    """A delay that does not fit the time left is not begun."""
    with FakeClock() as clock:
        calls: list[float | None] = []

        def work() -> None:
            calls.append(remaining())
            raise OSError("down")

        total = Pipeline("total", Timeout(5), Retry(on=OSError, backoff=3, max_attempts=9))
        with pytest.raises(OSError, match="down"):
            total.call(work)
    assert [5.0, 2.0] == calls
    assert [3.0] == clock.slept


def test_an_async_call_is_cut_short_with_error_and_event() -> None:
    """The callee is cancelled and its clean-up is waited for."""
    log: list[object] = []

    @Timeout(5, name="cut short")
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(2)
            log.append("cleaned up")

    async def main() -> float:
        with pytest.raises(CallTimeoutError, match=r"^'cut short' did not end in time: its limit is 5 s$") as caught:
            await work()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]
        return clock.now()

    with FakeClock() as clock, Recorder() as events:
        assert 7.0 == asyncio.run(main())
    assert ["cleaned up"] == log
    assert [CallTimedOut("cut short", 5.0)] == events.events


def test_an_async_callee_that_catches_the_cancellation_decides() -> None:
    """What it returns or raises instead is passed on, and the task goes on unharmed."""

    @Timeout(5, name="stubborn")
    async def work(error: Exception | None) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
        return "went on"

    async def main() -> None:
        assert "went on" == await work(None)
        with pytest.raises(KeyError):
            await work(KeyError())
        await asyncio.sleep(1)
        assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]

    with FakeClock():
        asyncio.run(main())


def test_recursion_under_one_time_out_has_one_limit() -> None:
    """The same time-out around itself ends with the outer call's limit."""

    @Timeout(5, name="recursive")
    async def work(depth: int) -> None:
        await asyncio.sleep(2)
        await work(depth + 1)

    async def main() -> None:
        with pytest.raises(CallTimeoutError, match="recursive"):
            await work(0)

    with FakeClock() as clock:
        asyncio.run(main())
        assert 5.0 == clock.now()


def test_many_calls_under_one_time_out_each_have_their_own() -> None:
    """Begun a second apart, each ends five seconds after its own beginning."""
    ends: list[float] = []

    @Timeout(5, name="each its own")
    async def work() -> None:
        await asyncio.sleep(60)

    async def one(start: float) -> None:
        await asyncio.sleep(start)
        with pytest.raises(CallTimeoutError):
            await work()
        ends.append(clock.now())

    async def main() -> None:
        clock.drive(asyncio.get_running_loop())
        await asyncio.gather(*(one(start) for start in (3, 0, 1)))

    with FakeClock() as clock:
        asyncio.run(main())
    assert [5.0, 6.0, 8.0] == ends


def test_an_async_block_is_cut_short() -> None:
    """`async with timeout.guard()`; in time it changes nothing."""
    timeout = Timeout(5, name="block")

    async def main() -> float:
        async with timeout.guard():
            await asyncio.sleep(4)
        with pytest.raises(CallTimeoutError, match="'block'"):
            async with timeout.guard():
                await asyncio.sleep(60)
        await asyncio.sleep(20)
        return clock.now()

    with FakeClock() as clock, Recorder() as events:
        assert 29.0 == asyncio.run(main())
    assert [CallTimedOut("block", 5.0)] == events.events


@pytest.mark.parametrize("error", [KeyError("mine"), TimeoutError("the callee's"), asyncio.CancelledError()])
def test_an_exception_within_a_block_passes(error: BaseException) -> None:
    """Also one that looks like a time-out or a cancellation, as long as the time is not up."""

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            async with Timeout(5, name=f"passes {error!r}").guard():
                raise error
        assert error is caught.value

    with FakeClock():
        asyncio.run(main())


def test_a_sync_block_shows_the_time_left() -> None:
    """`with timeout.guard()`: for what it calls, and with the overrun's event."""
    with FakeClock() as clock, Recorder() as events:
        with Timeout(5, name="sync block").guard():
            assert 5.0 == remaining()
            clock.advance(8)
        assert None is remaining()
    assert [CallOverran("sync block", 5.0, 8.0)] == events.events


def test_a_callees_own_time_out_error_passes_in_both_colours() -> None:
    """It is not ours, even where it comes late in a sync call."""

    def work() -> None:
        clock.advance(9)
        raise TimeoutError("the callee's")

    async def awork() -> None:
        raise TimeoutError("the callee's")

    async def main(fn: Any) -> None:
        await fn()

    with FakeClock() as clock:
        timeout = Timeout(5, name="callee's own")
        for run in (timeout(work), lambda: asyncio.run(main(timeout(awork)))):
            with pytest.raises(TimeoutError, match="the callee's") as caught:
                run()
            assert not isinstance(caught.value, CallTimeoutError)
