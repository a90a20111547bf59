"""Bulkhead, timeout and rate limit, each alone: ten at once, ten seconds, and a rate that no loop reaches."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from benchmarks.rows import CallRow, Row, awork, work
from seawall import Bulkhead, RateLimit, Timeout

RATE = 50_000_000
"""Calls a second: more than there are, so that nothing waits."""


def bulkhead(fn: Any) -> Any:
    return Bulkhead(10)(fn)


def nopanic_bulkhead(fn: Any) -> Any:
    import nopanic

    return nopanic.bulkhead(10, max_wait=0)(fn)


def pyresilience_bulkhead(fn: Any) -> Any:
    from pyresilience import BulkheadConfig, resilient

    return resilient(bulkhead=BulkheadConfig(max_concurrent=10))(fn)


def semaphore(fn: Any) -> Any:
    slots = asyncio.Semaphore(10)

    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with slots:
            return await fn(*args, **kwargs)

    return call


def timeout(fn: Any) -> Any:
    return Timeout(10.0)(fn)


def asyncio_timeout(fn: Any) -> Any:
    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(10.0):
            return await fn(*args, **kwargs)

    return call


def nopanic_timeout(fn: Any) -> Any:
    import nopanic

    return nopanic.timeout(10.0)(fn)


def pyresilience_timeout(fn: Any) -> Any:
    from pyresilience import TimeoutConfig, resilient

    return resilient(timeout=TimeoutConfig(seconds=10.0))(fn)


def rate_limit(fn: Any) -> Any:
    return RateLimit(RATE)(fn)


def nopanic_rate_limit(fn: Any) -> Any:
    import nopanic

    return nopanic.rate_limit(RATE, max_wait=0)(fn)


def pyresilience_rate_limit(fn: Any) -> Any:
    from pyresilience import RateLimiterConfig, resilient

    return resilient(rate_limiter=RateLimiterConfig(max_calls=RATE, period=1.0))(fn)


BULKHEADS = {
    "seawall": bulkhead,
    "asyncio.Semaphore": semaphore,
    "nopanic": nopanic_bulkhead,
    "pyresilience": pyresilience_bulkhead,
}
TIMEOUTS = {
    "seawall": timeout,
    "asyncio.timeout": asyncio_timeout,
    "nopanic": nopanic_timeout,
    "pyresilience": pyresilience_timeout,
}
RATES = {"seawall": rate_limit, "nopanic": nopanic_rate_limit, "pyresilience": pyresilience_rate_limit}

ROWS: list[Row] = [
    CallRow("bulkhead-async", "bulkhead alone, async", awork, BULKHEADS),
    CallRow("timeout-async", "timeout alone, async", awork, TIMEOUTS),
    CallRow("ratelimit-sync", "rate limit alone, sync", work, RATES),
    CallRow("ratelimit-async", "rate limit alone, async", awork, RATES),
]
