"""The life of the thread that asks: when it is to begin a round, and which rounds are over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seawall.integrations.openfeature.round import Round


class Life:
    """From a start to its stop: when the thread is to ask, and which rounds are over."""

    def __init__(self) -> None:
        self.stopping, self.ended = threading.Event(), threading.Event()
        self.asked: Round | None = None
        """The round that is under way."""
        self._hint, self._order = threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._begun = self._done = 0

    def wake_up(self, *said: Any) -> None:
        """Has the next round begin soon; said by providers, whatever they say."""
        self._hint.set()

    def stop(self) -> None:
        """Ends it after the present question."""
        self.stopping.set()
        with self._changed:
            self._now()

    def begin(self) -> bool:
        """Notes that a round begins; False where none is to."""
        with self._changed:
            self._hint.clear()
            self._order.clear()
            self._begun += 1
        return not self.stopping.is_set()

    @contextmanager
    def asking(self, asked: Round) -> Iterator[None]:
        """Says that a round is under way, to whoever watches for one that hangs."""
        self.asked = asked
        try:
            yield
        finally:
            self.asked = None

    def end(self, soonest: float, pause: float) -> None:
        """Notes that a round is over, and waits until the next one is to begin: after the pause, or as it is told."""
        with self._changed:
            self._done = self._begun
            self._changed.notify_all()
        if not (self.stopping.is_set() or self._order.wait(soonest)):
            self._hint.wait(pause)

    def wait(self, timeout: float) -> bool:
        """Orders a round and waits for it; returns whether it was over within the time."""
        with self._changed:
            wanted = self._begun + 1
            self._now()
            self._changed.wait_for(lambda: self._done >= wanted or self.stopping.is_set(), timeout)
            return self._done >= wanted

    def _now(self) -> None:
        """Has whoever waits look. Called with the lock."""
        self._hint.set()
        self._order.set()
        self._changed.notify_all()
