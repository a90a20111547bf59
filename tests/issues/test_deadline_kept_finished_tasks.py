"""A deadline kept every finished child task, and a timer for it, until the block was left."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from seawall import Pipeline, Retry, Timeout, deadline
from seawall.testing import FakeClock
from tests.both import NUMBERS


async def suspended() -> None:
    """An async function that is suspended once."""
    await asyncio.sleep(0)


async def failing() -> None:
    """One that fails."""
    await asyncio.sleep(0)
    raise KeyError


def live_timers() -> int:
    """Returns the number of timers that are set in this event loop."""
    return sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


@pytest.mark.parametrize("fn", [suspended, failing])
@pytest.mark.parametrize("kind", ["alone", "pipeline"])
def test_a_finished_child_task_is_let_go(kind: str, fn: Any) -> None:
    """Neither the task nor a timer is left, while the deadline goes on."""
    name = f"kept {next(NUMBERS)}"
    protect: Any = Retry(on=OSError, name=name) if kind == "alone" else Pipeline(name, Retry(on=OSError), Timeout(5))
    call = protect(fn)

    async def main() -> list[object]:
        refs = []
        await asyncio.gather(call(), return_exceptions=True)  # a Timeout has one timer for all its calls
        with deadline(3600):
            before = live_timers()
            for _ in range(10):
                task = asyncio.ensure_future(call())
                refs.append(weakref.ref(task))
                await asyncio.gather(task, return_exceptions=True)
                del task
            await asyncio.sleep(0)
            gc.collect()
            assert before == live_timers()
            return [ref for ref in refs if ref() is not None]

    assert [] == asyncio.run(main())


def test_a_cancelled_child_task_is_let_go() -> None:
    """Likewise one that did not end by itself."""
    call = Retry(on=OSError, name=f"kept {next(NUMBERS)}")(asyncio.sleep)

    async def main() -> object:
        with deadline(3600):
            task = asyncio.ensure_future(call(1000))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            ref = weakref.ref(task)
            del task
            await asyncio.sleep(0)
            gc.collect()
            assert 0 == live_timers()
            return ref()

    assert None is asyncio.run(main())


def test_a_task_that_runs_is_still_cut() -> None:
    """Letting go of finished tasks leaves the others their timers."""
    call = Retry(on=KeyError, name=f"cut {next(NUMBERS)}")(asyncio.sleep)

    async def main() -> float:
        with FakeClock() as clock, deadline(5):
            tasks = [asyncio.ensure_future(call(seconds)) for seconds in (1, 100)]
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(None), "CallTimeoutError"] == [type(done[0]), type(done[1]).__name__]
            return clock.now()

    assert 5.0 == asyncio.run(main())
