"""Whose cancellation, whose TimeoutError, and what is left of both afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import pytest

from seawall import CallTimeoutError, Hedge, Pipeline, RateLimit, RetryBudget, Timeout, deadline
from seawall.testing import FakeClock

NUMBERS = count()


@pytest.fixture(autouse=True)
def clock() -> Iterator[FakeClock]:
    """Runs every test here on fake time."""
    with FakeClock() as clock:
        yield clock


def timeout_of(seconds: float) -> Timeout:
    """Makes a time-out with a name of its own."""
    return Timeout(seconds, name=f"timed-{next(NUMBERS)}")


async def as_call(seconds: float, body: Callable[[], Any]) -> Any:
    """Bounds `body` by decorating it."""

    async def call() -> Any:
        return await body()

    return await timeout_of(seconds)(call)()


async def as_guard(seconds: float, body: Callable[[], Any]) -> Any:
    """Bounds `body` as a block."""
    async with timeout_of(seconds).guard():
        return await body()


async def as_stream(seconds: float, body: Callable[[], Any]) -> Any:
    """Bounds `body` as the first item of a stream."""

    async def stream() -> AsyncIterator[Any]:
        yield await body()

    return [item async for item in timeout_of(seconds)(stream)()].pop()


async def as_deadline(seconds: float, body: Callable[[], Any]) -> Any:
    """Bounds `body` by a deadline around a protected call."""

    async def call() -> Any:
        return await body()

    async with deadline(seconds):
        return await RateLimit(100, name=f"plain-{next(NUMBERS)}")(call)()


bounds = pytest.mark.parametrize("bound", [as_call, as_guard, as_stream, as_deadline])
Bound = Callable[[float, Callable[[], Any]], Any]


@bounds
def test_the_callees_own_timeout_error_stays_its_own(bound: Bound) -> None:
    """A TimeoutError that the callee raises passes as the very same object."""
    own = TimeoutError("the callee's own")

    async def fail() -> None:
        raise own

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(bound(5.0, fail))
    assert own is caught.value


@bounds
def test_an_inner_asyncio_timeout_stays_its_own(bound: Bound) -> None:
    """The expiry of an asyncio.timeout within is no expiry of ours."""

    async def body() -> None:
        async with asyncio.timeout(1.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(bound(5.0, body))
    assert not isinstance(caught.value, CallTimeoutError)


@bounds
def test_the_callees_timeout_error_on_our_cancellation_stays_its_own(bound: Bound) -> None:
    """A callee that makes a TimeoutError of its own out of our cancellation is heard, and nothing is left behind."""

    async def body() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TimeoutError("the callee's own") from None

    async def main() -> int:
        with pytest.raises(TimeoutError, match="the callee's own"):
            await bound(1.0, body)
        return asyncio.current_task().cancelling()  # type: ignore[union-attr]

    assert 0 == asyncio.run(main())


@pytest.mark.parametrize("first", ["caller", "time-out"])
@bounds
def test_the_callers_cancel_beats_our_timeout_at_the_same_tick(bound: Bound, first: str) -> None:
    """Where both happen at one instant, whichever timer is set first, the caller sees its CancelledError."""

    async def body() -> None:
        await asyncio.Event().wait()

    async def main() -> tuple[bool, int]:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(bound(1.0, body))
        if first == "time-out":
            await asyncio.sleep(0)
        loop.call_later(1.0, task.cancel)
        await asyncio.wait([task])
        return task.cancelled(), task.cancelling()

    assert (True, 1) == asyncio.run(main())


@bounds
def test_the_callers_cancel_while_our_cancellation_is_cleaned_up_wins(bound: Bound) -> None:
    """A cancel that arrives while the callee still cleans up after our expiry is the caller's, and wins."""

    async def main() -> tuple[bool, int]:
        cleaning = asyncio.Event()

        async def body() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await asyncio.sleep(1.0)

        task = asyncio.create_task(bound(1.0, body))
        await cleaning.wait()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), task.cancelling()

    assert (True, 1) == asyncio.run(main())


@bounds
def test_the_callers_cancel_as_the_call_completes_is_not_swallowed(bound: Bound) -> None:
    """A cancel at the very tick at which the call gets its answer reaches the caller (as in asyncio.timeout)."""

    async def main() -> bool:
        answer = asyncio.get_running_loop().create_future()

        async def body() -> str:
            return await answer

        task = asyncio.create_task(bound(5.0, body))
        await asyncio.sleep(0)
        answer.set_result("answer")
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())


