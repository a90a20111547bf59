"""Streams whose opening is a call: run until the first item, then passed through.

What may only happen before the first item (a retry, a fallback) is thereby the same code as for plain calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from functools import partial
from typing import Any, TypeAlias

Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Around: TypeAlias = Callable[[], AbstractContextManager[Any]]
NO_ITEM = object()


class Watch:
    """What is seen of a stream on its way: whether an item has come, and what its consumer last threw in."""

    __slots__ = ("begun", "thrown")

    def __init__(self) -> None:
        self.begun = False
        self.thrown: BaseException | None = None


Step: TypeAlias = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Awaits what a function gives, perhaps within a bound."""


async def at_once(make: Callable[[], Awaitable[Any]]) -> Any:
    return await make()


async def relay(
    source: AbstractAsyncContextManager[Any], watch: Watch, step: Step = at_once
) -> AsyncGenerator[Any, None]:
    """Goes through an async generator as `yield from` goes through a plain one: `asend`, `athrow` and `aclose` pass.

    `source` gives the generator when it is entered, and closes it when it is left.
    """
    async with source as items:
        more: Callable[[], Awaitable[Any]] = items.__anext__
        while True:
            try:
                item = await step(more)
            except StopAsyncIteration:
                return
            watch.begun = True
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as thrown:
                watch.thrown = thrown
                more = partial(items.athrow, thrown)
            else:
                more = items.__anext__ if sent is None else partial(items.asend, sent)


class Opened:
    """A generator that has given its first item, or has ended without one."""

    __slots__ = ("first", "items", "value")

    def __init__(self, items: Any, first: Any, value: Any = None) -> None:
        self.items = items
        self.first = first
        self.value = value

    def resume(self, watch: Watch, around: Around = nullcontext) -> Generator[Any, Any, Any]:
        """Goes on as `yield from` would, first item included, with `around` entered while the producer runs."""
        if self.first is NO_ITEM:
            return self.value
        item, items = self.first, self.items
        watch.begun = True
        try:
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    watch.thrown = thrown
                    step, value = items.throw, thrown
                else:
                    step, value = items.send, sent
                try:
                    with around():
                        item = step(value)
                except StopIteration as end:
                    return end.value
        finally:
            items.close()


def opened(inner: Call, around: Around = nullcontext) -> Call:
    """Returns a plain call that opens a generator."""

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Opened:
        items = inner(fn, args, kwargs)
        try:
            with around():
                first = next(items)
        except StopIteration as end:
            return Opened(items, NO_ITEM, end.value)
        return Opened(items, first)

    return call


def aopened(inner: Call) -> Call:
    """Returns an async call that opens an async generator."""

    async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Opened:
        items = inner(fn, args, kwargs)
        try:
            return Opened(items, await anext(items))
        except StopAsyncIteration:
            return Opened(items, NO_ITEM)

    return call


def opened_stream(call: Call) -> Call:
    """Returns a generator link out of a call that opens one."""

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        return (yield from call(fn, args, kwargs).resume(Watch()))

    return stream


def opened_astream(call: Call) -> Call:
    """Returns an async generator link out of an async call that opens one."""

    def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        return relay(aclosing(_Opening(partial(call, fn, args, kwargs))), Watch())

    return stream


class _Opening:
    """An async generator that is opened, by a call, when its first item is asked for."""

    __slots__ = ("_call", "_items")

    def __init__(self, call: Callable[[], Awaitable[Opened]]) -> None:
        self._call = call
        self._items: Any = None

    async def __anext__(self) -> Any:
        if self._items is not None:
            return await self._items.__anext__()
        opened = await self._call()
        self._items = opened.items
        if opened.first is NO_ITEM:
            raise StopAsyncIteration
        return opened.first

    def asend(self, value: Any) -> Awaitable[Any]:
        return self._items.asend(value)  # type: ignore[no-any-return]

    def athrow(self, error: BaseException) -> Awaitable[Any]:
        return self._items.athrow(error)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        if self._items is not None:
            await self._items.aclose()


def as_opened(value: Any) -> Opened:
    """Makes a stream of what a fallback gave: an iterable's items, or the one value."""
    items = _items(value)
    try:
        return Opened(items, next(items))
    except StopIteration:
        return Opened(items, NO_ITEM)


async def as_aopened(value: Any) -> Opened:
    """Makes an async stream of what a fallback gave: the items of any iterable, or the one value."""
    items = _aitems(value)
    try:
        return Opened(items, await anext(items))
    except StopAsyncIteration:
        return Opened(items, NO_ITEM)


def _items(value: Any) -> Generator[Any, None, None]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | dict):
        yield from value
    else:
        yield value


async def _aitems(value: Any) -> AsyncGenerator[Any, None]:
    if isinstance(value, AsyncIterable):
        try:
            async for item in value:
                yield item
        finally:
            close = getattr(value, "aclose", None)
            if close is not None:
                await close()
    else:
        for item in _items(value):
            yield item
