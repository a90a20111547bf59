"""Health: what a service knows of itself and of what it depends on, and what it does about it.

    monitor = Monitor([
        Check("stock", count_stock, tags=["ready", "business"]),
        url_check("https://catalog.example.com/health", name="catalog-service", tags=["service"]),
        disk_check(),
        memory_check(tags=["live"]),
        breakers_check(),
    ], recoveries=[Recovery("memory", collect_garbage, on="degraded")])

    async with monitor:
        monitor.answer("ready")             # Answer(status_code=200, body={"status": "healthy", ...})

Checks of SQLAlchemy, Redis and RabbitMQ are in `seawall.integrations`.
"""

from seawall.health.breakers import breakers_check
from seawall.health.check import Check, CheckOptions
from seawall.health.disk import disk_check
from seawall.health.events import HealthChanged, RecoveryEnded, RecoveryGaveUp, RecoveryStarted
from seawall.health.live import LiveServer
from seawall.health.loop import LoopProbe, loop_lag_check
from seawall.health.memory import memory_check
from seawall.health.monitor import Monitor, MonitorSnapshot
from seawall.health.recovery import Recovery, collect_garbage
from seawall.health.report import Answer, Entry, Report, UnknownViewError
from seawall.health.status import Health
from seawall.health.url import url_check

__all__ = [
    "Answer",
    "Check",
    "CheckOptions",
    "Entry",
    "Health",
    "HealthChanged",
    "LiveServer",
    "LoopProbe",
    "Monitor",
    "MonitorSnapshot",
    "Recovery",
    "RecoveryEnded",
    "RecoveryGaveUp",
    "RecoveryStarted",
    "Report",
    "UnknownViewError",
    "breakers_check",
    "collect_garbage",
    "disk_check",
    "loop_lag_check",
    "memory_check",
    "url_check",
]
