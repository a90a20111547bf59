"""What goes wrong and when: the script of the failing server, as data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

Fault = Literal["500", "503", "stall", "reset", "down"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the run, and the share of its requests that each fault meets."""

    name: str
    part: float
    says: str
    faults: Mapping[Fault, float] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """Whether anything goes wrong in it."""
        return bool(self.faults)


PHASES = (
    Phase("healthy", 0.15, "every answer is good"),
    Phase("errors", 0.20, "4 in 10 answers are a 500 or a 503", {"500": 0.2, "503": 0.2}),
    Phase("stalls", 0.15, "5 in 10 answers hang for seconds", {"stall": 0.5}),
    Phase("resets", 0.15, "7 in 10 connections are reset instead of answered", {"reset": 0.7}),
    Phase("outage", 0.15, "nobody listens: every connection is refused", {"down": 1.0}),
    Phase("recovery", 0.20, "every answer is good again"),
)


@dataclass(frozen=True, slots=True)
class Script:
    """The phases stretched over a run. The n-th request of a phase meets the same fault in every run of a seed.

    Each caller's requests are numbered on their own, so both callers meet the same faults in the same order.
    """

    seconds: float
    seed: int

    @property
    def stall(self) -> float:
        """Seconds that a stalled answer takes: longer than any caller of the demo waits."""
        return max(2.5, min(6.0, 0.6 * self.seconds))

    def timeline(self) -> Iterator[tuple[float, Phase]]:
        """Yields each phase with the second at which it begins."""
        ends = accumulate(phase.part for phase in PHASES)
        for phase, end in zip(PHASES, ends, strict=True):
            yield self.seconds * (end - phase.part), phase

    def broken_until(self, now: float) -> float:
        """Returns how many seconds of the run up to `now` something goes wrong in."""
        spans = ((begins, phase.part * self.seconds) for begins, phase in self.timeline() if phase.broken)
        return sum(max(0.0, min(length, now - begins)) for begins, length in spans)

    def fault(self, phase: Phase, number: int) -> Fault | None:
        """Returns what befalls request `number` of a phase."""
        left = random.Random(f"{self.seed}:{phase.name}:{number}").random()
        for fault, share in phase.faults.items():
            left -= share
            if left < 0:
                return fault
        return None

    def work(self, phase: Phase, number: int) -> float:
        """Returns the seconds that a good answer takes."""
        return random.Random(f"work:{self.seed}:{phase.name}:{number}").uniform(0.004, 0.02)
