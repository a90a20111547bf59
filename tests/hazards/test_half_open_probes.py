"""A half-open circuit lets through what it may and no more, and no way of ending a probe wedges it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from seawall import CircuitBreaker, CircuitOpenError
from seawall.testing import FakeClock

NUMBERS = count()
COLOURS = ("sync", "async", "stream", "astream", "guard", "aguard")
CANCELLATIONS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


@pytest.fixture
def clock() -> FakeClock:
    """Gives a clock for breakers alone."""
    return FakeClock()


def breaker_with(clock: FakeClock, **figures: Any) -> CircuitBreaker:
    """Makes a closed breaker that opens at the first failure, for 10 s."""
    shape = {} if "failure_rate" in figures else {"failures": 1}
    return CircuitBreaker(**{**shape, "open_for": 10.0, **figures}, clock=clock, name=f"probed-{next(NUMBERS)}")


def half_open(clock: FakeClock, **figures: Any) -> CircuitBreaker:
    """Makes a breaker that admits its next call as a probe."""
    breaker = breaker_with(clock, **figures)
    breaker.acquire().failure()
    clock.advance(10.0)
    return breaker


def through(colour: str, breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    """Runs `body` once, protected in one colour."""
    return {
        "sync": lambda: breaker(lambda: body())(),
        "async": lambda: asyncio.run(_acall(breaker, body)),
        "stream": lambda: _stream(breaker, body),
        "astream": lambda: asyncio.run(_astream(breaker, body)),
        "guard": lambda: _guard(breaker, body),
        "aguard": lambda: asyncio.run(_aguard(breaker, body)),
    }[colour]()


async def _acall(breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    async def call() -> object:
        return body()

    return await breaker(call)()


def _stream(breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    def call() -> Iterator[object]:
        yield body()

    return list(breaker(call)()).pop()


async def _astream(breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    async def call() -> Any:
        yield body()

    return [item async for item in breaker(call)()].pop()


def _guard(breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    with breaker.guard():
        return body()


async def _aguard(breaker: CircuitBreaker, body: Callable[[], object]) -> object:
    async with breaker.guard():
        return body()


def boom(error: type[BaseException]) -> Callable[[], object]:
    """Makes a body that raises."""

    def body() -> object:
        raise error

    return body


def test_half_open_admits_one_of_50_concurrent_tasks(clock: FakeClock) -> None:
    """Of 50 tasks that call at once, one is the probe and 49 are rejected."""
    breaker = half_open(clock)
    entered: list[int] = []

    async def main() -> list[object]:
        verdict = asyncio.Event()

        async def probe(number: int) -> int:
            entered.append(number)
            await verdict.wait()
            return number

        protected = breaker(probe)
        tasks = [asyncio.create_task(protected(number)) for number in range(50)]
        await asyncio.wait(tasks[1:], timeout=5)
        verdict.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    ended = asyncio.run(main())
    assert [0] == entered
    assert 49 == sum(isinstance(end, CircuitOpenError) for end in ended)
    assert "closed" == breaker.state


def test_half_open_admits_one_of_50_concurrent_threads(clock: FakeClock) -> None:
    """Of 50 threads that call at once, one is the probe and 49 are rejected before it ends."""
    breaker = half_open(clock)
    rejected = threading.Semaphore(0)
    together = threading.Barrier(50)
    entered: list[int] = []

    def probe() -> None:
        entered.append(threading.get_ident())
        for _ in range(49):
            assert rejected.acquire(timeout=10)

    protected = breaker(probe)

    def call() -> None:
        together.wait(10)
        try:
            protected()
        except CircuitOpenError:
            rejected.release()

    threads = [threading.Thread(target=call) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 1 == len(entered)
    assert "closed" == breaker.state


def test_half_open_admits_one_of_25_threads_and_25_tasks(clock: FakeClock) -> None:
    """Threads and tasks share the one probe of their common breaker."""
    breaker = half_open(clock)
    entered: list[str] = []
    rejections: list[str] = []
    verdict = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        all_rejected, averdict = asyncio.Event(), asyncio.Event()
        together = threading.Barrier(26)

        def note(colour: str) -> None:
            rejections.append(colour)
            if len(rejections) == 49:
                all_rejected.set()

        def probe() -> None:
            entered.append("thread")
            assert verdict.wait(10)

        async def aprobe() -> None:
            entered.append("task")
            await averdict.wait()

        protected, aprotected = breaker(probe), breaker(aprobe)

        def in_thread() -> None:
            together.wait(10)
            try:
                protected()
            except CircuitOpenError:
                loop.call_soon_threadsafe(note, "thread")

        async def in_task() -> None:
            try:
                await aprotected()
            except CircuitOpenError:
                note("task")

        threads = [threading.Thread(target=in_thread) for _ in range(25)]
        for thread in threads:
            thread.start()
        tasks = [asyncio.create_task(in_task()) for _ in range(25)]
        together.wait(10)
        await asyncio.wait_for(all_rejected.wait(), 10)
        verdict.set()
        averdict.set()
        await asyncio.gather(*tasks)
        for thread in threads:
            thread.join(10)

    asyncio.run(main())
    assert 1 == len(entered)
    assert 49 == len(rejections)
    assert "closed" == breaker.state


def test_half_open_admits_one_of_50_open_streams(clock: FakeClock) -> None:
    """A stream that is a probe keeps the other 49 out until it is closed."""
    breaker = half_open(clock)

    @breaker
    def items() -> Iterator[int]:
        yield 1
        yield 2

    probe = items()
    assert 1 == next(probe)
    for _ in range(49):
        with pytest.raises(CircuitOpenError):
            next(items())
    assert "half_open" == breaker.state
    assert [2] == list(probe)
    assert "closed" == breaker.state


@pytest.mark.parametrize("error", CANCELLATIONS)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_cancelled_probe_frees_its_slot_at_once(clock: FakeClock, colour: str, error: type[BaseException]) -> None:
    """A probe ended by a cancellation changes no state, and the very next call is admitted."""
    breaker = half_open(clock)
    with pytest.raises(error):
        through(colour, breaker, boom(error))
    assert "half_open" == breaker.state
    assert "answer" == through(colour, breaker, lambda: "answer")
    assert "closed" == breaker.state


def test_a_probe_cancelled_by_its_task_frees_its_slot_at_once(clock: FakeClock) -> None:
    """`task.cancel()` on a waiting probe lets the next call in within the same event loop."""
    breaker = half_open(clock)

    async def main() -> str:
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(breaker(hang)())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def answer() -> str:
            return "answer"

        return await breaker(answer)()

    assert "answer" == asyncio.run(main())
    assert "closed" == breaker.state


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_predicate_that_raises_frees_its_probe_at_once(clock: FakeClock, colour: str) -> None:
    """A bug in the user's `on=` predicate must not keep the probe's slot for a whole lease."""
    faults = [RuntimeError("a bug in the predicate")]

    def judge(error: Exception) -> bool:
        if faults:
            raise faults.pop()
        return True

    breaker = half_open(clock, on=judge)
    with pytest.raises((RuntimeError, ValueError)):
        through(colour, breaker, boom(ValueError))
    if breaker.state == "half_open":
        assert "answer" == through(colour, breaker, lambda: "answer")


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_result_predicate_that_raises_frees_its_probe_at_once(clock: FakeClock, colour: str) -> None:
    """The same for the user's `on_result=` predicate."""
    faults = [RuntimeError("a bug in the predicate")]
    breaker = half_open(clock, on_result=lambda result: bool(faults) and _raise(faults.pop()))
    with pytest.raises(RuntimeError):
        through(colour, breaker, lambda: "answer")
    if breaker.state == "half_open":
        assert "answer" == through(colour, breaker, lambda: "answer")


