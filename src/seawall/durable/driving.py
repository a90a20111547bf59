"""Flows: long procedures as generators of commands, written once and driven in either colour.

A flow decides and never waits. What it yields is done by a driver, which marks a crash point before and after each
command: so a test can kill the process between any two of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.crash import point
from seawall.durable.script import Executor, Script

T = TypeVar("T")

CLEANING: Final = 5.0
"""Seconds that a flow may take to put things in order after it was cancelled."""


@dataclass(frozen=True, slots=True)
class Transact:
    """Run a script in a transaction of its own; the flow is sent its result. `name` is that of its crash points."""

    name: str
    script: Callable[[], Script[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """Call user code: in the async driver it may be a coroutine function. The flow is sent what it returned."""

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    name: str
    seconds: float


Command: TypeAlias = Transact | Call | Pause
Flow: TypeAlias = Generator[Command, Any, T]
"""What fails is raised at its `yield`, cancellation too; the flow may catch it and yield further commands."""


def surely(name: str, script: Callable[[], Script[T]]) -> Flow[T]:
    """Runs a script. A caller that is cancelled meanwhile has it run once more, since it may not have come about."""
    try:
        return (yield Transact(name, script))  # type: ignore[no-any-return]
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        with contextlib.suppress(Exception):
            yield Transact(name, script)
        raise


def drive(executor: Executor, flow: Flow[T]) -> T:
    """Runs a flow to its end on this thread."""
    try:
        command = next(flow)
        while True:
            try:
                point(f"{command.name}.before")
                result = _do(executor, command)
                point(f"{command.name}.after")
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _do(executor: Executor, command: Command) -> Any:
    match command:
        case Transact(script=script):
            return executor.run(script)
        case Call(fn=fn, args=args, kwargs=kwargs):
            return fn(*args, **kwargs)
        case Pause(seconds=seconds):
            DEFAULT_CLOCK.sleep(seconds)


async def adrive(executor: Executor, flow: Flow[T]) -> T:
    """Runs a flow to its end in this task. Cancelled, it lets the flow put things in order, for at most 5 seconds."""
    cancelled = False
    try:
        command = next(flow)
        while True:
            try:
                point(f"{command.name}.before")
                doing = _ado(executor, command)
                result = await (shielded(doing) if cancelled else doing)
                point(f"{command.name}.after")
            except asyncio.CancelledError as error:
                cancelled = True
                command = flow.throw(error)
            except BaseException as error:
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _ado(executor: Executor, command: Command) -> Any:
    match command:
        case Transact(script=script):
            return await executor.arun(script)
        case Call(fn=fn, args=args, kwargs=kwargs):
            result = fn(*args, **kwargs)
            return await result if isinstance(result, Awaitable) else result
        case Pause(seconds=seconds):
            await DEFAULT_CLOCK.asleep(seconds)


async def shielded(doing: Awaitable[Any]) -> Any:
    """Finishes something after this task was cancelled, in at most 5 seconds; further cancellation changes nothing."""
    task = asyncio.ensure_future(doing)
    loop = asyncio.get_running_loop()
    until = loop.time() + CLEANING
    while not task.done() and loop.time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=until - loop.time())
    if not task.done():
        task.cancel()
        raise TimeoutError(f"putting things in order took more than {CLEANING:g} s after a cancellation")
    return task.result()
