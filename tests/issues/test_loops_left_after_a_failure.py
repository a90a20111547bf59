"""A loop of attempts that was left by `break` after a failure left its spent retries to later calls."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seawall import Pipeline, Retry, Timeout
from tests.both import NUMBERS


def scene() -> tuple[Retry, Callable[[], int]]:
    """Returns a Retry, and a function that counts the attempts of a whole sync call."""
    retry = Retry(on=OSError, backoff=0, name=f"left {next(NUMBERS)}")
    calls: list[int] = []

    @retry
    def down() -> None:
        calls.append(1)
        raise OSError("down")

    def count() -> int:
        calls.clear()
        with pytest.raises(OSError, match="down"):
            down()
        return len(calls)

    return retry, count


@pytest.mark.parametrize("failures", [1, 2])
def test_break_out_of_an_async_loop(failures: int) -> None:
    """In the same task every later call has all its attempts, though the loop's generator is not yet closed."""
    retry, count = scene()

    async def main() -> list[int]:
        loop: Any = retry.attempts().__aiter__()  # held, so that nothing closes it
        async for attempt in loop:
            with attempt:
                raise OSError("down")
            if attempt.number == failures:
                break
        return [count(), count(), await acount(), await acount()]

    async def acount() -> int:
        calls: list[int] = []

        async def down() -> None:
            calls.append(1)
            raise OSError("down")

        with pytest.raises(OSError, match="down"):
            await retry(down)()
        return len(calls)

    assert [3, 3, 3, 3] == asyncio.run(main())


def test_break_out_of_a_sync_loop() -> None:
    """Likewise."""
    retry, count = scene()
    loop = iter(retry.attempts())
    for attempt in loop:
        with attempt:
            raise OSError("down")
        break
    assert [3, 3] == [count(), count()]


def test_a_loop_that_is_left_below_another_retry() -> None:
    """What it spent is spent for the call of the outer one, and for no other call."""
    retry, count = scene()
    outer = Pipeline(f"left pipeline {next(NUMBERS)}", Retry(on=KeyError, backoff=0), Timeout(5))
    seen: list[int] = []

    async def work() -> None:
        async for attempt in retry.attempts():
            seen.append(attempt.number)
            with attempt:
                raise OSError("down")
            if attempt.number == 2:
                break

    async def main() -> list[int]:
        await outer.acall(work)
        return [count(), count()]

    assert [3, 3] == asyncio.run(main())
    assert [1, 2] == seen


def test_what_runs_between_attempts_is_not_below_them() -> None:
    """A call of the same Retry in the loop's body, outside the attempt, has all its attempts."""
    retry, count = scene()

    async def main() -> None:
        async for attempt in retry.attempts():
            with attempt:
                raise OSError("down")
            seen.append(count())

    seen: list[int] = []
    with pytest.raises(OSError, match="down"):
        asyncio.run(main())
    assert [3, 3] == seen
