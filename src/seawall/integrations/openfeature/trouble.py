"""What is wrong with a provider, told once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from seawall._core.events import Hub
from seawall.integrations.openfeature.events import FlagsFailed, FlagsRecovered
from seawall.integrations.openfeature.round import Round

_HANGS: Final = ("hangs",)
_UNWELL: Final = ("unwell",)


class Trouble:
    """Keeps in mind what is known to be wrong, and tells what is new.

    Args:
        hub: tells it.
        patience: seconds that a provider may take to become ready.
    """

    def __init__(self, hub: Hub, patience: float) -> None:
        self._hub = hub
        self._patience = patience
        self._told: frozenset[object] = frozenset()  # the keys of flags, _HANGS and _UNWELL
        self._unready_since: float | None = None
        self.there = False
        """Whether anything is wrong, told or not."""
        self.after_fork()

    def after_fork(self) -> None:
        """Makes the lock anew: somebody may have held it."""
        self._lock = threading.Lock()

    def hangs(self, provider: str, seconds: float) -> None:
        """Takes note that a provider has not answered for so many seconds."""
        self._fail(provider, {_HANGS: f"no answer for {seconds:g} s"})

    def seen(self, asked: Round) -> None:
        """Takes note of what came of a round."""
        if asked.failed:
            self.there = True
            if asked.ready or self._is_overdue():
                self._fail(asked.provider, asked.failed)
            return
        self._unready_since = None
        if not asked.well:
            self._fail(asked.provider, {_UNWELL: "it says itself that its flags may be old"})
            return
        with self._lock:
            told, self._told, self.there = self._told, frozenset(), False
        if told:
            self._hub.tell(FlagsRecovered(self._hub.name, asked.provider))

    def _is_overdue(self) -> bool:
        now = time.monotonic()
        if self._unready_since is None:
            self._unready_since = now
        return now - self._unready_since >= self._patience

    def _fail(self, provider: str, reasons: Mapping[Any, str]) -> None:
        with self._lock:
            new = [what for what in reasons if what not in self._told]
            self._told, self.there = self._told.union(reasons), True
        if new:
            flags = tuple(what for what in reasons if isinstance(what, str))
            self._hub.tell(FlagsFailed(self._hub.name, provider, flags, next(iter(reasons.values()))))
