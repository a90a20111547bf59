"""What the gateway's health consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from examples.llmgateway.database import Database
from examples.llmgateway.messages import Queue
from seawall.health import Monitor, breakers_check, disk_check, loop_lag_check, memory_check, url_check
from seawall.integrations.sqlalchemy import database_check

PERIOD: Final = 10.0
"""Seconds between two runs of a check of what is needed."""
TIMEOUT: Final = 3.0
"""Seconds after which what has not answered is away."""


def monitor(database: Database, queue: Queue, providers: Mapping[str, str], folder: str) -> Monitor:
    """Returns the monitor. Its Redis cache will be one check more.

    Ready is whoever has the database. A provider that is away makes the gateway degraded, not unready: the other one
    answers. Live are checks of this process alone.

    Args:
        database: which is asked on its own pool.
        queue: where messages about usage go.
        providers: where each provider tells its health.
        folder: on the disk that is looked at.
    """
    external = [
        url_check(url, name=f"{name}-api", tags=["external"], failure_status="degraded", period=30)
        for name, url in providers.items()
    ]
    return Monitor(
        [
            database_check(database.engine, tags=["ready", "database"], timeout=TIMEOUT),
            queue.check(),
            *external,
            breakers_check(),
            disk_check(folder, tags=["resource"]),
            memory_check(tags=["live", "resource"]),
            loop_lag_check(tags=["live"], unhealthy_above=5),
        ],
        period=PERIOD,
        timeout=TIMEOUT,
        name="llmgateway",
    )
