"""Relinking: strategies are exchanged under running calls; what has state keeps it. And strategies that are shared."""

import asyncio
import gc
import threading
import warnings
from typing import Any

import pytest

import seawall
from seawall import (
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitChanged,
    CircuitOpenError,
    Event,
    Hedge,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    Timeout,
)
from seawall.testing import FakeClock


def fail(pipeline: Pipeline, times: int = 1) -> None:
    """Makes calls that fail."""

    def down() -> None:
        raise OSError("down")

    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            pipeline.call(down)


def test_decorated_functions_follow_from_their_next_call_on() -> None:
    """Those decorated before too, sync and async, and both ways."""
    pipeline = Pipeline("followed", Timeout(1))
    calls: list[int] = []

    @pipeline
    def work() -> None:
        calls.append(1)
        raise OSError("down")

    @pipeline
    async def awork() -> None:
        work.__wrapped__()  # type: ignore[attr-defined]

    def count() -> int:
        calls.clear()
        for run in (work, lambda: asyncio.run(awork())):
            with pytest.raises(OSError, match="down"):
                run()
        return len(calls)

    assert 2 == count()
    pipeline.relink(Retry(on=OSError, backoff=0), Timeout(1))
    assert 6 == count()
    pipeline.relink(Timeout(1))
    assert 2 == count()


def test_relinking_to_nothing_is_refused() -> None:
    """A forgotten argument must not end all protection; the pipeline is left as it was."""
    timeout = Timeout(1)
    pipeline = Pipeline("relinked to nothing", timeout)
    with pytest.raises(TypeError, match=r"relink\(\) was given no strategies.*give at least one"):
        pipeline.relink()
    assert (timeout,) == pipeline.strategies


