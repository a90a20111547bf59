"""The outermost link of a pipeline that somebody meters: makes a `CallEnded` for every call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from functools import partial
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
    heard = [(subscription.listener, subscription) for subscription in subscriptions]
    new = tuple.__new__

    def ended(start: float, error: BaseException | None) -> None:
        outcome = "success" if error is None else label(error)
        event = new(CallEnded, (name, clock.now() - start, outcome, error))  # CallEnded(...) in half the time
        for listener, subscription in heard:
            try:
                listener(event)
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

    def astream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        return relay(_Metered(inner(fn, args, kwargs), partial(ended, clock.now())), Watch())

    links: dict[str, Call] = {"call": call, "acall": acall, "stream": stream, "astream": astream}
    return links[kind]


class _Metered:
    """An async generator whose end is told."""

    __slots__ = ("_ended", "_items")

    def __init__(self, items: Any, ended: Callable[[BaseException | None], None]) -> None:
        self._items = items
        self._ended = ended

    async def __aenter__(self) -> Any:
        return self._items

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            await self._items.aclose()
        finally:
            self._ended(error)
