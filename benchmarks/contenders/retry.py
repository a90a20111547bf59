"""Retry alone: three attempts at most, after connection errors, with exponential backoff and jitter."""

from __future__ import annotations

from typing import Any

from benchmarks.rows import CallRow, Row, awork, work
from seawall import Retry


def seawall(fn: Any) -> Any:
    return Retry(on=ConnectionError, name="bounded")(fn)


def seawall_unbounded(fn: Any) -> Any:
    return Retry(on=ConnectionError, max_elapsed=None, name="unbounded")(fn)


def nopanic(fn: Any) -> Any:
    import nopanic

    return nopanic.retry(attempts=3, on=ConnectionError)(fn)


def nopanic_bounded(fn: Any) -> Any:
    import nopanic

    return nopanic.retry(attempts=3, on=ConnectionError, max_time=30.0)(fn)


def pyresilience(fn: Any) -> Any:
    from pyresilience import RetryConfig, resilient

    return resilient(retry=RetryConfig(max_attempts=3, retry_on=(ConnectionError,)))(fn)


def tenacity(fn: Any) -> Any:
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return retry(
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        retry=retry_if_exception_type(ConnectionError),
        reraise=True,
    )(fn)


def stamina(fn: Any) -> Any:
    import stamina

    return stamina.retry(on=ConnectionError, attempts=3)(fn)


def backoff(fn: Any) -> Any:
    import backoff

    return backoff.on_exception(backoff.expo, ConnectionError, max_tries=3)(fn)


BOUNDED = {
    "seawall": seawall,
    "nopanic": nopanic,
    "nopanic with max_time": nopanic_bounded,
    "pyresilience": pyresilience,
    "backoff": backoff,
    "stamina": stamina,
    "tenacity": tenacity,
}
UNBOUNDED = {"seawall": seawall_unbounded, "nopanic": nopanic}

ROWS: list[Row] = [
    CallRow("retry-sync", "retry alone, sync", work, BOUNDED),
    CallRow("retry-async", "retry alone, async", awork, BOUNDED),
    CallRow("retry-unbounded-sync", "retry alone, max_elapsed=None, sync", work, UNBOUNDED),
    CallRow("retry-unbounded-async", "retry alone, max_elapsed=None, async", awork, UNBOUNDED),
]
