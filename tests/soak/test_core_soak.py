"""Long runs of the core: in full in `make soak`, with a tenth of the figures in `make test`."""

import asyncio
import gc
import logging
import os
import random
import sys
import threading
import tracemalloc

import pytest

from seawall import (
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    Fallback,
    Pipeline,
    RejectedError,
    Retry,
    RetryBudget,
    Timeout,
    deadline,
)

FULL = bool(os.environ.get("SEAWALL_SOAK"))
SHARE = 1.0 if FULL else 0.1

pytestmark = pytest.mark.soak


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Pytest keeps every log record until the test ends: memory that is not ours."""
    caplog.set_level(logging.CRITICAL, "seawall")


def everything(name: str) -> Pipeline:
    """A pipeline of the five, whose breaker counts and never opens."""
    return Pipeline(
        name,
        Fallback(None, on=(ConnectionError, RejectedError, CallTimeoutError)),
        Retry(on=ConnectionError, max_attempts=2, backoff=0.0, budget=RetryBudget(min_concurrent=4)),
        Bulkhead(64, max_waiting=4096, max_wait=60.0),
        CircuitBreaker(failure_rate=1.0, window=3600.0, min_calls=10**9, name=f"{name} breaker"),
        Timeout(0.05),
    )


def test_counts_stay_exact_over_eight_threads() -> None:
    """Every outcome is counted once, every slot comes back, the budget is at rest."""
    each, pipeline = int(400_000 * SHARE / 8), everything("soak threads")
    failed = [0] * 8
    calls = [0] * 8

    def work(thread: int) -> None:
        chance = random.Random(thread)

        def call() -> int:
            calls[thread] += 1
            if chance.random() < 0.3:
                failed[thread] += 1
                raise ConnectionError
            return thread

        for _ in range(each):
            pipeline.call(call)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    counted = pipeline.get(CircuitBreaker).snapshot()
    budget = pipeline.get(Retry).budget
    assert (sum(calls), sum(failed)) == (counted.calls, counted.failures)
    assert (0, 0) == (pipeline.get(Bulkhead).snapshot().running, pipeline.get(Bulkhead).snapshot().waiting)
    assert budget is not None
    assert (0, 0) == (budget.calls, budget.retries)
    print(f"threads: {sum(calls):,} attempts, {sum(failed):,} failures, all counted")


def test_nothing_is_left_after_calls_that_end_in_every_way() -> None:
    """Answers, failures, time-outs, deadlines, cancellations: slots, timers, tasks and memory are at rest."""
    rounds, pipeline, chance = int(300 * SHARE), everything("soak ends"), random.Random(7)

    async def call(kind: float) -> str:
        if kind < 0.4:
            return "at once"
        if kind < 0.6:
            raise ConnectionError
        await asyncio.sleep(0.2 if kind < 0.7 else 0.002)
        return "later"

    async def bounded(kind: float) -> object:
        async with deadline(0.01):
            return await pipeline.acall(call, kind)

    async def one_round() -> None:
        tasks = []
        for _ in range(1000):
            kind = chance.random()
            work = bounded(kind) if chance.random() < 0.2 else pipeline.acall(call, kind)
            tasks.append(asyncio.ensure_future(work))
        await asyncio.sleep(chance.random() * 0.02)
        for task in tasks:
            if chance.random() < 0.3:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def main() -> tuple[int, int]:
        for _ in range(5):
            await one_round()
        tracemalloc.start()
        await one_round()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(rounds):
            await one_round()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return grown, len(asyncio.all_tasks())

    grown, tasks = asyncio.run(main())
    bulkhead, budget = pipeline.get(Bulkhead).snapshot(), pipeline.get(Retry).budget
    assert budget is not None
    assert (1, 0, 0, 0, 0) == (tasks, bulkhead.running, bulkhead.waiting, budget.calls, budget.retries)
    assert grown < 1_000_000
    print(f"ends: {rounds * 1000:,} calls, memory grown by {grown:,} B")
