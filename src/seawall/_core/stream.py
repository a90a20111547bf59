"""Streams whose opening is a call: run until the first item, then passed through.

What may only happen before the first item (a retry, a fallback) is thereby the same code as for plain calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, TypeAlias

Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Around: TypeAlias = Callable[[], AbstractContextManager[Any]]
NO_ITEM = object()


class Opened:
    """A generator that has given its first item, or has ended without one."""

    __slots__ = ("first", "items", "value")

    def __init__(self, items: Any, first: Any, value: Any = None) -> None:
        self.items = items
        self.first = first
        self.value = value

    def resume(self, around: Around = nullcontext) -> Generator[Any, Any, Any]:
        """Goes on as `yield from` would, first item included, with `around` entered while the producer runs."""
        if self.first is NO_ITEM:
            return self.value
        item, items = self.first, self.items
        try:
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as thrown:
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

    async def aresume(self) -> AsyncGenerator[Any, None]:
        """Goes on with an async generator, first item included."""
        if self.first is NO_ITEM:
            return
        async with aclosing(self.items) as items:
            yield self.first
            async for item in items:
                yield item


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
        return (yield from call(fn, args, kwargs).resume())

    return stream


def opened_astream(call: Call) -> Call:
    """Returns an async generator link out of an async call that opens one."""

    async def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        async with aclosing((await call(fn, args, kwargs)).aresume()) as items:
            async for item in items:
                yield item

    return stream


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
        async for item in value:
            yield item
    else:
        for item in _items(value):
            yield item
