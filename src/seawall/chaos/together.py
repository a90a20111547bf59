"""Several coroutines at once, and what went wrong in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from seawall.chaos.scenario import ScenarioError

T = TypeVar("T")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines at once and returns their results in order.

    The first failure ends the others, which are waited for, and is raised as it is, not in a group.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await ended(tasks)
    return [task.result() for task in tasks]


async def either(task: asyncio.Future[Any], event: asyncio.Event, seconds: float | None = None) -> None:
    """Waits until a task is done, an event is set, or so many seconds have passed."""
    if task.done() or event.is_set():
        return
    seen = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([task, seen], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended([seen])


async def within(seconds: float, what: str, work: Awaitable[None]) -> None:
    """Waits for something; raises ScenarioError, with `what` did not happen and why, where it fails or takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except Exception as error:
        reason = f"it took longer than {seconds:g} s" if limit.expired() else why(error)
        raise ScenarioError(f"{what}: {reason}") from error


async def ended(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancels tasks and waits until they have ended, however they do."""
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs a coroutine in the background of a block, and ends it with the block; what it raises is left in its task."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await ended([task])


def why(error: BaseException) -> str:
    """Returns an exception as its class and text; of a group, the first one in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
