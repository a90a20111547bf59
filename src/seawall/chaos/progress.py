"""What can be seen of a run while it goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from seawall.chaos.load import Traffic
from seawall.chaos.record import Ending, Record
from seawall.chaos.scenario import Conditions, Counts, Scenario
from seawall.chaos.script import FaultPeriod

Stage: TypeAlias = Literal["start", "warm-up", "load", "last answers", "finish", "end"]


@dataclass(slots=True)
class VariantProgress:
    """One variant, as of now.

    Attributes:
        record: its requests that have ended; what is pending counts as kept.
        counts: what it counted itself when it was last asked; None: not yet.
    """

    record: Record
    counts: Counts | None = None
    traffic: Traffic | None = None

    @property
    def waiting(self) -> int:
        """Requests that have been sent and have not ended."""
        return 0 if self.traffic is None else self.traffic.waiting

    @property
    def availability(self) -> float | None:
        """The share of requests that got an answer of use so far; what waits too long already did not."""
        requests = len(self.record.requests) + len(self._overdue())
        return self.record.available / requests if requests else None

    def bins(self) -> list[Counter[Ending]]:
        """Returns how the requests ended, part by part of the run; what waits too long already is late."""
        bins = [Counter(part) for part in self.record.bins]
        for due in self._overdue():
            bins[self.record.bin_of(due)]["late"] += 1
        return bins

    def _overdue(self) -> list[float]:
        return [] if self.traffic is None else self.traffic.overdue()


@dataclass(slots=True)
class Progress:
    """A run as of now. It changes while it is looked at; looking changes nothing.

    Attributes:
        scenario, conditions: what is run.
        faults: the script, in the order in which the faults begin, with what has really happened.
        most_at_once: how many faults there are at most at the same time.
        variants: by name.
        stage: what goes on: start, warm-up, load, last answers, finish or end.
        start: when the load began, on the clock of the event loop; None: not yet.
    """

    scenario: Scenario
    conditions: Conditions
    faults: tuple[FaultPeriod, ...]
    most_at_once: int
    variants: Mapping[str, VariantProgress]
    stage: Stage = "start"
    start: float | None = None

    @property
    def now(self) -> float:
        """Seconds since the load began; 0 before. Asked for in the event loop of the run."""
        return 0.0 if self.start is None else max(0.0, asyncio.get_running_loop().time() - self.start)


Watch: TypeAlias = Callable[[Progress], Coroutine[Any, Any, None]]
"""Shows a run: started before the variants are, cancelled at the end."""
