"""Metrics: the instruments of a service, over all its workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias, get_args

from seawall._core import arguments
from seawall._core.events import LOGGER, CallEnded
from seawall._core.names import NAMES
from seawall._registry import listen
from seawall._runtime.runtime import Gathering, Runtime
from seawall.observe import process
from seawall.observe.collection import I, Instruments
from seawall.observe.instruments import Histogram
from seawall.observe.merge import SECTION, Figures, merge
from seawall.observe.owners import Owners
from seawall.observe.prometheus import to_text
from seawall.observe.readings import Readings
from seawall.observe.recording import Recording
from seawall.observe.service_names import derive
from seawall.observe.sources import HealthReport, SwitchReport
from seawall.observe.states import HealthReader, Strategies, read_process, read_switches

Names: TypeAlias = Literal["ticketwave"]
_ONE: Final = "[]"
"""The series of an instrument without labels."""


class Metrics:
    """Counts what every strategy of the process does, and tells it for all workers of the service.

    From `start` on it hears all events; states (of breakers, bulkheads, health, switches) are read when somebody looks,
    and looking changes nothing. No count is lost or invented, over threads, forks and killed workers: what `render`
    has shown once is never less the next time, while any worker lives.

    Args:
        runtime: the service's workers; default: this process alone.
        names: further names under which the same is told: "ticketwave" for `circuit_breaker_opened_total{service}`,
            `retry_attempts_total{service,attempt}`, `fallback_duration_seconds{service}`,
            `degraded_mode_active{service}` and `health_check_failures_total{check_name}`; default: none.
        health: returns the report of a view (all, live, ready), such as `Monitor.report`; must not block.
        switches: returns the switches that are set.
        loop_lag: returns how late the event loop is, in seconds, or None where that is not known; asked once for every
            snapshot.
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        names: Names | None = None,
        health: Callable[[str], HealthReport] | None = None,
        switches: Callable[[], Iterable[SwitchReport]] | None = None,
        loop_lag: Callable[[], float | None] | None = None,
    ) -> None:
        if runtime is not None and not isinstance(runtime, Runtime):
            raise TypeError(f"runtime={runtime!r} is no Runtime; use one, or None for this process alone")
        if names is not None:
            arguments.choice("names", names, get_args(Names))
        self._runtime = runtime
        self._names = names
        self._instruments = Instruments()
        self._owners = Owners()
        self._recording = Recording(self._instruments, self._owners)
        self._strategies = Strategies(self._instruments)
        self._readers: dict[str, Callable[[Readings], None]] = {
            "strategies": self._read_strategies,
            "process": read_process,
        }
        if health is not None:
            arguments.function("health", health, "a function of the view, such as Monitor.report")
            self._readers["health"] = HealthReader(self._instruments, health).read
        if switches is not None:
            arguments.function("switches", switches, "a function that returns the switches that are set")
            self._readers["switches"] = lambda into: read_switches(into, switches())
        if loop_lag is not None:
            arguments.function("loop_lag", loop_lag, "a function that returns seconds or None")
            self._readers["loop_lag"] = lambda into: self._observe_lag(loop_lag())
        self._faulty: set[str] = set()
        self._removers: list[Callable[[], None]] = []

    def start(self) -> None:
        """Listens to every strategy from now on, and joins the runtime's snapshots. A second call does nothing."""
        if not self._removers:
            self._removers = [listen(self._recording.told), listen(self._recording, CallEnded)]
            if self._runtime is not None:
                self._runtime.contribute(SECTION, self.collect)

    def stop(self) -> None:
        """Listens no more. What was counted is still told. A second call does nothing."""
        removers, self._removers = self._removers, []
        for remove in removers:
            remove()

    def __enter__(self) -> Metrics:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def get(self, name: str, kind: type[I]) -> I:
        """Returns an instrument of the table, for those who feed it themselves.

        `metrics.get("seawall.event_loop.lag", Histogram).observe(0.002)`. Raises LookupError for a name that is not in
        the table, TypeError for an instrument of another kind.
        """
        return self._instruments.get(name, kind)

    def instruments(self) -> Instruments:
        """Returns all instruments of this process, for exporters."""
        return self._instruments

    def collect(self) -> dict[str, Any]:
        """Returns what this process alone has to tell, as JSON can hold it: `counters`, `gauges` and `states`."""
        into = Readings()
        for name, read in self._readers.items():
            try:
                read(into)
                self._faulty.discard(name)
            except Exception:
                if name not in self._faulty:
                    self._faulty.add(name)
                    LOGGER.exception("metrics of %s could not be read", name)
        return {
            "counters": {**self._instruments.counts(), "seawall.process.cpu": {_ONE: process.cpu()}},
            "gauges": {**self._instruments.values(), **into.gauges()},
            "states": into.states(),
        }

    def figures(self) -> Figures:
        """Returns the figures of all workers together, by the names of the table and label values."""
        figures = merge(self._gathering())
        return {**figures, **derive(figures)} if self._names == "ticketwave" else figures

    def render(self) -> str:
        """Returns the figures of all workers together, as Prometheus' text format 0.0.4 has it."""
        return to_text(self.figures())

    def _gathering(self) -> Gathering:
        if self._runtime is not None:
            return self._runtime.gather()
        alone = {"id": str(os.getpid()), "written": time.time(), "sections": {SECTION: self.collect()}}
        return Gathering([alone])

    def _read_strategies(self, into: Readings) -> None:
        listed = NAMES.listed()
        self._owners.look(listed)
        self._strategies.read(into, listed, self._recording.fallen)

    def _observe_lag(self, lag: float | None) -> None:
        if lag is not None:
            self._instruments.get("seawall.event_loop.lag", Histogram).observe(lag)
