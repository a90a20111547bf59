"""Retry as a loop: `for` and `async for attempt in retry.attempts(): with attempt: ...`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from seawall import Backoff, BulkheadFullError, Recovered, Retried, Retry, RetryBudget, RetryStopped, deadline
from seawall.testing import FakeClock, Recorder, no_retries

Block = Callable[[int], object]


def loop(retry: Retry, block: Block, colour: str) -> int | None:
    """Runs a block as a retry loop of one colour; returns the number of the last attempt."""
    last: list[int] = []

    def plain() -> None:
        for attempt in retry.attempts():
            with attempt:
                last.append(attempt.number)
                block(attempt.number)

    async def suspended() -> None:
        async for attempt in retry.attempts():
            with attempt:
                last.append(attempt.number)
                block(attempt.number)

    if colour == "sync":
        plain()
    else:
        asyncio.run(suspended())
    return last[-1] if last else None


def failing(times: int, error: Exception) -> Block:
    """Returns a block that fails so many times."""

    def block(number: int) -> None:
        if number <= times:
            raise error

    return block


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def test_a_loop_goes_on_until_the_block_succeeds(colour: str) -> None:
    """Numbers from 1, delays between, and the same events as a call's."""
    with FakeClock() as clock, Recorder() as events:
        retry = Retry(on=OSError, backoff=Backoff.listed(2, 4), name=f"until {colour}")
        assert 3 == loop(retry, failing(2, OSError()), colour)
    assert [2.0, 4.0] == clock.slept
    assert [1, 2] == [event.attempt for event in events.of(Retried)]
    assert [3] == [event.attempts for event in events.of(Recovered)]


def test_a_loop_raises_its_last_failure(colour: str) -> None:
    """The failure itself leaves the block, with the note of the attempts."""
    failure = OSError("down")
    with FakeClock(), Recorder() as events, pytest.raises(OSError, match="down") as caught:
        loop(Retry(on=OSError, backoff=1, name=f"last {colour}"), failing(9, failure), colour)
    assert failure is caught.value
    assert [f"seawall: 'last {colour}' gave up after attempt 3 and 2 s (attempts)"] == failure.__notes__
    assert [(3, "attempts")] == [(event.attempts, event.reason) for event in events.of(RetryStopped)]


@pytest.mark.parametrize(
    "error", [KeyError("mine"), BulkheadFullError("elsewhere"), GeneratorExit(), KeyboardInterrupt()]
)
def test_what_is_not_handled_ends_the_loop(colour: str, error: BaseException) -> None:
    """It passes at once, and counts as no retry."""

    def block(number: int) -> None:
        raise error

    with FakeClock() as clock, Recorder() as events, pytest.raises(type(error)):
        loop(Retry(on=OSError, name=f"unhandled {colour} {error!r}"), block, colour)
    assert [] == clock.slept
    assert [] == events.events


def test_return_and_break_leave_the_loop() -> None:
    """The budget has its place back, and the next loop begins anew."""
    budget = RetryBudget()
    retry = Retry(on=OSError, backoff=1, budget=budget, name="leaves")

    def returning() -> str:
        for attempt in retry.attempts():
            with attempt:
                if attempt.number == 1:
                    raise OSError
                return f"attempt {attempt.number}"
        return "never"

    def breaking() -> int:
        for attempt in retry.attempts():
            with attempt:
                break
        return attempt.number

    with FakeClock():
        assert "attempt 2" == returning()
        assert 1 == breaking()
        assert (0, 0) == (budget.calls, budget.retries)
        assert 3 == loop(retry, failing(2, OSError()), "sync")


def test_return_leaves_an_async_loop() -> None:
    """The abandoned async iterator gives its place back."""
    budget = RetryBudget()
    retry = Retry(on=OSError, backoff=1, budget=budget, name="leaves async")

    async def returning() -> str:
        async for attempt in retry.attempts():
            with attempt:
                if attempt.number == 1:
                    raise OSError
                return f"attempt {attempt.number}"
        return "never"

    with FakeClock():
        assert "attempt 2" == asyncio.run(returning())
    assert (0, 0) == (budget.calls, budget.retries)


def test_a_block_that_is_never_entered_is_one_attempt() -> None:
    """Without `with attempt:` nothing can fail, and the loop ends."""
    assert [1] == [attempt.number for attempt in Retry(on=OSError, name="never entered").attempts()]