def _raise(error: Exception) -> bool:
    raise error


def test_a_hung_probe_does_not_wedge_the_breaker_and_its_late_result_counts(clock: FakeClock) -> None:
    """After the lease another probe is let in; the hung one still counts while the epoch lives."""
    breaker = half_open(clock)

    async def main() -> list[str]:
        begun, verdict = asyncio.Event(), asyncio.Event()

        async def hang(answer: str) -> str:
            begun.set()
            await verdict.wait()
            return answer

        protected = breaker(hang)
        hung = asyncio.create_task(protected("hung"))
        await begun.wait()
        with pytest.raises(CircuitOpenError) as rejection:
            await protected("too early")
        assert rejection.value.retry_after == 10.0
        clock.advance(10.0)
        second = asyncio.create_task(protected("second"))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpenError):
            await protected("one lease frees one slot")
        second.cancel()
        await asyncio.wait([second])
        verdict.set()
        return [await hung, breaker.state]

    assert ["hung", "closed"] == asyncio.run(main())


def test_a_hung_probe_in_a_thread_is_replaced_and_its_late_failure_opens(clock: FakeClock) -> None:
    """The same in threads: while the epoch lives, the late failure of the hung probe re-opens the circuit."""
    breaker = half_open(clock)
    begun, verdict = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def hang() -> None:
        begun.set()
        assert verdict.wait(10)
        raise ConnectionError

    def call() -> None:
        try:
            breaker(hang)()
        except ConnectionError as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(10)
    clock.advance(10.0)
    breaker.acquire().release()
    verdict.set()
    thread.join(10)
    assert 1 == len(failures)
    assert "open" == breaker.state
