"""Fallback: another answer when the call failed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Matcher
from seawall._core.chain import IN_WORDS, Call, Kind, Place, kind_of, name_of
from seawall._core.clock import Clock
from seawall._core.context import AnotherCall, current
from seawall._core.events import FellBack
from seawall._core.outcome import asker
from seawall._core.strategy import Layer
from seawall._core.stream import aopened, as_aopened, as_opened, opened, opened_astream, opened_stream

_SERVES: Final[dict[Kind, tuple[Kind, ...]]] = {
    "call": ("call",),
    "acall": ("call", "acall"),
    "stream": ("call", "stream"),
    "astream": ("call", "acall", "stream", "astream"),
}


class Fallback(Layer):
    """Answers in place of a call that failed.

    Each source is tried in turn: a value is the answer as it is; a callable is called with nothing, with the failure,
    or with the failure and the call's own arguments, by how many positional arguments it takes. What a source raises
    sends the call on to the next one; the last one's failure is raised with the original as its cause. The call's trace
    (`served_by`) and a `FellBack` event say who answered. A cancelled call never falls back. A stream falls back before
    its first item only; an iterable is then streamed, anything else is the only item.

    Args:
        *sources: values or callables, at least one; async callables only where the call is async.
        on: the failures that fall back: a class, a tuple of classes, or a predicate; rejections like any other.
        name, clock: see `Strategy`.
    """

    word = "fallback"
    example = "Fallback([], on=ConnectionError)"

    def __init__(self, *sources: Any, on: Matcher, name: str | None = None, clock: Clock | None = None) -> None:
        super().__init__(name, clock)
        if not sources:
            raise TypeError(
                "Fallback() has nothing to answer with; give a value or a function, such as Fallback([], on=...)"
            )
        self.on = arguments.matcher("on", on)
        self.sources = tuple(_Source(source) for source in sources)
        self._handles = asker(on)

    def settings(self) -> dict[str, object]:
        return {"sources": tuple(source.name for source in self.sources), "on": self.on}

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        for source in self.sources:
            if source.kind is not None and source.kind not in _SERVES[kind]:
                raise TypeError(
                    f"{self.name!r} falls back to {source.name}, {IN_WORDS[source.kind]}, which cannot answer for "
                    f"{IN_WORDS[kind]}; use {IN_WORDS[kind]} as the source, or a value"
                )
        match kind:
            case "call":
                return self._link_call(inner, _as_it_is)
            case "acall":
                return self._link_acall(inner, _aas_it_is)
            case "stream":
                return opened_stream(self._link_call(opened(inner), as_opened))
            case "astream":
                return opened_astream(self._link_acall(aopened(inner), as_aopened))

    def _link_call(self, inner: Call, shape: Callable[[Any], Any]) -> Call:
        handles = self._handles

        def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                return inner(fn, args, kwargs)
            except Exception as error:
                if not handles(error):
                    raise
                failure = last = error
            try:
                for source in self.sources:
                    try:
                        with AnotherCall():
                            answer = shape(source.ask(failure, args, kwargs))
                        return self._served(source, failure, answer)
                    except Exception as error:
                        last = error
                if last is failure:  # a source that passes the failure on as it is
                    raise last
                raise last from failure
            finally:
                del failure, last  # no cycle of failure, traceback and frame

        return call

    def _link_acall(self, inner: Call, shape: Callable[[Any], Awaitable[Any]]) -> Call:
        handles = self._handles

        async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                return await inner(fn, args, kwargs)
            except Exception as error:
                if not handles(error):
                    raise
                failure = last = error
            try:
                for source in self.sources:
                    try:
                        with AnotherCall():
                            answer = source.ask(failure, args, kwargs)
                            if inspect.isawaitable(answer):
                                answer = await answer
                            answer = await shape(answer)
                        return self._served(source, failure, answer)
                    except Exception as error:
                        last = error
                if last is failure:  # a source that passes the failure on as it is
                    raise last
                raise last from failure
            finally:
                del failure, last  # no cycle of failure, traceback and frame

        return call

    def _served(self, source: _Source, failure: Exception, answer: Any) -> Any:
        ambient = current()
        if ambient is not None and ambient.trace is not None:
            ambient.trace.served_by = source.name
        self.hub.tell(FellBack(self.name, source.name, failure))
        return answer


class _Source:
    """One answer: a value, or a callable with what it takes."""

    __slots__ = ("_source", "_takes", "kind", "name")

    def __init__(self, source: Any) -> None:
        self._source = source
        self.kind: Kind | None = kind_of(source) if callable(source) else None
        self.name = name_of(source) if callable(source) else "value"
        self._takes = _positional(source) if callable(source) else 0

    def ask(self, failure: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.kind is None:
            return self._source
        if self._takes == 0:
            return self._source()
        if self._takes == 1:
            return self._source(failure)
        try:
            return self._source(failure, *args, **kwargs)
        except TypeError as error:
            error.add_note(f"seawall: {self.name} is called with the failure first, then the call's own arguments")
            raise


def _positional(source: Callable[..., Any]) -> int:
    """Returns how many positional arguments a callable takes: 0, 1, or 2 for more."""
    try:
        parameters = inspect.signature(source).parameters.values()
    except (ValueError, TypeError):  # a built-in that does not say, such as dict
        return 0
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in taken if p.default is p.empty]
    return min(2, max(len(required), min(1, len(taken))))


def _as_it_is(answer: Any) -> Any:
    return answer


async def _aas_it_is(answer: Any) -> Any:
    return answer
