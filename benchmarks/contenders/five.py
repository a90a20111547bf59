"""The five together: fallback, retry, bulkhead, breaker, timeout, with the same limits for everybody."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import Any

import seawall as sw
from benchmarks.rows import CallRow, Row, awork, work
from seawall.observe.collection import Instruments
from seawall.observe.owners import Owners
from seawall.observe.recording import Recording

FAILURES = (ConnectionError, TimeoutError)


def pipeline(name: str, *, rate: bool = False, timeout: bool = True, slots: int = 10) -> sw.Pipeline:
    """Returns the pipeline of five; each row makes its own, since one keeps one state."""
    rule = {"failure_rate": 0.5, "window": 30.0, "min_calls": 5} if rate else {"failures": 5}
    strategies: list[sw.Strategy] = [
        sw.Fallback(0, on=(sw.RejectedError, *FAILURES)),
        sw.Retry(on=FAILURES),
        sw.Bulkhead(slots),
        sw.CircuitBreaker(on=FAILURES, **rule),
    ]
    return sw.Pipeline(name, *strategies, *([sw.Timeout(10.0)] if timeout else []))


def seawall(fn: Any) -> Any:
    return pipeline("five")(fn)


def seawall_rate(fn: Any) -> Any:
    return pipeline("five with a rate", rate=True)(fn)


def seawall_metered(fn: Any) -> Any:
    five = pipeline("five with metrics")
    five.listen(hear, sw.CallEnded)
    return five(fn)


def seawall_untimed(fn: Any) -> Any:
    return pipeline("five without timeout", timeout=False)(fn)


def seawall_counted(fn: Any) -> Any:
    five = pipeline("five with instruments")
    # As `Metrics.start` does for every pipeline of the process; here for this one alone, since the plain five is there.
    five.listen(Recording(Instruments(), Owners()), sw.CallEnded)
    return five(fn)


def hear(event: object) -> None:
    """A listener that does nothing with what it is told."""


def nopanic_stack(*, timeout: bool = True, slots: int = 10) -> Any:
    """Returns nopanic's stack of five, which may be applied to any number of functions."""
    import nopanic as np

    policies = [
        np.fallback(0, on=(np.BulkheadFull, np.CircuitOpen, *FAILURES)),
        np.retry(attempts=3, on=FAILURES),
        np.bulkhead(slots, max_wait=0),
        np.circuit_breaker(failure_threshold=0.5, min_calls=5, window=30.0, on=FAILURES),
    ]
    return np.compose(*policies, *([np.timeout(10.0)] if timeout else []))


def nopanic(fn: Any) -> Any:
    return nopanic_stack()(fn)


def nopanic_untimed(fn: Any) -> Any:
    return nopanic_stack(timeout=False)(fn)


def pyresilience_stack(*, rate: bool = False, timeout: bool = True, slots: int = 10, listeners: Any = None) -> Any:
    """Returns pyresilience's decorator with the five."""
    import pyresilience as pr

    rule = {"sliding_window_size": 100, "minimum_calls": 5} if rate else {"failure_threshold": 5}
    return pr.resilient(
        fallback=pr.FallbackConfig(
            handler=0, fallback_on=(pr.BulkheadFullError, pr.CircuitOpenError, pr.ResilienceTimeoutError, *FAILURES)
        ),
        retry=pr.RetryConfig(max_attempts=3, retry_on=FAILURES),
        bulkhead=pr.BulkheadConfig(max_concurrent=slots),
        circuit_breaker=pr.CircuitBreakerConfig(error_types=FAILURES, **rule),
        timeout=pr.TimeoutConfig(seconds=10.0) if timeout else None,
        listeners=listeners,
    )


def pyresilience(fn: Any) -> Any:
    return pyresilience_stack()(fn)


def pyresilience_rate(fn: Any) -> Any:
    return pyresilience_stack(rate=True)(fn)


def pyresilience_metered(fn: Any) -> Any:
    return pyresilience_stack(listeners=[hear])(fn)


def pyresilience_untimed(fn: Any) -> Any:
    return pyresilience_stack(timeout=False)(fn)


def three(fn: Any) -> Any:
    """What people glue together; it has no bulkhead and no fallback."""
    from aiobreaker import CircuitBreaker
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    @retry(
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        retry=retry_if_exception_type(FAILURES),
        reraise=True,
    )
    @CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=30))
    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(10.0):
            return await fn(*args, **kwargs)

    return call


def seawall_deadline() -> Any:
    return sw.deadline(600.0)


def nopanic_deadline() -> Any:
    import nopanic

    return nopanic.deadline(600.0)


GLUED = "tenacity + aiobreaker + asyncio.timeout"
PLAIN = "the plain five"

ROWS: list[Row] = [
    CallRow(
        "five-async",
        "fallback + retry + bulkhead + breaker + timeout, async",
        awork,
        {"seawall": seawall, "nopanic": nopanic, "pyresilience": pyresilience, GLUED: three},
    ),
    CallRow(
        "five-rate-async",
        "the five with a failure-rate window, async",
        awork,
        {"seawall": seawall_rate, PLAIN: seawall, "nopanic": nopanic, "pyresilience": pyresilience_rate},
    ),
    CallRow(
        "five-metrics-async",
        "the five with a listener to every call, async",
        awork,
        {"seawall": seawall_metered, PLAIN: seawall, "pyresilience": pyresilience_metered},
    ),
    CallRow(
        "five-instruments-async",
        "the five with seawall.observe.Metrics on, async",
        awork,
        {"seawall": seawall_counted, PLAIN: seawall},
    ),
    CallRow(
        "five-untimed-sync",
        "the five without timeout, sync",
        work,
        {"seawall": seawall_untimed, "nopanic": nopanic_untimed, "pyresilience": pyresilience_untimed},
    ),
    CallRow(
        "five-deadline-async",
        "the five under an ambient deadline, async",
        awork,
        {"seawall": seawall, "nopanic": nopanic},
        {"seawall": seawall_deadline, "nopanic": nopanic_deadline},
    ),
]
