"""Every instrument of seawall: the one table from which they are made, exported, described and alerted on.

Names, units and attributes are OpenTelemetry's way of writing them; Prometheus' names follow by rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "state"]
Merge: TypeAlias = Literal["sum", "max", "worker"]

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets of durations of calls."""
OUTAGES: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Buckets of durations of outages, in seconds."""
CIRCUIT_STATES: Final = ("isolated", "open", "half_open", "disabled", "metrics_only", "closed")
HEALTH_STATES: Final = ("unhealthy", "degraded", "healthy", "unknown")
SWITCH_STATES: Final = ("off", "partial", "on")
_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes"}


@dataclass(frozen=True, slots=True)
class Row:
    """One instrument.

    Attributes:
        name: what it is called.
        kind: counter; gauge; histogram; or state: for each label set, one of `states` is 1 and the others are 0.
        unit: as UCUM writes it; what is counted is in braces.
        description: one sentence without its full stop.
        attributes: the names of its labels. A state's last one is `state`.
        merge: how the gauges of several workers become one: their sum, the largest, or each with its worker's id.
        buckets: the upper bounds of a histogram.
        states: of a state, the worst first: of several workers' states the worst one is shown.
        counts: the name of a state instrument, where this is how many workers are in each of its states.
        option: the set of further names that it belongs to; those tell on demand what others tell already.
        of: the name of the instrument whose story it tells.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    merge: Merge = "sum"
    buckets: tuple[float, ...] = SECONDS
    states: tuple[str, ...] = ()
    counts: str | None = None
    option: str | None = None
    of: str | None = None

    @property
    def prometheus(self) -> str:
        """The name in Prometheus: underscores for dots, the unit behind, `_total` for counters."""
        total = "_total" if self.kind == "counter" else ""
        return f"{self.name.replace('.', '_')}{_SUFFIXES.get(self.unit, '')}{total}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels in Prometheus."""
        return tuple(attribute.replace(".", "_") for attribute in self.attributes)


_STRATEGY: Final = ("strategy.name",)
_STRATEGY_STATE: Final = ("strategy.name", "state")

