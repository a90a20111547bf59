"""Circuit breakers alone: five failures in a row, or half of the calls of a window; and the rejection while open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from benchmarks.rows import CallRow, Row, afailing, awork, failing, work
from seawall import CircuitBreaker

OPEN_FOR = 300
"""Seconds: longer than any row takes, so that an open circuit stays open."""


def seawall(fn: Any) -> Any:
    return CircuitBreaker(failures=5, open_for=OPEN_FOR, name="in a row")(fn)


def circuitbreaker(fn: Any) -> Any:
    from circuitbreaker import circuit

    return circuit(failure_threshold=5, recovery_timeout=OPEN_FOR)(fn)


def pybreaker(fn: Any) -> Any:
    from pybreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, reset_timeout=OPEN_FOR)(fn)


def aiobreaker(fn: Any) -> Any:
    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=OPEN_FOR))(fn)


def nopanic(fn: Any) -> Any:
    """Its breaker is a windowed one, always."""
    import nopanic

    return nopanic.circuit_breaker(failure_threshold=0.5, min_calls=5, window=30.0, reset_timeout=OPEN_FOR)(fn)


def pyresilience(fn: Any) -> Any:
    from pyresilience import CircuitBreakerConfig, resilient

    return resilient(circuit_breaker=CircuitBreakerConfig(failure_threshold=5, recovery_timeout=OPEN_FOR))(fn)


def seawall_rate(fn: Any) -> Any:
    return CircuitBreaker(failure_rate=0.5, window=30.0, min_calls=5, open_for=OPEN_FOR, name="rate")(fn)


def seawall_last_calls(fn: Any) -> Any:
    return CircuitBreaker(failure_rate=0.5, window_calls=100, min_calls=5, open_for=OPEN_FOR, name="last")(fn)


def pyresilience_last_calls(fn: Any) -> Any:
    from pyresilience import CircuitBreakerConfig, resilient

    window = CircuitBreakerConfig(
        sliding_window_size=100, failure_rate_threshold=0.5, minimum_calls=5, recovery_timeout=OPEN_FOR
    )
    return resilient(circuit_breaker=window)(fn)


ASYNC = {
    "seawall": seawall,
    "circuitbreaker": circuitbreaker,
    "aiobreaker": aiobreaker,
    "nopanic": nopanic,
    "pyresilience": pyresilience,
}
SYNC = {**ASYNC, "pybreaker": pybreaker}  # pybreaker's async calls are Tornado's
RATE = {"seawall": seawall_rate, "nopanic": nopanic}
LAST = {"seawall": seawall_last_calls, "pyresilience": pyresilience_last_calls}

ROWS: list[Row] = [
    CallRow("breaker-sync", "consecutive breaker alone, sync", work, SYNC),
    CallRow("breaker-async", "consecutive breaker alone, async", awork, ASYNC),
    CallRow("breaker-rate-sync", "breaker alone, failure rate over 30 s, sync", work, RATE),
    CallRow("breaker-rate-async", "breaker alone, failure rate over 30 s, async", awork, RATE),
    CallRow("breaker-last-sync", "breaker alone, failure rate over 100 calls, sync", work, LAST),
    CallRow("breaker-last-async", "breaker alone, failure rate over 100 calls, async", awork, LAST),
    CallRow("rejection-sync", "rejection by an open breaker, sync", failing, SYNC),
    CallRow("rejection-async", "rejection by an open breaker, async", afailing, ASYNC),
]
