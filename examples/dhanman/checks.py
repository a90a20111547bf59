"""What Dhanman's health consists of."""

from __future__ import annotations

from examples.dhanman.database import Database
from seawall.durable import Outbox
from seawall.health import Check, Health, Monitor, breakers_check, loop_lag_check, memory_check, url_check
from seawall.integrations.sqlalchemy import database_check

STUCK = "messages are stuck: see `seawall outbox list`"


def monitor(database: Database, outbox: Outbox, rates: str) -> Monitor:
    """Returns the monitor. Ready is whoever has the database.

    Args:
        database: asked on its own pool.
        outbox: degraded while a message is stuck in it.
        rates: where the exchange rate API tells its health.
    """

    async def stuck() -> Health:
        return Health.degraded(STUCK) if await outbox.astuck() else Health.healthy("no message is stuck")

    return Monitor(
        [
            database_check(database.engine, tags=["ready", "db", "postgres"], timeout=3.0),
            url_check(rates, name="external-api", tags=["external"], failure_status="degraded", timeout=5.0),
            Check("custom-check", stuck, tags=["messaging"]),
            breakers_check(),
            memory_check(tags=["live"]),
            loop_lag_check(tags=["live"], unhealthy_above=5),
        ],
        period=10.0,
        timeout=5.0,
        name="dhanman",
    )
