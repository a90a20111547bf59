"""Calling what a step does, in either colour."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from seawall._core.chain import kind_of
from seawall._core.deadline import deadline
from seawall.durable.saga import Step, StepContext


def call(step: Step[Any], fn: Callable[..., Any], context: StepContext[Any], left: float | None) -> Any:
    """Calls a plain function through the step's pipeline, under what is left of the saga's deadline."""
    value = _called(step, fn, context, left)
    if inspect.iscoroutine(value):
        value.close()  # a coroutine that nobody awaits complains
        raise TypeError(f"step {step.name!r} returned a coroutine to a sync worker; use `async with` or `arun`")
    return value


async def acall(step: Step[Any], fn: Callable[..., Any], context: StepContext[Any], left: float | None) -> Any:
    """Calls an async function so; a plain one on a thread, so that it does not hold up the event loop."""
    try:
        return await _acalled(step, fn, context, left)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
    raise RuntimeError(f"step {step.name!r} cancelled itself")


async def _acalled(step: Step[Any], fn: Callable[..., Any], context: StepContext[Any], left: float | None) -> Any:
    if kind_of(fn) != "acall":
        value = await asyncio.to_thread(_called, step, fn, context, left)
        return await value if inspect.isawaitable(value) else value
    if left is not None:
        async with deadline(left):
            return await _acalled(step, fn, context, None)
    return await (fn(context) if step.pipeline is None else step.pipeline.acall(fn, context))


def _called(step: Step[Any], fn: Callable[..., Any], context: StepContext[Any], left: float | None) -> Any:
    if left is not None:
        with deadline(left):
            return _called(step, fn, context, None)
    return fn(context) if step.pipeline is None else step.pipeline.call(fn, context)
