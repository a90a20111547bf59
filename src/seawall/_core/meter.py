"""The outermost link of a pipeline that somebody meters: makes a `CallEnded` for every call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, TypeAlias

from seawall._core.clock import Clock, DefaultClock
from seawall._core.events import CallEnded, Subscription
from seawall._core.outcome import label
from seawall._core.stream import Watch, relay

Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Noting: TypeAlias = Callable[[float], object]
"""Takes note of a call that succeeded, and of its seconds."""


class Shortcut(ABC):
    """A listener to `CallEnded` that can do without the event where all is well: making one takes most of the time.

    It is taken at its word while it is the only listener to a pipeline's calls.
    """

    @abstractmethod
    def __call__(self, event: CallEnded, /) -> None:
        """Takes note of the end of a call."""

    @abstractmethod
    def shortcut(self, name: str, tell: Noting) -> Noting:
        """Returns what is called for every call through the pipeline of this name that succeeds.

        It must not raise. Where it needs the event after all it calls `tell`, which has the listener told of it.
        """


def meter(
    kind: str, name: str, subscriptions: Sequence[Subscription], clock: Clock | DefaultClock, inner: Call
) -> Call:
    """Links a meter around a chain of any kind, for listeners that are known now."""
    heard = [(subscription.listener, subscription) for subscription in subscriptions]
    new = tuple.__new__  # CallEnded(...) in half the time

    def tell(seconds: float, outcome: str = "success", error: BaseException | None = None) -> None:
        event = new(CallEnded, (name, seconds, outcome, error))
        for listener, subscription in heard:
            try:
                listener(event)
            except Exception:
                subscription.log_fault(event)

    def failed(start: float, error: BaseException) -> None:
        tell(clock.now() - start, label(error), error)

    succeeded = _shortcut(name, subscriptions, tell)

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock.now()
        try:
            result = inner(fn, args, kwargs)
        except BaseException as error:
            failed(start, error)
            raise
        succeeded(clock.now() - start)
        return result

    async def acall(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        start = clock.now()
        try:
            result = await inner(fn, args, kwargs)
        except BaseException as error:
            failed(start, error)
            raise
        succeeded(clock.now() - start)
        return result

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        start = clock.now()
        try:
            result = yield from inner(fn, args, kwargs)
        except BaseException as error:
            failed(start, error)
            raise
        succeeded(clock.now() - start)
        return result

    def astream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        start = clock.now()

        def ended(error: BaseException | None) -> None:
            if error is None:
                succeeded(clock.now() - start)
            else:
                failed(start, error)

        return relay(_Metered(inner(fn, args, kwargs), ended), Watch())

    links: dict[str, Call] = {"call": call, "acall": acall, "stream": stream, "astream": astream}
    return links[kind]


def _shortcut(name: str, subscriptions: Sequence[Subscription], tell: Noting) -> Noting:
    """Returns what notes a success: the way of an only listener that has a shorter one, else by an event to all."""
    only = subscriptions[0].listener if len(subscriptions) == 1 else None
    return only.shortcut(name, tell) if isinstance(only, Shortcut) else tell


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
