"""The ambient deadline, and what each strategy makes of it, in both colours."""

import asyncio
import contextvars
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CallRejected,
    CallTimedOut,
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RejectedError,
    Retry,
    Strategy,
    Timeout,
    WorkerPool,
    deadline,
    remaining,
)
from seawall.testing import FakeClock, Recorder

EACH: dict[str, Callable[[str], Strategy]] = {
    "retry": lambda name: Retry(on=OSError, name=name),
    "breaker": lambda name: CircuitBreaker(failures=1, name=name),
    "timeout": lambda name: Timeout(60, name=name),
    "bulkhead": lambda name: Bulkhead(1, name=name),
    "ratelimit": lambda name: RateLimit(1, name=name),
    "fallback": lambda name: Fallback("instead", on=KeyError, name=name),
    "hedge": lambda name: Hedge(name=name),
}


def under(seconds: float, fn: Callable[[], Any], colour: str) -> Any:
    """Calls a function under a deadline; an async one in an event loop of its own."""

    async def main() -> Any:
        async with deadline(seconds):
            return await fn()

    if colour == "async":
        return asyncio.run(main())
    with deadline(seconds):
        return fn()


def never(colour: str) -> Callable[[], Any]:
    """A function that must not be called."""

    def sync() -> None:
        pytest.fail("was called after the deadline")

    async def suspended() -> None:
        pytest.fail("was called after the deadline")

    return sync if colour == "sync" else suspended


COLOURS = [(kind, colour) for kind in EACH for colour in ("sync", "async") if (kind, colour) != ("hedge", "sync")]


@pytest.mark.parametrize(("kind", "colour"), COLOURS)
def test_no_call_starts_after_the_deadline(kind: str, colour: str) -> None:
    """Under every strategy alone: `DeadlineExceededError`, nothing called, and nothing counted as a failure."""
    with FakeClock():
        strategy = EACH[kind](f"not started {kind} {colour}")
        protected = strategy(never(colour))
        with pytest.raises(DeadlineExceededError) as caught:
            under(0, protected, colour)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, RejectedError)
    if isinstance(strategy, CircuitBreaker):
        assert "closed" == strategy.state


@pytest.mark.parametrize("kind", EACH)
def test_an_async_call_is_cut_at_the_deadline(kind: str) -> None:
    """Under every strategy alone: `CallTimeoutError` that says that a deadline did it; a breaker counts nothing."""
    with FakeClock() as clock, Recorder(CallTimedOut) as events:
        strategy = EACH[kind](f"cut {kind}")
        slow = strategy(asyncio.sleep)
        with pytest.raises(CallTimeoutError) as caught:
            under(5, lambda: slow(60), "async")
        assert 5.0 == clock.now()
    assert caught.value.by_deadline
    assert 5.0 == max(event.limit for event in events.of(CallTimedOut))
    if isinstance(strategy, CircuitBreaker):
        assert "closed" == strategy.state


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_retry_begins_no_delay_that_ends_after_the_deadline(colour: str) -> None:
    """The last failure is raised at once."""

    def down() -> None:
        raise OSError("down")

    async def adown() -> None:
        raise OSError("down")

    with FakeClock() as clock:
        retry = Retry(on=OSError, backoff=3, max_attempts=9, name=f"under a deadline {colour}")
        with pytest.raises(OSError, match="down"):
            under(5, retry(down if colour == "sync" else adown), colour)
        assert [3.0] == clock.slept


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_limiter_does_not_wait_beyond_the_deadline(colour: str) -> None:
    """`DeadlineExceededError` at once, with the wait that was needed; the turn is not used up."""
    with FakeClock() as clock, Recorder(CallRejected) as events:
        limit = RateLimit(1, per=10, max_wait=60, name=f"limit under a deadline {colour}")
        limit.acquire()
        fn = limit.acquire if colour == "sync" else limit.aacquire
        with pytest.raises(DeadlineExceededError) as caught:
            under(5, fn, colour)
        assert 10.0 == caught.value.retry_after
        assert ([], 0.0) == (clock.slept, clock.now())
        assert [caught.value] == [event.error for event in events.of(CallRejected)]
        under(15, fn, colour)
        assert 10.0 == clock.now()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_fallback_answers_for_a_call_that_the_deadline_refused(colour: str) -> None:
    """Where rejections are listed: a value is at hand even when there is no time left."""
    with FakeClock():
        fallback = Fallback("instead", on=RejectedError, name=f"no time left {colour}")
        assert "instead" == under(0, fallback(never(colour)), colour)


