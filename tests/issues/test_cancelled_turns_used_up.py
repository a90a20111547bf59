"""Turns of cancelled waiters that passed unused were used up all the same."""

import asyncio
from typing import Any

import pytest

from seawall import RateLimit, RateLimitedError
from seawall.testing import FakeClock
from tests.both import NUMBERS

SHAPES: list[dict[str, Any]] = [
    {"algorithm": "sliding_window"},
    {"algorithm": "token_bucket"},
    {"algorithm": "gcra", "burst": 10},
    {"algorithm": "gcra"},
]


async def cancelled_waiters(clock: FakeClock, shape: dict[str, Any], calls: int) -> Any:
    """Ten a minute: so many calls run at 0, ten that wait are cancelled at 1; returns a function that makes calls."""
    limit = RateLimit(10, per=60, max_wait=100, name=f"given back {next(NUMBERS)}", **shape)

    async def run() -> float:
        return clock.now()

    call = limit(run)
    assert [0.0] * calls == [await call() for _ in range(calls)]
    waiters = [asyncio.ensure_future(call()) for _ in range(10)]
    await asyncio.sleep(1)
    assert not any(waiter.done() for waiter in waiters)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    return call


def burst(shape: dict[str, Any]) -> int:
    """Returns how many calls may start at once."""
    return int(shape.get("burst", 1)) if shape["algorithm"] == "gcra" else 10


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("later", [60.5, 67.0])
def test_turns_that_pass_unused_are_free_again(shape: dict[str, Any], later: float) -> None:
    """When all booked instants are over nothing remembers them: as many calls start at once as at the beginning."""
    calls = burst(shape)

    async def main() -> list[float]:
        with FakeClock() as clock:
            call = await cancelled_waiters(clock, shape, calls)
            await asyncio.sleep(later - clock.now())
            return [await call() for _ in range(calls)]

    assert [later] * calls == asyncio.run(main())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_limit_itself_still_holds_afterwards(shape: dict[str, Any]) -> None:
    """One more than may start at once has to wait for its turn."""
    calls = burst(shape)

    async def main() -> float:
        with FakeClock() as clock:
            call = await cancelled_waiters(clock, shape, calls)
            await asyncio.sleep(67 - clock.now())
            for _ in range(calls):
                await call()
            return float(await call())

    assert (127.0 if shape["algorithm"] == "sliding_window" else 73.0) == asyncio.run(main())


def test_a_turn_given_back_in_time_goes_to_the_next() -> None:
    """A newcomer gets the earliest instant that was given back, and no more of them than there were."""

    async def main() -> list[Any]:
        with FakeClock() as clock:
            call = await cancelled_waiters(clock, {"algorithm": "sliding_window"}, 10)
            return list(await asyncio.gather(*(call() for _ in range(11)), return_exceptions=True))

    *starts, refused = asyncio.run(main())
    assert [60.0] * 10 == starts
    assert RateLimitedError is type(refused)
