"""The outermost link of a pipeline that somebody meters: makes a `CallEnded` for every call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

from seawall._core.clock import Clock, DefaultClock
from seawall._core.events import CallEnded, Subscription
from seawall._core.outcome import label
from seawall._core.stream import Watch, relay

Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def meter(
    kind: str, name: str, subscriptions: Sequence[Subscription], clock: Clock | DefaultClock, inner: Call
) -> Call:
    """Links a meter around a chain of any kind, for listeners that are known now."""

    def ended(start: float, error: BaseException | None) -> None:
        outcome = "success" if error is None else label(error)
        event = tuple.__new__(CallEnded, (name, clock.now() - start, outcome, error))  # CallEnded(...) in half the time
        for subscription in subscriptions:
            try:
                subscription.listener(event)
            except Exception:
                subscription.log_fault(event)

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock.now()
        try:
            result = inner(fn, args, kwargs)
        except BaseException as error:
            ended(start, error)
            raise
        ended(start, None)
        return result

    async def acall(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock.now()
        try:
            result = await inner(fn, args, kwargs)
        except BaseException as error:
            ended(start, error)
            raise
        ended(start, None)
        return result

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        start = clock.now()
        try:
            result = yield from inner(fn, args, kwargs)
        except BaseException as error:
            ended(start, error)
            raise
        ended(start, None)
        return result

    @asynccontextmanager
    async def metered(items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        start = clock.now()
        try:
            async with aclosing(items):
                yield items
        except BaseException as error:
            ended(start, error)
            raise
        ended(start, None)

    def astream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        return relay(metered(inner(fn, args, kwargs)), Watch())

    links: dict[str, Call] = {"call": call, "acall": acall, "stream": stream, "astream": astream}
    return links[kind]
