"""What a run has shown."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from seawall.chaos.measures import Bin, Measures
from seawall.chaos.record import Ending
from seawall.chaos.scenario import Conditions
from seawall.chaos.script import FaultPeriod

RESERVED: Final = ("scenario", "seconds", "rate", "seed", "cut_short", "report")
"""Keys of `Result.as_dict`, which no variant can have as its name."""


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What one variant has shown.

    Attributes:
        measures: its figures.
        endings: how many requests ended in which way.
        failures: how many of those that failed raised what, by class.
        timeline: the requests in at most 60 parts of the run.
    """

    measures: Measures
    endings: Mapping[Ending, int]
    failures: Mapping[str, int]
    timeline: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has shown.

    Attributes:
        scenario, says: the scenario's name, and what it says of itself.
        conditions: what both variants met alike.
        usable_within: seconds after which an answer was of no use.
        faults: the script, with the seconds at which each fault really began and ended.
        notes: lines that people should know when they read the figures.
        variants: by name, the one to compare with first.
        cut_short: whether it was ended before its time; then the figures are those so far, without the requests that
            were in flight and not yet late.
        lasted: for how many seconds requests were sent.
        date: when it began, in UTC.
        python: the interpreter's name and version.
    """

    scenario: str
    says: str
    conditions: Conditions
    usable_within: float
    faults: tuple[FaultPeriod, ...]
    notes: tuple[str, ...]
    variants: Mapping[str, VariantResult]
    cut_short: bool
    lasted: float
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    python: str = field(default_factory=lambda: f"{platform.python_implementation()} {platform.python_version()}")

    def as_dict(self, *, report: str | None = None) -> dict[str, Any]:
        """Returns the figures as JSON can hold them, each variant's under its name.

        Args:
            report: the path of the report; default None: there is none.
        """
        return {
            "scenario": self.scenario,
            "seconds": self.conditions.seconds,
            "rate": self.conditions.rate,
            "seed": self.conditions.seed,
            "cut_short": self.cut_short,
            "report": report,
            **{name: variant.measures.as_dict() for name, variant in self.variants.items()},
        }
