"""Metrics: the instruments of this process as OpenTelemetry's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentelemetry import metrics as otel
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from seawall._core.forks import renew_after_fork
from seawall.observe.instruments import Histogram, Labels
from seawall.observe.metrics import Metrics
from seawall.observe.table import TABLE, Row

SCOPE: Final = "seawall"
_FRESH: Final = 0.1
"""Seconds for which one reading serves: the SDK asks for each instrument by itself."""
_OF_MANY: Final = "seawall.worker.up"
"""An instrument that makes sense over several workers only."""


def export_metrics(metrics: Metrics, meter_provider: MeterProvider | None = None) -> Callable[[], None]:
    """Exports the metrics of this process through OpenTelemetry; returns the function that ends it.

    Counters, gauges and states become observable instruments, which are read when the SDK collects, so that a call pays
    nothing for them. Only distributions are recorded as they happen, since the API has no observable kind of them;
    several microseconds each with the SDK. Names, units and attributes are those of `seawall.observe.TABLE`.

    Each process exports its own: give every worker a `service.instance.id` of its own, and call this after forking.

    Args:
        metrics: started by its owner.
        meter_provider: default: the global one.
    """
    meter = otel.get_meter(SCOPE, meter_provider=meter_provider)
    export = _Export(metrics)
    for row in TABLE:
        if row.option is None and row.counts is None and row.name != _OF_MANY:
            export.add(meter, row)
    return export.end


class _Export:
    """One export: reads for all instruments at once, and hands distributions on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._removers: list[Callable[[], None]] = []
        self._ended = False
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets what the parent has read."""
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._reading: dict[str, Any] = {}

    def add(self, meter: Meter, row: Row) -> None:
        """Adds one instrument."""
        if row.kind == "histogram":
            self._record(meter, row)
            return
        about = {"name": row.name, "unit": row.unit, "description": row.description}

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return self._observations(row)

        if row.kind == "counter":
            meter.create_observable_counter(callbacks=[observe], **about)
        elif row.kind == "gauge" and row.merge != "sum":
            meter.create_observable_gauge(callbacks=[observe], **about)
        else:
            meter.create_observable_up_down_counter(callbacks=[observe], **about)

    def _record(self, meter: Meter, row: Row) -> None:
        histogram = meter.create_histogram(
            row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=row.buckets
        )

        def tap(value: float, labels: Labels) -> None:
            histogram.record(value, _attributes(row.attributes, labels))

        taps = self._metrics.get(row.name, Histogram).taps
        taps.append(tap)
        self._removers.append(lambda: taps.remove(tap))

    def _observations(self, row: Row) -> Iterator[Observation]:
        part = {"counter": "counters", "gauge": "gauges", "state": "states"}[row.kind]
        for key, value in self._read()[part].get(row.name, {}).items():
            labels = tuple(json.loads(key))
            if row.kind != "state":
                yield Observation(value, _attributes(row.attributes, labels))
                continue
            for state in row.states:
                yield Observation(int(state == value), _attributes(row.attributes, (*labels, state)))

    def _read(self) -> dict[str, Any]:
        if self._ended:
            return {"counters": {}, "gauges": {}, "states": {}}
        with self._lock:
            reading, fresh = self._reading, time.monotonic() - self._read_at < _FRESH
        if not fresh:
            reading = self._metrics.collect()
            with self._lock:
                self._reading, self._read_at = reading, time.monotonic()
        return reading

    def end(self) -> None:
        """Exports nothing any more. The instruments themselves stay with the SDK, which cannot forget them."""
        self._ended = True
        while self._removers:
            self._removers.pop()()


def _attributes(names: tuple[str, ...], labels: Labels) -> dict[str, str]:
    return {name: label for name, label in zip(names, labels, strict=True) if label}
