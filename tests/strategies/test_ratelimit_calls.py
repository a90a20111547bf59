"""The rate limit: waiting for one's turn in both colours, rejections with their hint, and what is never used up."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from seawall import CallRejected, Pipeline, RateLimit, RateLimitedError, Retry, Timeout
from seawall.testing import FakeClock, Recorder


def starts(limit: RateLimit, calls: int, colour: str) -> list[float]:
    """Makes calls one after the other; returns the instant of each start."""
    clock: Any = limit.clock
    seen: list[float] = []

    def work() -> None:
        seen.append(clock.now())

    async def awork() -> None:
        seen.append(clock.now())

    async def main() -> None:
        call = limit(awork)
        for _ in range(calls):
            await call()

    if colour == "async":
        asyncio.run(main())
    else:
        call = limit(work)
        for _ in range(calls):
            call()
    return seen


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rate": 2, "per": 10}, [0.0, 0.0, 5.0, 10.0, 15.0]),
        ({"rate": 2, "per": 10, "burst": 3}, [0.0, 0.0, 0.0, 5.0, 10.0]),
        ({"rate": 2, "per": 10, "burst": 1}, [0.0, 5.0, 10.0, 15.0, 20.0]),
        ({"rate": 2, "per": 10, "algorithm": "gcra"}, [0.0, 5.0, 10.0, 15.0, 20.0]),
        ({"rate": 2, "per": 10, "algorithm": "gcra", "burst": 2}, [0.0, 0.0, 5.0, 10.0, 15.0]),
        ({"rate": 2, "per": 10, "algorithm": "sliding_window"}, [0.0, 0.0, 10.0, 10.0, 20.0]),
        ({"rate": 0.5, "per": timedelta(seconds=5)}, [0.0, 10.0, 20.0, 30.0, 40.0]),
    ],
)
def test_calls_wait_for_their_turn(colour: str, given: dict[str, Any], expected: list[float]) -> None:
    """The starts of five calls made at once, one after the other."""
    with FakeClock() as clock:
        limit = RateLimit(**given, max_wait=60, clock=clock, name=f"turns {colour} {given}")
        assert expected == starts(limit, 5, colour)


def test_a_quiet_time_gives_the_burst_back() -> None:
    """But no more than that, however long it was."""
    with FakeClock() as clock:
        limit = RateLimit(1, per=10, burst=2, max_wait=60, clock=clock, name="quiet")
        starts(limit, 4, "sync")
        clock.advance(1000)
        now = clock.now()
        assert [0.0, 0.0, 10.0] == [start - now for start in starts(limit, 3, "async")]


def test_a_wait_that_is_too_long_is_refused_without_sleeping(colour: str) -> None:
    """The error says how long it would have been; nothing is used up by asking."""

    def refused() -> RateLimitedError:
        with pytest.raises(RateLimitedError) as caught:
            starts(limit, 1, colour)
        return caught.value

    with FakeClock() as clock, Recorder() as events:
        limit = RateLimit(1, per=10, max_wait=5, clock=clock, name=f"refusing {colour}")
        starts(limit, 1, colour)
        errors = [refused() for _ in range(3)]
        assert [10.0] * 3 == [error.retry_after for error in errors]
        assert f"'refusing {colour}' is at its rate limit; try again in 10 s" == str(errors[0])
        assert errors == [event.error for event in events.of(CallRejected)]
        assert [] == clock.slept
        clock.advance(5)
        assert [10.0] == starts(limit, 1, colour)


def test_a_turn_just_in_reach_is_waited_for() -> None:
    """The bound is inclusive."""
    with FakeClock() as clock:
        limit = RateLimit(1, per=10, max_wait=10, clock=clock, name="just in reach")
        assert [0.0, 10.0, 20.0] == starts(limit, 3, "sync")


def test_waiting_calls_are_booked_in_order() -> None:
    """Ten tasks at once: each its own instant, in the order of asking; the last ones are refused."""

    async def one(number: int) -> tuple[int, float]:
        await limit.aturn()
        return number, clock.now()

    async def main() -> list[Any]:
        return await asyncio.gather(*map(one, range(6)), return_exceptions=True)

    with FakeClock() as clock:
        limit = RateLimit(1, per=10, max_wait=30, clock=clock, name="in order")
        *booked, refused, other = asyncio.run(main())
    assert [(0, 0.0), (1, 10.0), (2, 20.0), (3, 30.0)] == booked
    assert [40.0, 40.0] == [refused.retry_after, other.retry_after]


def test_a_cancelled_wait_gives_its_instant_to_the_next() -> None:
    """The next to ask gets it, not one behind all others."""

    async def main() -> list[float]:
        await limit.aturn()
        waiting = [asyncio.ensure_future(_when(limit, clock)) for _ in range(2)]
        await asyncio.sleep(1)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        return [await _when(limit, clock), await waiting[1]]

    with FakeClock() as clock:
        limit = RateLimit(1, per=10, max_wait=60, clock=clock, name="cancelled wait")
        assert [10.0, 20.0] == asyncio.run(main())


async def _when(limit: RateLimit, clock: FakeClock) -> float:
    await limit.aturn()
    return clock.now()


def test_guards_and_permits_take_a_turn() -> None:
    """`with`, `async with`, `acquire` and `aacquire`; a permit's end gives nothing back."""

    async def main() -> float:
        async with limit.guard():
            (await limit.aacquire()).release()
        return clock.now()

    with FakeClock() as clock:
        limit = RateLimit(1, per=10, max_wait=60, clock=clock, name="guards and permits")
        with limit.guard():
            limit.acquire().release()
        assert 10.0 == clock.now()
        assert 30.0 == asyncio.run(main())


def test_a_sync_wait_refuses_to_block_an_event_loop() -> None:
    """The instant that it had booked is free again."""

    async def main() -> None:
        limit.acquire()
        with pytest.raises(RuntimeError, match="'sync turn' would have to wait"):
            limit.acquire()
        await limit.aacquire()

    with FakeClock() as clock:
        limit = RateLimit(1, per=10, max_wait=60, name="sync turn")
        asyncio.run(main())
        assert 10.0 == clock.now()


@pytest.mark.parametrize("fail", [False, True])
def test_a_turn_is_used_up_however_the_call_ends(fail: bool) -> None:
    """A failed call was a call all the same."""

    def work() -> None:
        if fail:
            raise OSError("down")

    with FakeClock():
        call: Callable[[], None] = RateLimit(1, per=10, name=f"used up {fail}")(work)
        try:
            call()
        except OSError:
            pass
        with pytest.raises(RateLimitedError):
            call()


def test_a_retry_outside_may_wait_for_the_limit() -> None:
    """Where rejections are listed; every attempt takes a turn."""
    calls: list[float] = []

    def work() -> None:
        calls.append(clock.now())
        raise OSError("down")

    with FakeClock() as clock:
        both = Pipeline(
            "limited attempts",
            Retry(on=(OSError, RateLimitedError), backoff=6, max_attempts=5),
            RateLimit(1, per=10),
            Timeout(1),
        )
        with pytest.raises(OSError, match="down"):
            both.call(work)
    assert [0.0, 12.0, 24.0] == calls
