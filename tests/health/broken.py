"""A dependency that is broken, for tests of recovery: a check that finds it so, and an action that may mend it."""

from typing import Any

from seawall._core.events import Event
from seawall.health import Check, Monitor, Recovery, RecoveryEnded, RecoveryGaveUp, RecoveryStarted
from seawall.testing import FakeClock
from tests.health.monitors import monitor


class Broken:
    """A dependency: a check that finds it broken, and an action that mends it at its `mended_by`-th run."""

    def __init__(self, clock: FakeClock, mended_by: int = 99, status: Any = False) -> None:
        self.clock = clock
        self.status = status
        self.mended_by = mended_by
        self.acted: list[float] = []
        self.events: list[Event] = []

    async def look(self) -> Any:
        """The function of the check."""
        return self.status

    async def act(self) -> None:
        """The action."""
        self.acted.append(self.clock.now())
        if len(self.acted) == self.mended_by:
            self.status = True

    def monitor(self, period: float = 10.0, **options: Any) -> Monitor:
        """Returns a monitor of this alone, whose events are kept."""
        watching = monitor(
            Check("it", self.look), recoveries=[Recovery("it", self.act, **options)], period=period, timeout=2.0
        )
        watching.listen(self.events.append, RecoveryStarted, RecoveryEnded, RecoveryGaveUp)
        return watching

    def told(self) -> list[str]:
        """Returns the events as their classes, and of the ended ones how."""
        return [
            f"{event.run} {'well' if event.succeeded else 'badly'}"
            if isinstance(event, RecoveryEnded)
            else type(event).__name__
            for event in self.events
        ]


def stage(watching: Monitor) -> str | None:
    """Returns what the recovery of the first check is at."""
    return watching.report().checks[0].recovery
