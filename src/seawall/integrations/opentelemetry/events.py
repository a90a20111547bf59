"""What strategies do, as events of the span in which they do it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import trace

from seawall._core import arguments
from seawall._core.events import CallEnded, Event
from seawall._registry import listen
from seawall.integrations.opentelemetry.recording import record, text_of

_CAMEL: Final = re.compile(r"(?<!^)(?=[A-Z])")


def add_events(*, exceptions: bool = True) -> Callable[[], None]:
    """Writes what every strategy does onto the current span, where it is recording; returns the function that ends it.

    Each event becomes a span event, such as `seawall.retried` or `seawall.circuit_changed`, with `strategy.name` and
    the event's own figures: attempt, delay, states. Failures are named by `error.type` and their text, with passwords
    masked. The status of the current span is left alone: whether a failed call fails the request is for the
    application to say. Spans of pipelines themselves are `Traced`'s.

    Args:
        exceptions: whether the exception that leaves a pipeline is recorded on the current span; default True. It
            costs every call through a pipeline about a microsecond.
    """
    arguments.flag("exceptions", exceptions)
    removers = [listen(_add)]
    if exceptions:
        removers.append(listen(_record_failure, CallEnded))

    def end() -> None:
        while removers:
            removers.pop()()

    return end


def _add(event: Event) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        span.add_event(f"seawall.{_CAMEL.sub('_', type(event).__name__).lower()}", _attributes(event))


def _record_failure(event: CallEnded) -> None:
    if event.outcome == "failure" and event.error is not None:
        span = trace.get_current_span()
        if span.is_recording():
            record(span, event.error, status=False)


def _attributes(event: Any) -> dict[str, str | int | float | bool]:
    attributes: dict[str, str | int | float | bool] = {"strategy.name": event.name}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, BaseException):
            attributes["error.type"] = type(value).__name__
            attributes["error.message"] = text_of(value)
        elif field.name != "name" and isinstance(value, str | int | float | bool):
            attributes[f"seawall.{field.name}"] = value
    return attributes
