"""One limit over all threads and event loops, usable again in the next one, whatever became of the last."""

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from seawall import Bulkhead, CallTimeoutError, CircuitBreaker, Fallback, Pipeline, RateLimit, Retry, Timeout

NUMBERS = count()


class Gauge:
    """Counts who is inside, and how many there were at most."""

    def __init__(self) -> None:
        self.inside = self.most = self.passed = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Counts one in."""
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        """Counts one out."""
        with self._lock:
            self.inside -= 1
            self.passed += 1


def new_bulkhead(limit: int, **figures: int) -> Bulkhead:
    """Makes a bulkhead with a name of its own."""
    return Bulkhead(limit, name=f"shared-{next(NUMBERS)}", **figures)


def test_one_bulkhead_over_five_threads_and_two_loops_keeps_its_limit_and_loses_no_slot() -> None:
    """Of 5 threads and 2 loops with 8 tasks each, never more than 2 are inside, and at the end none is (core 39)."""
    bulkhead = new_bulkhead(2, max_waiting=100)
    gauge = Gauge()

    @bulkhead
    def call() -> None:
        gauge.enter()
        threading.Event().wait(0.0001)
        gauge.leave()

    async def acall() -> None:
        gauge.enter()
        await asyncio.sleep(0)
        gauge.leave()

    protected = bulkhead(acall)

    async def task() -> None:
        for _ in range(20):
            await protected()

    async def many() -> None:
        await asyncio.gather(*(task() for _ in range(8)))

    def calls() -> None:
        for _ in range(40):
            call()

    threads = [threading.Thread(target=calls, daemon=True) for _ in range(5)]
    threads += [threading.Thread(target=lambda: asyncio.run(many()), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert 5 * 40 + 2 * 8 * 20 == gauge.passed
    assert 2 == gauge.most
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)


def test_cancelled_waiters_over_threads_and_loops_lose_no_slot() -> None:
    """While two loops cancel waiting tasks at random moments and threads come and go, every slot comes back."""
    bulkhead = new_bulkhead(2, max_waiting=100)
    gauge = Gauge()

    async def acall() -> None:
        gauge.enter()
        try:
            await asyncio.sleep(0)
        finally:
            gauge.leave()

    protected = bulkhead(acall)

    async def main(seed: int) -> None:
        for turn in range(40):
            tasks = [asyncio.create_task(protected()) for _ in range(5)]
            for _ in range((turn + seed) % 4):
                await asyncio.sleep(0)
            for task in tasks[turn % 3 :: 2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def calls() -> None:
        for _ in range(200):
            with bulkhead.guard():
                gauge.enter()
                gauge.leave()

    threads = [threading.Thread(target=lambda seed=seed: asyncio.run(main(seed)), daemon=True) for seed in range(2)]
    threads += [threading.Thread(target=calls, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    assert gauge.most <= 2


def test_a_bulkhead_with_waiters_works_in_a_second_run() -> None:
    """A bulkhead that had waiters in one asyncio.run has waiters in the next one too."""
    bulkhead = new_bulkhead(1, max_waiting=5)
    order: list[int] = []

    async def call(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0)

    protected = bulkhead(call)

    async def main() -> None:
        await asyncio.gather(*(protected(number) for number in range(5)))

    for _ in range(3):
        order.clear()
        asyncio.run(main())
        assert [0, 1, 2, 3, 4] == order
    assert 0 == bulkhead.snapshot().running


def test_a_run_that_ends_with_holders_and_waiters_leaves_the_bulkhead_free() -> None:
    """asyncio.run cancels what is left; the slots are free in the next run."""
    bulkhead = new_bulkhead(1, max_waiting=5)

    async def hang() -> None:
        await asyncio.Event().wait()

    protected = bulkhead(hang)
    left = []

    async def leave_them() -> None:
        for _ in range(4):
            left.append(asyncio.create_task(protected()))
        await asyncio.sleep(0)
        assert (1, 3) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)

    for _ in range(2):
        asyncio.run(leave_them())
        assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)


def test_a_timeout_works_in_a_second_run() -> None:
    """A time-out that cut a call short in one asyncio.run does so in the next."""
    timeout = Timeout(0.005, name=f"again-{next(NUMBERS)}")

    @timeout
    async def hang() -> None:
        await asyncio.Event().wait()

    for _ in range(3):
        with pytest.raises(CallTimeoutError):
            asyncio.run(hang())


def test_a_rate_limit_works_in_a_second_run() -> None:
    """A limiter whose waiters slept in one asyncio.run lets others sleep in the next."""
    limit = RateLimit(500, burst=1, max_wait=1.0, name=f"again-{next(NUMBERS)}")
    passed: list[int] = []

    @limit
    async def call(number: int) -> None:
        passed.append(number)

    async def main() -> None:
        await asyncio.gather(*(call(number) for number in range(4)))

    for turn in range(3):
        asyncio.run(main())
        assert 4 * (turn + 1) == len(passed)


def test_a_pipeline_works_in_a_second_run_and_in_two_loops_at_once() -> None:
    """One pipeline with everything in it serves one loop after another, and two beside each other."""
    pipeline = Pipeline(
        f"again-{next(NUMBERS)}",
        Fallback("fallback", on=ConnectionError),
        Retry(on=ConnectionError, max_attempts=2, backoff=0.001),
        RateLimit(100_000),
        Bulkhead(2, max_waiting=100, max_wait=10.0),
        CircuitBreaker(failure_rate=1.0, window_calls=100, min_calls=100),
        Timeout(5.0),
    )
    answers: list[str] = []

    async def call(number: int) -> str:
        await asyncio.sleep(0)
        if number % 5 == 0:
            raise ConnectionError
        return "answer"

    async def main() -> None:
        answers.extend(await asyncio.gather(*(pipeline.acall(call, number) for number in range(20))))

    asyncio.run(main())
    asyncio.run(main())
    threads = [threading.Thread(target=lambda: asyncio.run(main()), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [4 * 16, 4 * 4] == [answers.count("answer"), answers.count("fallback")]
    assert 0 == pipeline.get(Bulkhead).snapshot().running


def start_and_abandon(*calls: Callable[[], Awaitable[object]], ticks: int = 3) -> list[asyncio.Task[object]]:
    """Starts calls in a loop, runs it for some ticks, and closes it with the calls under way."""
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(call()) for call in calls]  # type: ignore[arg-type]
    for _ in range(ticks):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    return tasks


def test_a_queued_waiter_whose_loop_was_closed_is_skipped() -> None:
    """A slot passes over a waiter of a closed loop, to the next who waits in a loop that lives."""
    bulkhead = new_bulkhead(1, max_waiting=5)
    held = bulkhead.acquire()

    async def call() -> str:
        return "answer"

    protected = bulkhead(call)
    dead = start_and_abandon(protected, protected)
    assert 2 == bulkhead.snapshot().waiting

    async def main() -> str:
        task = asyncio.create_task(protected())
        await asyncio.sleep(0)
        assert 3 == bulkhead.snapshot().waiting
        held.release()
        return await asyncio.wait_for(task, 5)

    assert "answer" == asyncio.run(main())
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    assert 2 == len(dead)


def test_a_thread_behind_a_waiter_whose_loop_was_closed_gets_the_slot() -> None:
    """The same for a thread that queues behind the dead waiter."""
    bulkhead = new_bulkhead(1, max_waiting=5)
    held = bulkhead.acquire()

    async def call() -> None:
        """Returns."""

    dead = start_and_abandon(bulkhead(call))
    entered = threading.Event()

    def in_thread() -> None:
        with bulkhead.guard():
            entered.set()

    thread = threading.Thread(target=in_thread, daemon=True)
    thread.start()
    while bulkhead.snapshot().waiting < 2:
        threading.Event().wait(0.001)
    held.release()
    assert entered.wait(5)
    thread.join(5)
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    assert 1 == len(dead)


def test_a_slot_handed_to_a_waiter_whose_loop_closes_before_it_wakes_comes_back() -> None:
    """A waiter that was handed a slot and never ran again gives it back when it is collected."""
    bulkhead = new_bulkhead(1, max_waiting=5)
    held = bulkhead.acquire()
    loop = asyncio.new_event_loop()

    async def call() -> None:
        """Returns."""

    task = loop.create_task(bulkhead(call)())
    loop.call_soon(loop.stop)
    loop.run_forever()
    held.release()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    del task, loop
    gc.collect()
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    bulkhead.acquire().release()


@pytest.mark.parametrize("bounded", [False, True], ids=["without time-out", "with time-out"])
def test_a_call_under_way_in_a_closed_loop_gives_its_slot_back_when_collected(bounded: bool) -> None:
    """Once a closed loop is collected with the call in it, neither slot, loop nor timer is left behind."""
    bulkhead = new_bulkhead(1)

    async def hang() -> None:
        await asyncio.Event().wait()

    pipeline = Pipeline(f"closed-{next(NUMBERS)}", bulkhead, Timeout(60.0))
    tasks = start_and_abandon(pipeline(hang) if bounded else bulkhead(hang))
    assert 1 == bulkhead.snapshot().running
    del tasks
    gc.collect()
    assert 0 == bulkhead.snapshot().running


@pytest.mark.parametrize("queueing", ["threads", "tasks"])
def test_those_who_wait_are_served_in_the_order_of_queueing(queueing: str) -> None:
    """Five that queue one after the other run in that order, each when the one before has left."""
    bulkhead = new_bulkhead(1, max_waiting=5)
    order: list[int] = []
    held = bulkhead.acquire()

    def call(number: int) -> None:
        with bulkhead.guard():
            order.append(number)

    async def main() -> None:
        async def acall(number: int) -> None:
            async with bulkhead.guard():
                order.append(number)

        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(acall(number)))
            await asyncio.sleep(0)
        held.release()
        await asyncio.gather(*tasks)

    if queueing == "tasks":
        asyncio.run(main())
    else:
        threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(5)]
        for number, thread in enumerate(threads):
            thread.start()
            while bulkhead.snapshot().waiting <= number:
                threading.Event().wait(0.001)
        held.release()
        for thread in threads:
            thread.join(10)
    assert [0, 1, 2, 3, 4] == order
