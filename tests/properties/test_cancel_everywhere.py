"""A call through a full pipeline is cancelled at each of its suspensions in turn, and nothing is left behind."""

import asyncio
from collections.abc import Coroutine, Generator
from itertools import count
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    DeadlineExceededError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    deadline,
)
from seawall.testing import FakeClock

NUMBERS = count()
WAYS = ("next tick", "at once", "as it wakes")


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine that counts its suspensions, and cancels its task at the chosen one.

    At once: while the task is still in its own step. Next tick: while it is suspended. As it wakes: at the very tick
    at which what it waits for comes about, such as a slot that was just handed over.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], cancel_at: int | None, way: str) -> None:
        self._inner, self._cancel_at, self._way = inner, cancel_at, way
        self.suspensions = 0
        self.task: asyncio.Task[Any] | None = None

    def send(self, value: Any) -> Any:
        """Goes on to the next suspension."""
        return self._suspended(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        """Goes on with an exception."""
        return self._suspended(self._inner.throw(*error))

    def close(self) -> None:
        """Closes the call."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _suspended(self, future: Any) -> Any:
        self.suspensions += 1
        if self.suspensions == self._cancel_at:
            assert self.task is not None
            cancel = self.task.cancel
            if self._way == "at once":
                cancel()
            elif self._way == "next tick" or future is None:
                self.task.get_loop().call_soon(cancel)
            else:
                future.add_done_callback(lambda done: cancel())
        return future


class Stage:
    """A pipeline with everything in it, in the midst of a bad day."""

    def __init__(self, hedged: bool) -> None:
        self.budget = RetryBudget(min_concurrent=10)
        self.limit = RateLimit(4, per=1.0, burst=1, max_wait=5.0)
        self.bulkhead = Bulkhead(1, max_waiting=3, max_wait=50.0)
        self.breaker = CircuitBreaker(failure_rate=1.0, window_calls=10, open_for=10.0, probes=6, probe_lease=1e6)
        self.timeout = Timeout(5.0)
        self.retry = Retry(on=(ConnectionError, CallTimeoutError), max_attempts=4, backoff=0.5, budget=self.budget)
        hedge = [Hedge(0.5, max_extra=1, on=ValueError, budget=self.budget)] if hedged else []
        self.pipeline = Pipeline(
            f"cancelled-{next(NUMBERS)}",
            Fallback(self._answer, on=(ConnectionError, CallTimeoutError, DeadlineExceededError)),
            self.retry,
            self.limit,
            self.bulkhead,
            self.breaker,
            self.timeout,
            *hedge,
        )
        self.attempts = self.rest = 0

    async def _answer(self) -> str:
        await asyncio.sleep(0.25)
        return "fallback"

    async def call(self) -> str:
        """Fails, is slow, hangs, and fails again; each attempt has several awaits."""
        self.attempts += 1
        attempt = self.attempts
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0.25)
            if attempt == 2:
                await asyncio.Event().wait()
            raise ConnectionError
        finally:
            self.rest += 1
            await asyncio.sleep(0)

    async def run(self, cancel_at: int | None, way: str, clock: FakeClock, below: float | None) -> tuple[Any, int]:
        """Makes the call while somebody else holds the only slot; returns what came of it, and its suspensions."""
        for _ in range(10):
            self.breaker.acquire().failure()
        clock.advance(10.0)
        clock.drive(asyncio.get_running_loop())
        self.limit.acquire()
        held = self.bulkhead.acquire()
        asyncio.get_running_loop().call_later(1.0, held.release)

        async def main() -> str:
            if below is None:
                return await self.pipeline.acall(self.call)
            async with deadline(below):
                return await self.pipeline.acall(self.call)

        counted = Counted(main(), cancel_at, way)
        counted.task = task = asyncio.get_running_loop().create_task(counted)
        await asyncio.wait([task])
        held.release()
        outcome = "cancelled" if task.cancelled() else task.exception() or task.result()
        assert outcome != "cancelled" or 1 == task.cancelling()
        return outcome, counted.suspensions

    async def assert_at_rest(self) -> None:
        """Sees that slots, probe slots, budget, attempts, timers and tasks are as if nothing had been."""
        assert {asyncio.current_task()} == asyncio.all_tasks()
        assert (0, 0) == (self.bulkhead.snapshot().running, self.bulkhead.snapshot().waiting)
        assert (0, 0) == (self.budget.calls, self.budget.retries)
        assert self.attempts == self.rest
        assert [] == [task for lane in self.timeout._limit.lanes._all.values() for task in lane.until]
        state: Any = self.breaker._circuit.state
        if self.breaker.state == "half_open" and state.word == "half_open":
            assert (0, state._good + state._bad) == (len(state._running), state._issued)
        assert "half_open" == self.breaker.state
        self.bulkhead.acquire().release()

        async def answer() -> str:
            return "answer"

        self.breaker.reset()
        assert "answer" == await self.pipeline.acall(answer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hedged", [False, True], ids=["plain", "hedged"])
@pytest.mark.parametrize("below", [None, 60.0, 3.0], ids=["", "under a deadline", "under a short deadline"])
def test_cancelled_at_every_await_nothing_is_left_behind(hedged: bool, below: float | None, way: str) -> None:
    """For every k: cancelled at its k-th suspension, the call ends as cancelled and everything is back at rest."""

    def once(cancel_at: int | None) -> tuple[Any, int]:
        async def main() -> tuple[Any, int]:
            stage = Stage(hedged)
            ended = await stage.run(cancel_at, way, clock, below)
            await stage.assert_at_rest()
            return ended

        with FakeClock() as clock:
            return asyncio.run(main())

    outcome, suspensions = once(None)
    assert outcome == "fallback"
    assert suspensions >= 6
    for cancel_at in range(1, suspensions + 1):
        assert "cancelled" == once(cancel_at)[0], f"at suspension {cancel_at}"