TABLE: Final[tuple[Row, ...]] = (
    Row(
        "seawall.pipeline.duration",
        "histogram",
        "s",
        "How long calls through a pipeline took, by how they ended",
        ("pipeline.name", "outcome", "error.type"),
    ),
    Row(
        "seawall.strategy.events",
        "counter",
        "{event}",
        "What strategies did",
        ("event.name", "event.severity", "pipeline.name", "strategy.name"),
    ),
    Row(
        "seawall.retry.attempts",
        "counter",
        "{attempt}",
        "Attempts after the first one of a call",
        ("strategy.name", "attempt.number"),
    ),
    Row(
        "seawall.retry.calls",
        "counter",
        "{call}",
        "Calls whose first attempt failed, by whether a later one succeeded (recovered) or none did (gave_up)",
        ("strategy.name", "result"),
    ),
    Row(
        "seawall.circuit_breaker.status",
        "state",
        "",
        "1 for the state that a circuit breaker is in, the worst of all workers",
        _STRATEGY_STATE,
        states=CIRCUIT_STATES,
    ),
    Row(
        "seawall.circuit_breaker.workers",
        "gauge",
        "{worker}",
        "How many workers have the circuit breaker in this state",
        _STRATEGY_STATE,
        counts="seawall.circuit_breaker.status",
    ),
    Row(
        "seawall.circuit_breaker.transitions",
        "counter",
        "{transition}",
        "How often a circuit breaker went into a state",
        _STRATEGY_STATE,
    ),
    Row(
        "seawall.circuit_breaker.failure_share",
        "gauge",
        "",
        "Share of failures among the calls that a circuit breaker judges by, once they are enough",
        _STRATEGY,
        merge="max",
    ),
    Row(
        "seawall.circuit_breaker.failures",
        "gauge",
        "{failure}",
        "Failures that a circuit breaker counts now",
        _STRATEGY,
    ),
    Row(
        "seawall.circuit_breaker.rejected",
        "counter",
        "{call}",
        "Calls that a circuit breaker did not let through",
        _STRATEGY,
    ),
    Row(
        "seawall.circuit_breaker.recovery.duration",
        "histogram",
        "s",
        "Time from a circuit breaker's opening until it closed again",
        _STRATEGY,
        buckets=OUTAGES,
    ),
    Row("seawall.bulkhead.in_flight", "gauge", "{call}", "Calls that a bulkhead or worker pool holds now", _STRATEGY),
    Row("seawall.bulkhead.limit", "gauge", "{call}", "Calls that a bulkhead or worker pool may hold", _STRATEGY),
    Row("seawall.bulkhead.queued", "gauge", "{call}", "Calls that wait for a place in a bulkhead", _STRATEGY),
    Row("seawall.bulkhead.rejected", "counter", "{call}", "Calls that found a bulkhead or worker pool full", _STRATEGY),
    Row("seawall.rate_limiter.rejected", "counter", "{call}", "Calls that were beyond a rate limit", _STRATEGY),
    Row(
        "seawall.fallback.active",
        "gauge",
        "",
        "1 where the last calls of a pipeline were answered by a fallback, on any worker",
        ("pipeline.name",),
        merge="max",
    ),
    Row(
        "seawall.fallback.duration",
        "histogram",
        "s",
        "Time from the first call answered by a fallback until the dependency answered again",
        ("pipeline.name",),
        buckets=OUTAGES,
    ),
    Row(
        "seawall.health.status",
        "state",
        "",
        "1 for the state of health as a probe tells it",
        ("probe", "state"),
        states=HEALTH_STATES,
    ),
    Row(
        "seawall.health.check.status",
        "state",
        "",
        "1 for the state that a health check found, the worst of all workers",
        ("check.name", "state"),
        states=HEALTH_STATES,
    ),
    Row("seawall.health.check.age", "gauge", "s", "Age of a health check's result", ("check.name",), merge="max"),
    Row("seawall.health.check.duration", "histogram", "s", "How long a health check took", ("check.name",)),
    Row("seawall.health.check.failures", "counter", "{run}", "Runs of a health check that were bad", ("check.name",)),
    Row(
        "seawall.recovery.actions",
        "counter",
        "{action}",
        "Recovery actions by how they ended",
        ("check.name", "result"),
    ),
    Row(
        "seawall.switch.status",
        "state",
        "",
        "1 for the position of a switch that is set, the worst of all workers",
        ("switch.name", "policy", "state"),
        states=SWITCH_STATES,
    ),
    Row(
        "seawall.http.errors",
        "counter",
        "{error}",
        "Requests that were answered with an error",
        ("code", "http.response.status_code"),
    ),
    Row(
        "seawall.idempotency.operations",
        "counter",
        "{operation}",
        "Idempotent operations: executed, or what became of a repeat",
        ("idempotency.namespace", "result"),
    ),
    Row(
        "seawall.outbox.messages",
        "counter",
        "{message}",
        "Attempts to send messages of an outbox, by how they ended",
        ("relay.name", "result"),
    ),
    Row(
        "seawall.outbox.age",
        "histogram",
        "s",
        "Time from a message's commit into an outbox until it was sent",
        ("relay.name",),
        buckets=(*SECONDS, *OUTAGES[4:]),
    ),
    Row("seawall.saga.ended", "counter", "{saga}", "Sagas that have ended", ("saga.name", "result")),
    Row(
        "seawall.saga.duration",
        "histogram",
        "s",
        "Time from a saga's start to its end",
        ("saga.name", "result"),
        buckets=(*SECONDS, *OUTAGES[4:]),
    ),
    Row(
        "seawall.saga.step.failures",
        "counter",
        "{failure}",
        "Attempts at a saga's step that failed, by whether it was the action or its undo",
        ("saga.name", "saga.step", "part"),
    ),
    Row("seawall.saga.stuck", "counter", "{saga}", "Sagas that wait for an operator", ("saga.name",)),
    Row(
        "seawall.transaction.commit_unknown",
        "counter",
        "{transaction}",
        "Transactions whose COMMIT was not answered, by what became of them",
        ("transaction.name", "result"),
    ),
    Row("seawall.lease.lost", "counter", "{lease}", "Leases that were lost while their holder worked"),
    Row("seawall.event_loop.lag", "histogram", "s", "How late the event loop runs what is due"),
    Row("seawall.process.memory", "gauge", "By", "Resident memory of all workers"),
    Row("seawall.process.cpu", "counter", "s", "Processor time used by all workers"),
    Row("seawall.process.open_fds", "gauge", "{descriptor}", "Open file descriptors of all workers"),
    Row("seawall.worker.up", "gauge", "", "1 for a worker, 0 while it is silent", ("worker",), merge="worker"),
    Row(
        "circuit_breaker.opened",
        "counter",
        "{transition}",
        "Circuit breakers opened",
        ("service",),
        option="ticketwave",
        of="seawall.circuit_breaker.transitions",
    ),
    Row(
        "retry.attempts",
        "counter",
        "{attempt}",
        "Retry attempts",
        ("service", "attempt"),
        option="ticketwave",
        of="seawall.retry.attempts",
    ),
    Row(
        "fallback.duration",
        "histogram",
        "s",
        "Time spent in fallback mode",
        ("service",),
        buckets=OUTAGES,
        option="ticketwave",
        of="seawall.fallback.duration",
    ),
    Row(
        "degraded_mode.active",
        "gauge",
        "",
        "Services in degraded mode",
        ("service",),
        merge="max",
        option="ticketwave",
        of="seawall.fallback.active",
    ),
    Row(
        "health_check.failures",
        "counter",
        "{run}",
        "Health check failures",
        ("check_name",),
        option="ticketwave",
        of="seawall.health.check.failures",
    ),
)

ROWS: Final = {row.name: row for row in TABLE}
