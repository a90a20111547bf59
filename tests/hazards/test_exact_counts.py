"""No count is lost or invented, however the threads are interleaved."""

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    RetryBudget,
    Timeout,
)
from seawall.testing import FakeClock

NUMBERS = count()
THREADS = 8
CALLS = 1500


@pytest.fixture(params=[None, 1e-6], ids=["usual switching", "switching at every chance"], autouse=True)
def switching(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs every test here with threads that switch as usual, and at every chance."""
    usual = sys.getswitchinterval()
    if request.param is not None:
        sys.setswitchinterval(request.param)
    yield
    sys.setswitchinterval(usual)


def in_threads(work: Callable[[int], object], threads: int = THREADS) -> None:
    """Runs `work(number)` in so many threads that start together; raises what any of them raised."""
    together = threading.Barrier(threads)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        together.wait(10)
        try:
            work(number)
        except BaseException as error:  # handed to the test
            errors.append(error)

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(30)
    assert not any(thread.is_alive() for thread in running), "deadlock"
    for error in errors:
        raise error


@pytest.mark.parametrize("figures", [{"window": 100_000.0}, {"window_calls": 100_000}], ids=["time", "count"])
@pytest.mark.parametrize("judged", [False, True], ids=["by exception", "by result"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_windowed_breaker_counts_every_outcome_of_eight_threads(
    figures: dict[str, Any], judged: bool, colour: str
) -> None:
    """Successes, failures, cancellations and rejections of eight threads: calls and failures are exact."""
    bad = (lambda result: result is None) if judged else None
    breaker = CircuitBreaker(
        failure_rate=1.0, min_calls=90_000, on_result=bad, name=f"exact-{next(NUMBERS)}", **figures
    )
    expected: Counter[str] = Counter()

    def body(end: str) -> str | None:
        if end == "cancelled":
            raise KeyboardInterrupt
        if end == "rejected":
            raise BulkheadFullError("further in")
        if end == "failed" and not judged:
            raise ConnectionError
        return None if end == "failed" else "answer"

    async def abody(end: str) -> str | None:
        return body(end)

    protected, aprotected = breaker(body), breaker(abody)

    def one(end: str) -> None:
        try:
            if colour == "sync":
                protected(end)
            else:
                aprotected(end).send(None)  # type: ignore[attr-defined]
        except (KeyboardInterrupt, BulkheadFullError, ConnectionError, StopIteration):
            pass

    def work(number: int) -> None:
        rng = random.Random(number)
        ends = rng.choices(["passed", "failed", "cancelled", "rejected"], [6, 3, 1, 1], k=CALLS)
        for end in ends:
            one(end)
        with lock:
            expected.update(ends)

    lock = threading.Lock()
    in_threads(work)
    seen = breaker.snapshot()
    assert (expected["passed"] + expected["failed"], expected["failed"]) == (seen.calls, seen.failures)


def test_a_breaker_counts_slow_calls_of_eight_threads() -> None:
    """Permits that end slow are counted slow, each once."""
    clock = FakeClock()
    breaker = CircuitBreaker(
        slow_after=5.0,
        slow_rate=1.0,
        window_calls=100_000,
        min_calls=90_000,
        clock=clock,
        name=f"exact-{next(NUMBERS)}",
    )
    early = [[breaker.acquire() for _ in range(CALLS)] for _ in range(THREADS)]
    clock.advance(5.0)
    late = [[breaker.acquire() for _ in range(CALLS)] for _ in range(THREADS)]

    def work(number: int) -> None:
        for slow, quick in zip(early[number], late[number], strict=True):
            slow.success()
            quick.failure()

    in_threads(work)
    seen = breaker.snapshot()
    assert (2 * THREADS * CALLS, THREADS * CALLS, THREADS * CALLS) == (seen.calls, seen.failures, seen.slow)


def test_a_breaker_in_a_row_counts_every_failure_of_eight_threads() -> None:
    """Failures alone, in a row, from eight threads: it opens with the very last one."""
    breaker = CircuitBreaker(failures=THREADS * CALLS + 1, name=f"exact-{next(NUMBERS)}")

    def work(number: int) -> None:
        for _ in range(CALLS):
            breaker.acquire().failure()

    in_threads(work)
    assert ("closed", THREADS * CALLS) == (breaker.state, breaker.snapshot().failures)
    breaker.acquire().failure()
    assert "open" == breaker.state


def test_half_open_epochs_of_eight_threads_admit_their_quota_and_no_more() -> None:
    """Over many epochs contested by eight threads, each admits exactly its three probes."""
    clock = FakeClock()
    breaker = CircuitBreaker(
        failures=1, open_for=1.0, probes=3, successes=3, clock=clock, name=f"exact-{next(NUMBERS)}"
    )
    admitted: list[int] = []
    ready, done = threading.Barrier(THREADS + 1), threading.Barrier(THREADS + 1)
    permits: list[Any] = []

    def work(number: int) -> None:
        for _ in range(100):
            ready.wait(10)
            for _ in range(3):
                try:
                    permits.append(breaker.acquire())
                except CircuitOpenError:
                    pass
            done.wait(10)

    def conduct() -> None:
        for _ in range(100):
            breaker.reset()
            breaker.acquire().failure()
            clock.advance(1.0)
            ready.wait(10)
            done.wait(10)
            admitted.append(len(permits))
            permits.clear()

    conductor = threading.Thread(target=conduct, daemon=True)
    conductor.start()
    in_threads(work)
    conductor.join(10)
    assert {3} == set(admitted)
    assert 100 == len(admitted)


def test_an_isolation_that_is_held_is_in_force_whatever_others_let_go_of() -> None:
    """While a thread holds an isolation, the circuit is isolated; after the last one has let go it is closed."""
    breaker = CircuitBreaker(failures=1, name=f"exact-{next(NUMBERS)}")
    seen: Counter[str] = Counter()

    def work(number: int) -> None:
        states: Counter[str] = Counter()
        for _ in range(CALLS):
            with breaker.isolate():
                states[breaker.state] += 1
        with lock:
            seen.update(states)

    lock = threading.Lock()
    in_threads(work, 4)
    assert {"isolated": 4 * CALLS} == dict(seen)
    assert "closed" == breaker.state


@pytest.mark.parametrize("waiting", [0, 100], ids=["no queue", "queue"])
def test_a_bulkhead_of_eight_threads_keeps_its_limit_and_every_slot(waiting: int) -> None:
    """Calls that end well, badly or by interruption: never more than three inside, and none at the end."""
    bulkhead = Bulkhead(3, max_waiting=waiting, name=f"exact-{next(NUMBERS)}")
    inside: set[int] = set()
    ended: Counter[str] = Counter()
    too_many: list[int] = []

    @bulkhead
    def call(number: int, end: int) -> None:
        inside.add(number)
        if len(inside) > 3:
            too_many.append(len(inside))
        inside.discard(number)
        if end == 0:
            raise ConnectionError
        if end == 1:
            raise KeyboardInterrupt

    def work(number: int) -> None:
        ends: Counter[str] = Counter()
        for turn in range(CALLS // 3):
            try:
                call(number, turn % 4)
                ends["passed"] += 1
            except (ConnectionError, KeyboardInterrupt):
                ends["failed"] += 1
            except BulkheadFullError:
                ends["refused"] += 1
        with lock:
            ended.update(ends)

    lock = threading.Lock()
    in_threads(work)
    assert THREADS * (CALLS // 3) == sum(ended.values())
    assert not waiting or 0 == ended["refused"]
    assert [] == too_many
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    held = [bulkhead.acquire() for _ in range(3)]
    assert 3 == bulkhead.snapshot().running == len(held)


def test_a_budget_of_eight_threads_never_exceeds_its_share_and_ends_at_rest() -> None:
    """Retries in flight stay within the floor while calls come and go; at the end nothing is in flight."""
    budget = RetryBudget(rate=0.0, min_concurrent=2)
    over: list[int] = []
    retry = Retry(on=ConnectionError, max_attempts=3, backoff=0.0, budget=budget, name=f"exact-{next(NUMBERS)}")
    retrying: set[int] = set()

    def body(number: int, calls: list[int]) -> str:
        calls.append(number)
        if len(calls) > 1:
            retrying.add(number)
            if len(retrying) > 2:
                over.append(len(retrying))
            retrying.discard(number)
        if len(calls) < 3:
            raise ConnectionError
        return "answer"

    protected = retry(body)

    def work(number: int) -> None:
        for _ in range(CALLS // 5):
            try:
                protected(number, [])
            except ConnectionError:
                pass

    in_threads(work)
    assert [] == over
    assert (0, 0) == (budget.calls, budget.retries)


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "gcra"])
def test_a_rate_limit_of_eight_threads_lets_through_exactly_what_it_may(algorithm: Any) -> None:
    """At one instant, of thousands of calls exactly the burst passes; a second later exactly the rate."""
    clock = FakeClock()
    figures: dict[str, Any] = {} if algorithm == "sliding_window" else {"burst": 500}
    limit = RateLimit(500, algorithm=algorithm, clock=clock, name=f"exact-{next(NUMBERS)}", **figures)
    passed: list[int] = []

    def work(number: int) -> None:
        for _ in range(CALLS // 3):
            try:
                limit.acquire()
            except RateLimitedError:
                continue
            passed.append(number)

    in_threads(work)
    assert 500 == len(passed)
    clock.advance(1.0)
    in_threads(work)
    assert 1000 == len(passed)


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "gcra"])
def test_bookings_of_eight_threads_are_all_different_turns(algorithm: Any) -> None:
    """Waits booked by eight threads at one instant are those of one queue: none twice, none left out."""
    clock = FakeClock()
    figures: dict[str, Any] = {} if algorithm == "sliding_window" else {"burst": 1}
    limit = RateLimit(
        1, per=1.0, algorithm=algorithm, max_wait=1e6, clock=clock, name=f"exact-{next(NUMBERS)}", **figures
    )
    waits: list[float] = []
    clock.sleep = waits.append  # type: ignore[method-assign]

    def work(number: int) -> None:
        for _ in range(CALLS // 5):
            limit.acquire()

    in_threads(work)
    assert [float(turn) for turn in range(1, THREADS * (CALLS // 5))] == sorted(waits)


def test_everything_together_counts_right_over_threads_and_loops() -> None:
    """Four threads and four loops through one pipeline: slots, budget and window agree with what happened."""
    budget = RetryBudget(min_concurrent=10_000)
    breaker = CircuitBreaker(failure_rate=1.0, window=100_000.0, min_calls=90_000)
    bulkhead = Bulkhead(4, max_waiting=10_000, max_wait=20.0)
    pipeline = Pipeline(
        f"exact-{next(NUMBERS)}",
        Retry(on=ConnectionError, max_attempts=2, backoff=0.0, budget=budget),
        bulkhead,
        breaker,
        Timeout(20.0),
    )
    made: list[bool] = []

    def body(turn: int) -> None:
        failing = turn % 3 == 0
        made.append(failing)
        if failing:
            raise ConnectionError

    async def abody(turn: int) -> None:
        if turn % 7 == 0:
            await asyncio.sleep(0)
        body(turn)

    async def calls() -> None:
        await asyncio.gather(*(pipeline.acall(abody, turn) for turn in range(150)), return_exceptions=True)

    def work(number: int) -> None:
        if number % 2:
            asyncio.run(calls())
            return
        for turn in range(300):
            try:
                pipeline.call(body, turn)
            except ConnectionError:
                pass

    in_threads(work)
    seen = breaker.snapshot()
    assert 4 * (200 + 2 * 100 + 100 + 2 * 50) == len(made)
    assert (len(made), sum(made)) == (seen.calls, seen.failures)
    assert (0, 0, 0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting, budget.calls, budget.retries)
