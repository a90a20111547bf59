"""A caller that is cancelled leaves nothing half done: what was under way is done once more, and then it passes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seawall.durable.driving import Flow, adrive, surely
from seawall.durable.script import Script


class Slow:
    """An executor whose transactions take a turn of the loop, and do not come about where the caller is cancelled."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def run(self, script: Callable[[], Script[Any]]) -> Any:
        """Runs nothing."""
        raise NotImplementedError

    async def arun(self, script: Callable[[], Script[Any]]) -> Any:
        """Runs a script, after a while."""
        await asyncio.sleep(0)
        try:
            next(script())
        except StopIteration as end:
            self.ran.append(end.value)
            return end.value


def mark() -> Script[str]:
    """Gives a word."""
    return "marked"
    yield


def test_what_was_under_way_is_done_once_more() -> None:
    """And the cancellation is not lost."""

    async def scenario() -> None:
        executor = Slow()
        task = asyncio.create_task(adrive(executor, surely("mark", mark)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert ["marked"] == executor.ran

    asyncio.run(scenario())


def test_what_fails_is_not_done_once_more() -> None:
    """An error is no cancellation."""
    tries = []

    def fail() -> Script[None]:
        tries.append(1)
        raise KeyError("mine")
        yield

    def flow() -> Flow[None]:
        yield from surely("fail", fail)

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(adrive(Slow(), flow()))

    assert [1] == tries


def test_a_flow_that_is_thrown_away_does_nothing_more() -> None:
    """Closing it, as the garbage collector does, asks for no transaction."""
    flow = surely("mark", mark)
    next(flow)
    flow.close()
