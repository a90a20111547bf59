"""What is read of everything that is alive, and of health, switches and the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from seawall._core.forks import renew_after_fork
from seawall._pipeline.pipeline import Pipeline
from seawall._strategies.breaker import CircuitBreaker
from seawall._strategies.bulkhead import Bulkhead
from seawall._strategies.fallback import Fallback
from seawall._strategies.ratelimit import RateLimit
from seawall._strategies.retry import Retry
from seawall._strategies.workers import WorkerPool
from seawall.observe import process
from seawall.observe.collection import Instruments
from seawall.observe.instruments import Counter, Histogram
from seawall.observe.readings import Readings
from seawall.observe.sources import CheckReport, HealthReport, SwitchReport

PROBES: Final = ("all", "live", "ready")


class Strategies:
    """Reads strategies and pipelines, and lets the counters of each begin at zero as soon as it is there."""

    def __init__(self, instruments: Instruments) -> None:
        get = instruments.get
        self._duration = get("seawall.pipeline.duration", Histogram)
        self._attempts = get("seawall.retry.attempts", Counter)
        self._calls = get("seawall.retry.calls", Counter)
        self._transitions = get("seawall.circuit_breaker.transitions", Counter)
        self._recovery = get("seawall.circuit_breaker.recovery.duration", Histogram)
        self._broken = get("seawall.circuit_breaker.rejected", Counter)
        self._full = get("seawall.bulkhead.rejected", Counter)
        self._limited = get("seawall.rate_limiter.rejected", Counter)
        self._fallback = get("seawall.fallback.duration", Histogram)
        self._known: frozenset[str] = frozenset()

    def read(self, into: Readings, listed: Mapping[str, Any], fallen: Mapping[str, float]) -> None:
        """Reads everything that is alive, by listed name; `fallen` names the pipelines that a fallback answers for."""
        new = listed.keys() - self._known
        for name in new:
            self._begin(listed[name])
        self._known = frozenset(listed)
        for name, thing in listed.items():
            match thing:
                case CircuitBreaker():
                    seen = thing.snapshot()
                    into.state("seawall.circuit_breaker.status", seen.state, name)
                    into.gauge("seawall.circuit_breaker.failure_share", seen.failure_rate, name)
                    into.gauge("seawall.circuit_breaker.failures", seen.failures, name)
                case Bulkhead():
                    held = thing.snapshot()
                    self._places(into, name, held.running, held.max_concurrent, held.waiting)
                case WorkerPool():
                    pool = thing.snapshot()
                    beyond = max(0, pool.busy - pool.threads)
                    self._places(into, name, pool.busy - beyond, pool.threads, beyond)
                case Pipeline():
                    if any(isinstance(strategy, Fallback) for strategy in thing.strategies):
                        into.gauge("seawall.fallback.active", int(thing.name in fallen), thing.name)
                case _:
                    pass

    def _places(self, into: Readings, name: str, running: int, limit: int, waiting: int) -> None:
        into.gauge("seawall.bulkhead.in_flight", running, name)
        into.gauge("seawall.bulkhead.limit", limit, name)
        into.gauge("seawall.bulkhead.queued", waiting, name)

    def _begin(self, thing: Any) -> None:
        """Makes the series of something new: an alert on its first failure needs the 0 before it."""
        name = getattr(thing, "name", "")
        match thing:
            case Pipeline():
                self._duration.labels(name, "success", "")
                if any(isinstance(strategy, Fallback) for strategy in thing.strategies):
                    self._fallback.labels(name)
            case CircuitBreaker():
                for state in ("open", "half_open", "closed"):
                    self._transitions.labels(name, state)
                self._recovery.labels(name)
                self._broken.labels(name)
            case Bulkhead() | WorkerPool():
                self._full.labels(name)
            case RateLimit():
                self._limited.labels(name)
            case Retry():
                self._attempts.labels(name, "2")
                for result in ("recovered", "gave_up"):
                    self._calls.labels(name, result)
            case _:
                pass


class HealthReader:
    """Reads the views of health, and takes note of each run of a check once."""

    def __init__(self, instruments: Instruments, report: Callable[[str], HealthReport]) -> None:
        self._report = report
        self._duration = instruments.get("seawall.health.check.duration", Histogram)
        self._failures = instruments.get("seawall.health.check.failures", Counter)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begins anew: the child's monitor begins anew too."""
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[int, int]] = {}

    def read(self, into: Readings) -> None:
        """Reads all views."""
        for probe in PROBES:
            report = self._report(probe)
            into.state("seawall.health.status", report.status, probe)
            if probe == PROBES[0]:
                for check in report.checks:
                    self._check(into, check)

    def _check(self, into: Readings, check: CheckReport) -> None:
        into.state("seawall.health.check.status", check.status, check.name)
        into.gauge("seawall.health.check.age", check.age, check.name)
        now = check.runs, check.bad_runs
        with self._lock:
            runs, bad_runs = self._runs.get(check.name, (0, 0))
            self._runs[check.name] = now
        if now[0] > runs:
            self._duration.labels(check.name).observe(check.duration)
        self._failures.labels(check.name).add(max(0, now[1] - bad_runs))


def read_switches(into: Readings, switches: Iterable[SwitchReport]) -> None:
    """Reads the switches that are set."""
    for switch in switches:
        position = "on" if switch.share >= 1 else "partial" if switch.share > 0 else "off"
        into.state("seawall.switch.status", position, switch.pattern or "*", switch.policy or "*")


def read_process(into: Readings) -> None:
    """Reads what the operating system says of this process."""
    into.gauge("seawall.process.memory", process.memory())
    into.gauge("seawall.process.open_fds", process.open_fds())