@pytest.mark.parametrize("before", [0, 1, 2])
@bounds
def test_after_a_timeout_cancelling_is_what_it_was(bound: Bound, before: int) -> None:
    """A time-out takes back its own cancellation and no other, and a later asyncio.timeout works."""

    async def body() -> None:
        await asyncio.Event().wait()

    async def main() -> list[object]:
        task = asyncio.current_task()
        assert task is not None
        for _ in range(before):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1)
        seen: list[object] = [task.cancelling()]
        with pytest.raises(CallTimeoutError):
            await bound(1.0, body)
        seen.append(task.cancelling())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.Event().wait()
        seen.append(task.cancelling())
        await asyncio.sleep(0)
        return seen

    assert [before, before, before] == asyncio.run(main())


@bounds
def test_a_result_despite_our_cancellation_leaves_no_cancellation_behind(bound: Bound) -> None:
    """A callee that swallows our cancellation and answers is heard, and the next await is not cancelled."""

    async def body() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "late answer"

    async def main() -> tuple[object, int]:
        answer = await bound(1.0, body)
        await asyncio.sleep(0)
        return answer, asyncio.current_task().cancelling()  # type: ignore[union-attr]

    assert ("late answer", 0) == asyncio.run(main())


@bounds
def test_the_answer_at_the_very_tick_of_the_timeout_leaves_no_cancellation_behind(bound: Bound) -> None:
    """Whatever wins at that tick, the task goes on uncancelled."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        async def body() -> str:
            return await answer

        loop.call_later(1.0, answer.set_result, "answer")
        try:
            await bound(1.0, body)
        except CallTimeoutError:
            pass
        await asyncio.sleep(0)
        await asyncio.sleep(5.0)
        return asyncio.current_task().cancelling()  # type: ignore[union-attr]

    assert 0 == asyncio.run(main())


@pytest.mark.parametrize("seconds", [(2.0, 1.0), (1.0, 2.0), (1.0, 1.0)])
def test_of_nested_timeouts_one_fires_and_none_leaves_a_cancellation(seconds: tuple[float, float]) -> None:
    """Two time-outs of one task end it with a CallTimeoutError, and the task goes on."""
    outer, inner = seconds

    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> tuple[float, int]:
        with pytest.raises(CallTimeoutError) as caught:
            await as_call(outer, lambda: as_call(inner, hang))
        await asyncio.sleep(10.0)
        return caught.value.limit, asyncio.current_task().cancelling()  # type: ignore[union-attr]

    assert (min(seconds), 0) == asyncio.run(main())


ENDS = ("first answers", "second answers", "all fail", "fatal failure", "caller cancels", "time-out", "deadline")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("stubborn", [False, True], ids=["prompt", "stubborn"])
def test_hedges_leave_no_orphan_tasks(end: str, stubborn: bool) -> None:
    """Whatever ends a hedged call, every attempt has been cancelled and awaited; the budget is at rest."""
    budget = RetryBudget(min_concurrent=5)
    hedge = Hedge(0.5, max_extra=3, on=ConnectionError, budget=budget)
    pipeline = Pipeline(f"hedged-{next(NUMBERS)}", Timeout(5.0), hedge)
    running: set[int] = set()
    numbers = count(1)

    async def attempt() -> str:
        number = next(numbers)
        running.add(number)
        try:
            if (end, number) in (("first answers", 1), ("second answers", 2)):
                await asyncio.sleep(1.0)
                return "answer"
            if end == "all fail":
                raise ConnectionError
            if end == "fatal failure" and number == 2:
                raise ValueError
            await asyncio.Event().wait()
            return "never"
        finally:
            if stubborn:
                await asyncio.sleep(0.25)
            running.discard(number)

    async def bounded() -> str:
        if end != "deadline":
            return await pipeline.acall(attempt)
        async with deadline(3.0):
            return await pipeline.acall(attempt)

    async def main() -> tuple[object, set[asyncio.Task[Any]], set[int]]:
        task = asyncio.create_task(bounded())
        if end == "caller cancels":
            asyncio.get_running_loop().call_later(1.2, task.cancel)
        await asyncio.wait([task])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        outcome = asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()
        return outcome, left, set(running)

    outcome, left, still_running = asyncio.run(main())
    expected = {
        "all fail": ConnectionError,
        "fatal failure": ValueError,
        "caller cancels": asyncio.CancelledError,
        "time-out": CallTimeoutError,
        "deadline": CallTimeoutError,
    }.get(end, str)
    assert expected is type(outcome)
    assert (set(), set()) == (left, still_running)
    assert (0, 0) == (budget.calls, budget.retries)


def test_a_hedged_caller_that_cancels_twice_still_leaves_no_orphans() -> None:
    """A second cancel while the losers are awaited does not abandon them."""
    hedge = Hedge(0.1, max_extra=2, name=f"hedged-{next(NUMBERS)}")

    async def attempt() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)

    async def main() -> tuple[bool, int]:
        task = asyncio.create_task(hedge(attempt)())
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), len(asyncio.all_tasks())

    assert (True, 1) == asyncio.run(main())
