"""From events to instruments."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from logging import getLevelName
from typing import Any, Final

from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.errors import BulkheadFullError, CircuitIsolatedError, CircuitOpenError, RateLimitedError
from seawall._core.events import (
    CallEnded,
    CallRejected,
    CircuitChanged,
    Event,
    FellBack,
    Recovered,
    Retried,
    RetryStopped,
)
from seawall._core.forks import renew_after_fork
from seawall._core.meter import Noting, Shortcut
from seawall.observe.collection import Instruments
from seawall.observe.durable import DurableRecording
from seawall.observe.instruments import BATCH, MOST_SERIES, Counter, Histogram, HistogramSeries
from seawall.observe.owners import Owners

_MANY: Final = 10
"""From here on attempts are not told apart."""


class Recording(Shortcut):
    """Listens to everything, and keeps the instruments up to date.

    Args:
        instruments: those of the table.
        owners: says which pipeline a strategy belongs to.
    """

    def __init__(self, instruments: Instruments, owners: Owners) -> None:
        get = instruments.get
        self._owners = owners
        self._duration = get("seawall.pipeline.duration", Histogram)
        self._events = get("seawall.strategy.events", Counter)
        self._attempts = get("seawall.retry.attempts", Counter)
        self._retried_calls = get("seawall.retry.calls", Counter)
        self._transitions = get("seawall.circuit_breaker.transitions", Counter)
        self._recovery = get("seawall.circuit_breaker.recovery.duration", Histogram)
        self._fallback = get("seawall.fallback.duration", Histogram)
        self._actions = get("seawall.recovery.actions", Counter)
        self._errors = get("seawall.http.errors", Counter)
        self._refusals = (
            ((CircuitOpenError, CircuitIsolatedError), get("seawall.circuit_breaker.rejected", Counter)),
            ((BulkheadFullError,), get("seawall.bulkhead.rejected", Counter)),
            ((RateLimitedError,), get("seawall.rate_limiter.rejected", Counter)),
        )
        self._successes: dict[str, HistogramSeries] = {}
        self._words: dict[type[Event], str] = {}
        self._opened: dict[str, float] = {}
        self._fell: ContextVar[str] = ContextVar("seawall_fell_back", default="")
        """The pipeline whose call in this context was answered by a fallback, until that call ends."""
        self._ever_fell: set[str] = set()
        """Pipelines that a fallback has answered for: while there are none, nobody need ask further."""
        self.fallen: dict[str, float] = {}
        """Since when a pipeline's calls have been answered by a fallback."""
        self._by_kind: dict[type[Event], Callable[[Any], None]] = {
            Retried: self._retried,
            Recovered: self._recovered,
            RetryStopped: self._stopped,
            CircuitChanged: self._changed,
            CallRejected: self._rejected,
            FellBack: self._fell_back,
        }
        self._by_name: dict[str, Callable[[Any], None]] = {  # of packages that this one cannot know
            "ErrorAnswered": self._answered_error,
            "HealthChanged": _nothing,  # health is read from its reports
            "RecoveryStarted": _nothing,  # how it ends is told
            "RecoveryEnded": self._recovery_ended,
            "RecoveryGaveUp": self._recovery_gave_up,
            **DurableRecording(instruments).by_name,
        }
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begins anew: what has opened and fallen back is the parent's to tell."""
        self._opened.clear()
        self.fallen.clear()

    def shortcut(self, name: str, tell: Noting) -> Noting:
        """Returns what notes the successes of a pipeline without an event."""
        series_of, taps, ever_fell = self._successes.get, self._duration.taps, self._ever_fell
        fallen, fell = self.fallen, self._fell.get

        def succeeded(seconds: float) -> None:
            series = series_of(name)
            if series is None or taps or (ever_fell and (fallen or fell())):
                tell(seconds)
                return
            pending = series.pending  # as `observe` does, in this frame
            pending.append(seconds)
            if len(pending) >= BATCH:
                series.try_to_add_up()

        return succeeded

    def __call__(self, event: CallEnded, /) -> None:
        """Takes note of the end of a call."""
        name, duration, outcome, error = event
        if self._fell.get() == name:
            self._fell.set("")
            if error is None:
                outcome = "degraded"
        elif error is None and name in self.fallen:
            self._answered_again(name)
        series = self._successes.get(name) if outcome == "success" else None
        if series is None:
            series = self._duration.labels(name, outcome, "" if error is None else type(error).__name__)
            if outcome == "success" and len(self._successes) < MOST_SERIES:
                self._successes[name] = series
        series.observe(duration)

    def told(self, event: Event) -> None:
        """Takes note of every other event."""
        kind = type(event)
        other = self._by_name.get(kind.__name__)
        if other is not None:
            other(event)
            return
        word = self._words.get(kind)
        if word is None:
            word = self._words[kind] = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        name, level = event.name, getLevelName(event.level).lower()
        self._events.labels(word, level, self._owners.pipeline_of(name), name).add()
        act = self._by_kind.get(kind)
        if act is not None:
            act(event)

    def _retried(self, event: Retried) -> None:
        number = event.attempt + 1
        self._attempts.labels(event.name, str(number) if number < _MANY else f"{_MANY}+").add()

    def _recovered(self, event: Recovered) -> None:
        self._retried_calls.labels(event.name, "recovered").add()

    def _stopped(self, event: RetryStopped) -> None:
        self._retried_calls.labels(event.name, "gave_up").add()

    def _changed(self, event: CircuitChanged) -> None:
        self._transitions.labels(event.name, event.new).add()
        if event.new == "open":
            self._opened.setdefault(event.name, DEFAULT_CLOCK.now())
        elif event.new == "closed":
            opened = self._opened.pop(event.name, None)
            if opened is not None:
                self._recovery.labels(event.name).observe(DEFAULT_CLOCK.now() - opened)

    def _rejected(self, event: CallRejected) -> None:
        for kinds, counter in self._refusals:
            if isinstance(event.error, kinds):
                counter.labels(event.name).add()

    def _fell_back(self, event: FellBack) -> None:
        pipeline = self._owners.pipeline_of(event.name)
        if pipeline:
            self._ever_fell.add(pipeline)
            self._fell.set(pipeline)
            self.fallen.setdefault(pipeline, DEFAULT_CLOCK.now())

    def _answered_again(self, pipeline: str) -> None:
        since = self.fallen.pop(pipeline, None)
        if since is not None:  # None: another thread was first
            self._fallback.labels(pipeline).observe(DEFAULT_CLOCK.now() - since)

    def _answered_error(self, event: Any) -> None:
        self._errors.labels(event.code, str(event.status)).add()

    def _recovery_ended(self, event: Any) -> None:
        self._actions.labels(event.name, "succeeded" if event.succeeded else "failed").add()

    def _recovery_gave_up(self, event: Any) -> None:
        self._actions.labels(event.name, "gave_up").add()


def _nothing(event: Any) -> None:
    """For events that are told otherwise."""