def test_relinking_does_not_warn_of_the_names_it_gives_itself() -> None:
    """A new strategy takes the place, and the name, of the old one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = Pipeline("quietly relinked", CircuitBreaker(failures=3), Timeout(1))
        for failures in range(4, 7):
            pipeline.relink(CircuitBreaker(failures=failures), Timeout(1))
    assert ["quietly relinked.breaker", "quietly relinked.timeout"] == [s.name for s in pipeline.strategies]
    gc.collect()
    assert {"quietly relinked", "quietly relinked.breaker"} == {
        name for name in seawall.snapshot() if name.startswith("quietly relinked")
    }


def test_a_breaker_keeps_its_state_and_counts() -> None:
    """A new threshold holds at once; an open circuit stays open; the snapshot goes on."""
    pipeline = Pipeline("kept breaker", CircuitBreaker(failures=5, window_calls=10), Timeout(1))
    fail(pipeline, 3)
    pipeline.relink(CircuitBreaker(failures=4, window_calls=10), Timeout(1))
    assert 3 == pipeline.get(CircuitBreaker).snapshot().failures
    fail(pipeline)
    assert "open" == pipeline.get(CircuitBreaker).state
    pipeline.relink(CircuitBreaker(failures=9, window_calls=10), Timeout(1))
    with pytest.raises(CircuitOpenError):
        pipeline.call(int.bit_length, 5)


def test_a_window_of_another_shape_starts_empty() -> None:
    """Counts of calls say nothing about counts in time."""
    pipeline = Pipeline("reshaped", CircuitBreaker(failures=5, window_calls=10), Timeout(1))
    fail(pipeline, 4)
    pipeline.relink(CircuitBreaker(failures=5, window=10), Timeout(1))
    assert 0 == pipeline.get(CircuitBreaker).snapshot().failures


def test_an_isolation_survives() -> None:
    """The hold that was made before lets go of the circuit that is there now."""
    pipeline = Pipeline("isolated pipeline", CircuitBreaker(failures=5), Timeout(1))
    hold = pipeline.get(CircuitBreaker).isolate()
    pipeline.relink(CircuitBreaker(failures=9), Timeout(1))
    assert "isolated" == pipeline.get(CircuitBreaker).state
    hold.close()
    assert "closed" == pipeline.get(CircuitBreaker).state


def test_a_bulkhead_keeps_the_slots_in_use() -> None:
    """While a call is in flight: a smaller size takes effect as slots come back, a larger one at once."""
    pipeline = Pipeline("kept slots", Bulkhead(1), Timeout(1))
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)

    def full() -> bool:
        try:
            pipeline.call(int.bit_length, 5)
        except BulkheadFullError:
            return True
        return False

    thread = threading.Thread(target=pipeline.call, args=(work,))
    thread.start()
    assert begun.wait(10)
    seen = [full()]
    for size in (2, 1, 5, 1):
        pipeline.relink(Bulkhead(size), Timeout(1))
        seen.append(full())
    assert 1 == pipeline.get(Bulkhead).snapshot().running
    go_on.set()
    thread.join()
    assert [True, False, True, False, True] == seen
    assert (1, 0) == (pipeline.get(Bulkhead).snapshot().max_concurrent, pipeline.get(Bulkhead).snapshot().running)
    assert not full()


def test_a_larger_bulkhead_lets_waiting_calls_in() -> None:
    """The waiter of the old size runs as soon as there is a slot."""

    async def main() -> list[str]:
        order: list[str] = []
        gate = asyncio.Event()

        async def work(name: str) -> None:
            order.append(name)
            await gate.wait()

        tasks = [asyncio.ensure_future(pipeline.acall(work, name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        order.append("relinked")
        pipeline.relink(Bulkhead(2, max_waiting=1), Timeout(60))
        for _ in range(3):
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        return order

    with pytest.warns(seawall.SeawallWarning, match="time unbounded"):
        pipeline = Pipeline("larger", Bulkhead(1, max_waiting=1), Timeout(60))
    assert ["first", "relinked", "second"] == asyncio.run(main())


def test_a_rate_limit_keeps_its_bookings() -> None:
    """With equal figures; with others it begins anew."""
    with FakeClock():
        pipeline = Pipeline("kept bookings", RateLimit(1, per=60))
        pipeline.call(int.bit_length, 5)
        pipeline.relink(RateLimit(1, per=60, max_wait=1))
        with pytest.raises(RateLimitedError):
            pipeline.call(int.bit_length, 5)
        pipeline.relink(RateLimit(2, per=60))
        assert 3 == pipeline.call(int.bit_length, 5)


def test_a_hedge_keeps_what_it_learned() -> None:
    """For the same quantile."""
    hedge = Hedge("p50", min_samples=1)
    pipeline = Pipeline("kept learning", hedge)
    hedge.learn(3.0)
    pipeline.relink(Hedge("p50", min_samples=1, max_extra=2))
    assert 3.0 == pipeline.get(Hedge).delay()
    pipeline.relink(Hedge("p60", min_samples=1))
    assert float("inf") == pipeline.get(Hedge).delay()


def test_a_strategy_that_stays_is_left_alone() -> None:
    """The very object goes on with its state in another order or company."""
    breaker, timeout = CircuitBreaker(failures=2), Timeout(1)
    pipeline = Pipeline("stays", breaker, timeout)
    fail(pipeline)
    pipeline.relink(Retry(on=KeyError), breaker, timeout)
    fail(pipeline)
    assert "open" == breaker.state


def test_of_two_of_a_kind_each_new_one_follows_its_namesake() -> None:
    """Names decide where there are several."""
    pipeline = Pipeline("two of a kind", Bulkhead(9, name="outer slots"), Bulkhead(9, name="inner slots"), Timeout(1))
    permits = [bulkhead.acquire() for bulkhead in pipeline.strategies[1:2] if isinstance(bulkhead, Bulkhead)]
    with pytest.warns(seawall.SeawallWarning, match="in use already"):
        new = [Bulkhead(8, name="inner slots"), Bulkhead(8, name="outer slots")]
    pipeline.relink(*new, Timeout(1))
    assert [1, 0] == [bulkhead.snapshot().running for bulkhead in new]
    for permit in permits:
        permit.release()


def test_calls_in_flight_end_on_the_old_links() -> None:
    """A call that began under a Retry goes on retrying; its outcome reaches the breaker that now is there."""

    async def main() -> int:
        calls = 0

        async def work() -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                pipeline.relink(CircuitBreaker(failures=5, window_calls=10), Timeout(20))
            if calls < 3:
                raise OSError
            return calls

        return await pipeline.acall(work)

    with FakeClock():
        pipeline = Pipeline(
            "in flight", Retry(on=OSError, backoff=1), CircuitBreaker(failures=3, window_calls=10), Timeout(20)
        )
        assert 3 == asyncio.run(main())
    snapshot = pipeline.get(CircuitBreaker).snapshot()
    assert (3, 2) == (snapshot.calls, snapshot.failures)


def test_listeners_follow_through_relinking() -> None:
    """To strategies that stay, that are replaced, and that are new; removed once, they hear nothing more."""
    heard: list[Event] = []
    pipeline = Pipeline("listened", CircuitBreaker(failures=1), Timeout(1))
    stop = pipeline.listen(heard.append, CircuitChanged)
    pipeline.relink(CircuitBreaker(failures=2), Timeout(1))
    fail(pipeline, 2)
    assert 1 == len(heard)
    pipeline.relink(Timeout(1))
    pipeline.relink(CircuitBreaker(failures=1), Timeout(1))
    fail(pipeline)
    assert 2 == len(heard)
    stop()
    pipeline.get(CircuitBreaker).reset()
    assert 2 == len(heard)


def test_a_strategy_may_be_shared_between_pipelines() -> None:
    """Its state is one: what one pipeline's calls do, the other's feel; it keeps its first name."""
    breaker, bulkhead = CircuitBreaker(failures=2, name="shared breaker"), Bulkhead(1)
    first = Pipeline("first of two", bulkhead, breaker, Timeout(1))
    second = Pipeline("second of two", bulkhead, breaker, Timeout(1))
    assert "first of two.bulkhead" == bulkhead.name

    def nested() -> Any:
        return second.call(int.bit_length, 5)

    with pytest.raises(BulkheadFullError):
        first.call(nested)
    fail(first)
    fail(second)
    for pipeline in (first, second):
        with pytest.raises(CircuitOpenError, match="'shared breaker'"):
            pipeline.call(int.bit_length, 5)


def test_a_strategy_may_be_shared_with_a_decorated_function() -> None:
    """Alone and within a pipeline it is the same breaker."""
    breaker = CircuitBreaker(failures=1, name="alone and shared")
    pipeline = Pipeline("with alone", breaker, Timeout(1))
    fail(pipeline)
    with pytest.raises(CircuitOpenError):
        breaker(int.bit_length)(5)