def test_the_shorter_of_time_out_and_deadline_ends_a_call() -> None:
    """A time-out's end is a failure, a deadline's is not."""
    for seconds, by_deadline, failures in ((10, False, 1), (3, True, 0)):
        with FakeClock() as clock:
            breaker = CircuitBreaker(failures=9, window_calls=9)
            both = Pipeline(f"shorter {seconds}", breaker, Timeout(5))
            with pytest.raises(CallTimeoutError) as caught:
                under(seconds, lambda both=both: both.acall(asyncio.sleep, 60), "async")  # type: ignore[misc]
            assert (by_deadline, failures) == (caught.value.by_deadline, breaker.snapshot().failures)
            assert min(5.0, seconds) == clock.now()


def test_a_pipeline_without_strategies_keeps_to_the_deadline() -> None:
    """A call under a deadline is bounded by it, with or without Timeout."""
    with FakeClock() as clock:
        bare = Pipeline("bare")
        with pytest.raises(CallTimeoutError, match=r"'bare' did not end in time: the deadline left it 5 s"):
            under(5, lambda: bare.acall(asyncio.sleep, 60), "async")
        with pytest.raises(DeadlineExceededError, match="'bare' was not started: the deadline has passed"):
            under(0, lambda: bare.call(never("sync")), "sync")
        assert 5.0 == clock.now()


def test_each_attempt_of_a_hedge_is_bounded() -> None:
    """Child tasks inherit the deadline; none is left running."""
    running: list[int] = []

    async def slow() -> None:
        running.append(1)
        try:
            await asyncio.sleep(60)
        finally:
            running.pop()

    with FakeClock() as clock:
        hedge = Hedge(1, max_extra=2, name="bounded hedge")
        with pytest.raises(CallTimeoutError) as caught:
            under(5, hedge(slow), "async")
        assert 5.0 == clock.now()
    assert caught.value.by_deadline
    assert [] == running


def test_deadlines_only_shorten() -> None:
    """A longer one within a shorter one changes nothing; leaving restores the outer one."""
    with FakeClock() as clock:
        assert None is remaining()
        with deadline(10) as outer:
            assert (10.0, 10.0) == (remaining(), outer.remaining())
            with deadline(60):
                clock.advance(2)
                assert 8.0 == remaining()
            with deadline(timedelta(seconds=3)) as inner:
                clock.advance(5)
                assert (0.0, 0.0) == (remaining(), inner.remaining())
            assert 3.0 == remaining()
        assert None is remaining()


def test_an_infinite_deadline_bounds_nothing() -> None:
    """In both colours calls pass as without it."""
    with FakeClock():
        bare = Pipeline("infinite")
        assert 5 == under(float("inf"), lambda: bare.call(abs, -5), "sync")
        assert None is under(float("inf"), lambda: bare.acall(asyncio.sleep, 100), "async")


def test_a_deadline_is_for_one_block() -> None:
    """Entered twice at once it would not know which block it ends."""
    limit = deadline(5)
    assert 5.0 == limit.remaining()
    with limit, pytest.raises(RuntimeError, match="in use already; make a new one"):
        limit.__enter__()


def test_code_that_is_not_protected_is_not_cut() -> None:
    """The deadline passes, and only the next protected call finds out."""

    async def main() -> None:
        clock.drive(asyncio.get_running_loop())
        async with deadline(5):
            await asyncio.sleep(8)
            with pytest.raises(DeadlineExceededError):
                await Pipeline("next call").acall(asyncio.sleep, 0)
        assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]

    with FakeClock() as clock:
        asyncio.run(main())
        assert 8.0 == clock.now()


def test_a_deadline_travels_into_tasks_and_threads() -> None:
    """Child tasks, copied contexts and worker pools see it."""

    async def main() -> list[float | None]:
        with deadline(5), WorkerPool("deadline pool", 1) as pool:
            return [
                await asyncio.create_task(_left()),
                contextvars.copy_context().run(remaining),
                await pool.run(remaining),
                await asyncio.to_thread(remaining),
            ]

    with FakeClock(grace=0.05):
        assert [5.0] * 4 == asyncio.run(main())


async def _left() -> float | None:
    return remaining()


def test_a_deadline_may_have_a_clock_of_its_own() -> None:
    """Its time is then that clock's."""
    clock = FakeClock()
    with deadline(5, clock=clock) as limit:
        clock.advance(4)
        assert 1.0 == limit.remaining()


def test_many_calls_under_one_deadline_are_all_cut() -> None:
    """Tasks of one parent: each protected call ends at the same instant."""

    async def main() -> list[object]:
        async with deadline(5):
            calls = (bare.acall(asyncio.sleep, seconds) for seconds in (1, 10, 20))
            return [type(end).__name__ for end in await asyncio.gather(*calls, return_exceptions=True)]

    with FakeClock() as clock:
        bare = Pipeline("many calls")
        assert ["NoneType", "CallTimeoutError", "CallTimeoutError"] == asyncio.run(main())
        assert 5.0 == clock.now()