def test_a_loop_has_its_bounds(colour: str) -> None:
    """`max_elapsed` and the deadline hold as for calls."""
    with FakeClock() as clock, Recorder() as events, pytest.raises(OSError, match="slow"):
        loop(
            Retry(on=OSError, backoff=6, max_elapsed=10, name=f"elapsed {colour}"), failing(9, OSError("slow")), colour
        )
    assert [6.0] == clock.slept
    assert ["elapsed"] == [event.reason for event in events.of(RetryStopped)]
    with FakeClock() as clock, Recorder() as events, deadline(5), pytest.raises(OSError, match="slow"):
        loop(Retry(on=OSError, backoff=6, name=f"deadline {colour}"), failing(9, OSError("slow")), colour)
    assert [] == clock.slept
    assert ["deadline"] == [event.reason for event in events.of(RetryStopped)]


def test_no_retries_holds_for_loops(colour: str) -> None:
    """In tests that want none, a loop makes one attempt."""
    with FakeClock() as clock, no_retries(), pytest.raises(OSError, match="down"):
        loop(Retry(on=OSError, backoff=1, name=f"none {colour}"), failing(9, OSError("down")), colour)
    assert [] == clock.slept


def test_a_loop_within_a_decorated_retry_adds() -> None:
    """Outer 3, inner loop 3, always failing: 5 attempts in all, never 9."""
    calls: list[int] = []
    inner = Retry(on=OSError, backoff=0, name="inner loop")

    @Retry(on=OSError, backoff=0, name="outer of a loop")
    def load() -> None:
        for attempt in inner.attempts():
            with attempt:
                calls.append(attempt.number)
                raise OSError("down")

    with pytest.raises(OSError, match="down"):
        load()
    assert 5 == len(calls)
    calls.clear()
    with pytest.raises(OSError, match="down"):
        load()
    assert 5 == len(calls)


def test_a_decorated_retry_within_a_loop_adds() -> None:
    """Whichever is outside: 5 attempts in all."""
    calls: list[int] = []

    @Retry(on=OSError, backoff=0, name="inner of a loop")
    def load() -> None:
        calls.append(1)
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        loop(Retry(on=OSError, backoff=0, name="outer loop"), lambda number: load(), "sync")
    assert 5 == len(calls)


def test_loops_in_different_tasks_do_not_share_their_count() -> None:
    """Two tasks of one parent, each its own call: each has all its attempts."""

    async def one(calls: list[int]) -> None:
        async for attempt in Retry(on=OSError, backoff=1, name=f"task {id(calls)}").attempts():
            with attempt:
                calls.append(attempt.number)
                raise OSError

    async def main() -> list[list[int]]:
        calls: list[list[int]] = [[], []]
        await asyncio.gather(*map(one, calls), return_exceptions=True)
        return calls

    with FakeClock():
        assert [[1, 2, 3], [1, 2, 3]] == asyncio.run(main())


def test_a_sync_loop_refuses_to_block_an_event_loop() -> None:
    """The async form is what waits there."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="would block the event loop"):
            loop(Retry(on=OSError, backoff=1, name="sync loop"), failing(1, OSError()), "sync")

    asyncio.run(main())


def test_a_cancelled_async_loop_stops() -> None:
    """A cancellation within the block or the delay is never retried."""
    calls: list[int] = []

    async def work(wait: Callable[[], Awaitable[None]]) -> None:
        async for attempt in Retry(on=BaseException, backoff=5, name=f"cancelled {len(calls)}").attempts():
            with attempt:
                calls.append(attempt.number)
                await wait()
                raise OSError

    async def nothing() -> None:
        """Returns at once."""

    async def long() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        for wait in (nothing, long):
            task = asyncio.create_task(work(wait))
            for _ in range(3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert [1, 1] == calls


def test_an_async_generator_may_hold_a_loop() -> None:
    """A loop around `yield` in an async generator ends with it."""
    retry = Retry(on=OSError, backoff=0, name="in a generator")

    async def items() -> AsyncIterator[int]:
        async for attempt in retry.attempts():
            with attempt:
                yield attempt.number

    async def main() -> list[int]:
        return [item async for item in items()]

    assert [1] == asyncio.run(main())
