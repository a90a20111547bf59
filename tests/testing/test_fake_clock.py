"""The fake clock: time that passes only when something waits for it, in threads and event loops."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from seawall import Bulkhead, CallTimeoutError, CircuitBreaker, RateLimit, Retry, Timeout, deadline
from seawall.testing import FakeClock


def test_time_stands_still_until_it_is_moved() -> None:
    """`now` begins where it is told to; `advance` and `sleep` move it; sleeps are listed."""
    clock = FakeClock(100)
    assert [100.0, 100.0] == [clock.now(), clock.now()]
    clock.advance(5)
    clock.advance(0)
    clock.sleep(2.5)
    assert (107.5, [2.5]) == (clock.now(), clock.slept)
    with pytest.raises(ValueError, match="seconds=-1 would turn time back; use 0 or more"):
        clock.advance(-1)


def test_the_wall_clock_goes_along_and_can_be_set() -> None:
    """Setting it, as an operator does, leaves the monotonic clock alone."""
    clock = FakeClock(10, wall=1000.0)
    clock.advance(5)
    assert (15.0, 1005.0) == (clock.now(), clock.wall())
    clock.set_wall(500.0)
    assert (15.0, 500.0) == (clock.now(), clock.wall())
    clock.advance(1)
    assert (16.0, 501.0) == (clock.now(), clock.wall())


def test_strategies_made_before_use_it_too() -> None:
    """The default clock is replaced as a whole, and put back."""
    limit = RateLimit(1, per=3600, max_wait=3600, name="made before the clock")
    with FakeClock() as clock:
        limit.acquire()
        limit.acquire()
        assert 3600.0 == clock.now()
    began = time.monotonic()
    assert began <= limit.clock.now() <= time.monotonic()


def test_a_strategy_with_a_clock_of_its_own_keeps_it() -> None:
    """Two clocks, each for its own strategy; none needs to be entered."""
    own = FakeClock()
    breaker = CircuitBreaker(failures=1, open_for=5, name="clock of its own", clock=own)
    breaker.acquire().failure()
    with FakeClock() as other:
        other.advance(60)
        assert "open" == breaker.state
    own.advance(5)
    assert "half_open" == breaker.state


def test_a_time_out_with_a_clock_of_its_own_keeps_it() -> None:
    """The event loop is driven by that clock."""
    own = FakeClock()

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await Timeout(3600, name="own time", clock=own)(asyncio.sleep)(7200)

    asyncio.run(main())
    assert 3600.0 == own.now()


def test_every_timer_of_a_driven_loop_is_virtual() -> None:
    """`asyncio.sleep`, `wait_for`, `timeout` and `call_later` in their order; the loop's time goes along."""

    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        with FakeClock() as clock:
            start, seen = loop.time(), []

            def note(what: str) -> None:
                seen.append((what, clock.now()))

            loop.call_later(50, note, "call_later")
            loop.call_at(start + 70, note, "call_at")
            await asyncio.sleep(10)
            note("sleep")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 20)
            note("wait_for")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await asyncio.Event().wait()
            note("timeout")
            await asyncio.sleep(60)
            assert 120.0 == pytest.approx(loop.time() - start)
            return seen

    began = time.monotonic()
    expected = [("sleep", 10), ("wait_for", 30), ("call_later", 50), ("timeout", 60), ("call_at", 70)]
    assert expected == asyncio.run(main())
    assert time.monotonic() - began < 5


