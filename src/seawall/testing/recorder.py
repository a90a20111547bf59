"""A listener that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from seawall._core.events import Event
from seawall._registry import listen

E = TypeVar("E", bound=Event)


class Recorder:
    """Keeps events, for asserts: `with Recorder() as events:` hears every strategy in the process.

    Args:
        *types: event classes to keep; default: all but `CallEnded`.
    """

    def __init__(self, *types: type[Event]) -> None:
        self.events: list[Event] = []
        self._types = types
        self._remove: Callable[[], None] | None = None

    def __call__(self, event: Event) -> None:
        """Keeps an event; so a recorder is itself a listener to a single strategy or pipeline."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Returns the events of one class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def __enter__(self) -> Recorder:
        self._remove = listen(self, *self._types)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._remove is not None:
            self._remove()
