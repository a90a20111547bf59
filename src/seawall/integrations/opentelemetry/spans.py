"""A span for every call through a pipeline, for those who ask for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, TracerProvider, use_span

from seawall._core.chain import Call, Kind, Place
from seawall._core.outcome import label
from seawall._core.strategy import Layer
from seawall._core.stream import Watch, opened, relay
from seawall.integrations.opentelemetry.recording import record


class Traced(Layer):
    """Puts a span around every call: `Pipeline("rates", Traced(), Retry(...), Timeout(...))`.

    Listed first it is the outermost strategy: one span for the call with all its attempts, in which the spans of what
    is called lie; listed last, one for each attempt. The span tells the `outcome` (success, failure, rejected,
    cancelled); a failure or rejection is recorded on it, with passwords masked, and makes its status an error. A
    stream's span lasts until it ends, and is the current one only while the producer runs.

    A span costs several microseconds with the SDK, which is why nobody gets one unasked.

    Args:
        span_name: default: the name of the pipeline, or of the decorated function.
        attributes: of every span.
        tracer_provider: default: the global one.
        name: see `Strategy`.
    """

    word = "trace"
    example = "Traced()"

    def __init__(
        self,
        span_name: str | None = None,
        *,
        attributes: Mapping[str, str | bool | int | float] | None = None,
        tracer_provider: TracerProvider | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name, None)
        if span_name is not None and (not isinstance(span_name, str) or not span_name):
            raise TypeError(f"span_name={span_name!r} is no name; use a text such as 'CreateInvoice'")
        self.span_name = span_name
        self.attributes = dict(attributes or {})
        self._tracer = trace.get_tracer("seawall", tracer_provider=tracer_provider)

    def settings(self) -> dict[str, object]:
        """Returns what was chosen, for people."""
        return {"span_name": self.span_name, "attributes": self.attributes or None}

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        """Returns a span's layer around `inner`, for calls of any kind."""
        match kind:
            case "call":
                return self._link_call(inner)
            case "acall":
                return self._link_acall(inner)
            case "stream":
                return self._link_stream(inner)
            case "astream":
                return self._link_astream(inner)

    def start(self) -> Span:
        """Starts the span of one call."""
        name = self.span_name or self.name.removesuffix(f".{self.word}")
        return self._tracer.start_span(name, attributes=self.attributes)

    def _link_call(self, inner: Call) -> Call:
        def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            with _Ending(self.start()) as span, _current(span):
                return inner(fn, args, kwargs)

        return call

    def _link_acall(self, inner: Call) -> Call:
        async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            with _Ending(self.start()) as span, _current(span):
                return await inner(fn, args, kwargs)

        return call

    def _link_stream(self, inner: Call) -> Call:
        def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
            with _Ending(self.start()) as span:
                around = partial(_current, span)
                return (yield from opened(inner, around)(fn, args, kwargs).resume(Watch(), around))

        return stream

    def _link_astream(self, inner: Call) -> Call:
        def stream(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
            spanned = _Spanned(self.start, partial(inner, fn, args, kwargs))
            return relay(spanned, Watch(), spanned.step)

        return stream


def _current(span: Span) -> AbstractContextManager[Span]:
    return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


class _Ending:
    """Ends a span as its call ends."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        span = self._span
        if span.is_recording():
            span.set_attribute("outcome", "success" if error is None else label(error))
            if isinstance(error, Exception):
                record(span, error, status=True)
        span.end()


class _Spanned:
    """An async generator with a span, which is current while the producer runs."""

    __slots__ = ("_ending", "_items", "_make", "_span", "_start")

    def __init__(self, start: Callable[[], Span], make: Callable[[], Any]) -> None:
        self._start = start
        self._make = make

    async def __aenter__(self) -> Any:
        self._span = self._start()
        self._ending = _Ending(self._span)
        self._items = self._make()
        return self._items

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            with _current(self._span):
                await self._items.aclose()
        finally:
            self._ending.__exit__(kind, error, traceback)

    async def step(self, more: Callable[[], Awaitable[Any]]) -> Any:
        """Awaits the producer's next item."""
        with _current(self._span):
            return await more()