def test_a_loop_is_given_back_when_the_clock_is_left() -> None:
    """Its own time and selector; timers set within keep their order."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        real, seen = loop.time, []
        with FakeClock():
            await Retry(on=OSError, backoff=3600, max_elapsed=None, name="given back")(_once())()
            assert real != loop.time
            loop.call_later(0.002, seen.append, "second")
            loop.call_later(0.001, seen.append, "first")
        assert real == loop.time
        await asyncio.sleep(0.01)
        return seen

    assert ["first", "second"] == asyncio.run(main())


def _once() -> Callable[[], Awaitable[None]]:
    failures = [OSError()]

    async def work() -> None:
        if failures:
            raise failures.pop()

    return work


def test_many_tasks_wake_in_the_order_of_their_time() -> None:
    """Equal instants in the order of asking."""

    async def main() -> list[tuple[int, float]]:
        seen: list[tuple[int, float]] = []

        async def one(number: int, seconds: float) -> None:
            await clock.asleep(seconds)
            seen.append((number, clock.now()))

        await asyncio.gather(*(one(number, seconds) for number, seconds in enumerate((3, 1, 2, 1))))
        return seen

    with FakeClock() as clock:
        assert [(1, 1.0), (3, 1.0), (2, 2.0), (0, 3.0)] == asyncio.run(main())
    assert [3, 1, 2, 1] == clock.slept


def test_time_does_not_jump_while_there_is_work() -> None:
    """A loop jumps only when nothing is left to run now."""

    async def main() -> float:
        sleeper = asyncio.ensure_future(clock.asleep(10))
        for _ in range(100):
            await asyncio.sleep(0)
        assert 0.0 == clock.now()
        await sleeper
        return clock.now()

    with FakeClock() as clock:
        assert 10.0 == asyncio.run(main())


def test_advancing_by_hand_wakes_what_is_due() -> None:
    """Timers run when their loop next looks, the earlier ones first."""

    async def main() -> list[str]:
        seen: list[str] = []
        loop = asyncio.get_running_loop()
        clock.drive(loop)
        loop.call_later(20, seen.append, "later")
        loop.call_later(10, seen.append, "earlier")
        clock.advance(15)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ["earlier"] == seen
        await asyncio.sleep(5)
        await asyncio.sleep(0)
        return seen

    with FakeClock() as clock:
        assert ["earlier", "later"] == asyncio.run(main())


def test_a_thread_that_waits_is_woken_by_another() -> None:
    """At once: the grace is for those whom nobody wakes."""
    bulkhead = Bulkhead(1, max_waiting=1, max_wait=3600, name="woken thread")
    began = time.monotonic()
    with FakeClock(grace=1) as clock:
        permit = bulkhead.acquire()
        thread = threading.Thread(target=lambda: bulkhead.acquire().release())
        thread.start()
        while not bulkhead.snapshot().waiting:
            pass
        permit.release()
        thread.join()
        assert 0.0 == clock.now()
    assert time.monotonic() - began < 0.5


def test_a_thread_that_nobody_wakes_waits_to_the_end() -> None:
    """Time jumps there after the grace."""
    with FakeClock(grace=0.001) as clock:
        assert not clock.wait(threading.Event(), 3600)
        assert 3600.0 == clock.now()
        event = threading.Event()
        event.set()
        assert clock.wait(event, 10)
        assert clock.wait(event, None)
        assert 3600.0 == clock.now()


def test_advancing_ends_a_threads_wait() -> None:
    """Another thread may move the clock beyond the end of the wait."""
    with FakeClock(grace=5) as clock:
        ended: list[bool] = []
        thread = threading.Thread(target=lambda: ended.append(clock.wait(threading.Event(), 60)))
        thread.start()
        while thread.is_alive():
            clock.advance(30)
            thread.join(0.001)
    assert [False] == ended


def test_a_grace_waits_for_threads() -> None:
    """With one, a loop that waits for a real thread does not jump before it answers."""

    async def main() -> float:
        async with deadline(3600):
            clock.drive(asyncio.get_running_loop())
            sleeper = asyncio.ensure_future(asyncio.sleep(60))
            await asyncio.to_thread(threading.Event().wait, 0.01)
            now = clock.now()
            sleeper.cancel()
            return now

    with FakeClock(grace=5) as clock:
        assert 0.0 == asyncio.run(main())


def test_one_clock_for_several_loops_one_after_the_other() -> None:
    """Each is driven in its turn, and the time goes on."""

    async def main() -> None:
        await clock.asleep(10)

    with FakeClock() as clock:
        for _ in range(3):
            asyncio.run(main())
        assert 30.0 == clock.now()


def test_a_clock_can_be_entered_again() -> None:
    """It goes on from where it was."""
    clock = FakeClock()
    limit = RateLimit(1, per=10, max_wait=60, name="entered again")
    for _ in range(2):
        with clock:
            limit.acquire()
    assert 10.0 == clock.now()


def test_leaving_an_inner_clock_goes_back_to_the_outer() -> None:
    """Nested blocks, as fixtures make them."""
    limit = RateLimit(1, per=10, max_wait=60, name="nested clocks")
    with FakeClock(1000) as outer:
        with FakeClock():
            limit.acquire()
        assert outer.now() == limit.clock.now()
