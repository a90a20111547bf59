"""The innermost link: the call of the protected function itself.

The watchful leaves hold a call to the deadline around it and count it for whoever traces it. A trace is of one
pipeline's call, so it is hidden from pipelines further in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing
from typing import Any

from seawall._core.context import NOTHING, Trace, current, surround
from seawall._core.deadline import Cut, refuse_if_over, scope
from seawall._core.events import Hub
from seawall._core.stream import Watch, relay

Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def plain(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls the function, whatever its kind: what it returns is awaited or iterated further out."""
    return fn(*args, **kwargs)


def _count() -> Trace | None:
    """Counts an attempt for the trace, if there is one, and hides it; returns the trace, to be put back."""
    ambient = current()
    if ambient is None or ambient.trace is None:
        return None
    ambient.trace.attempts += 1
    surround(ambient._replace(trace=None))
    return ambient.trace


def _watchful_call(hub: Hub) -> Call:
    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        surrounding = scope()
        if surrounding is not None:
            refuse_if_over(hub, surrounding)
        traced = _count()
        try:
            return fn(*args, **kwargs)
        finally:
            if traced is not None:
                surround((current() or NOTHING)._replace(trace=traced))

    return call


def _watchful_acall(hub: Hub) -> Call:
    async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        surrounding = scope()
        cut = None if surrounding is None else Cut(hub, surrounding)
        traced = _count()
        try:
            if cut is None:
                return await fn(*args, **kwargs)
            with cut:
                return await fn(*args, **kwargs)
        finally:
            if traced is not None:
                surround((current() or NOTHING)._replace(trace=traced))

    return call


def _watchful_stream(hub: Hub) -> Call:
    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        surrounding = scope()
        if surrounding is not None:
            refuse_if_over(hub, surrounding)
        return (yield from fn(*args, **kwargs))

    return stream


def _watchful_astream(hub: Hub) -> Call:
    async def step(make: Callable[[], Awaitable[Any]]) -> Any:
        surrounding = scope()
        if surrounding is None:
            return await make()
        with Cut(hub, surrounding):
            return await make()

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        return relay(aclosing(fn(*args, **kwargs)), Watch(), step)

    return stream


PLAIN = dict.fromkeys(("call", "acall", "stream", "astream"), plain)
WATCHFUL = {
    "call": _watchful_call,
    "acall": _watchful_acall,
    "stream": _watchful_stream,
    "astream": _watchful_astream,
}
