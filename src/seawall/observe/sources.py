"""What is asked of those who know of health and switches: the floor above hands them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class CheckReport(Protocol):
    """What is asked of a health check."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def status(self) -> str:
        """healthy, degraded, unhealthy or unknown."""
        ...

    @property
    def duration(self) -> float:
        """Of the last run, in seconds."""
        ...

    @property
    def age(self) -> float | None:
        """Seconds since the last run ended; None before the first one."""
        ...

    @property
    def runs(self) -> int:
        """How many there were."""
        ...

    @property
    def bad_runs(self) -> int:
        """How many of them found something bad."""
        ...


class HealthReport(Protocol):
    """What is asked of a view of health; `Monitor.report` returns such."""

    @property
    def status(self) -> str:
        """healthy, degraded, unhealthy or unknown."""
        ...

    @property
    def checks(self) -> Sequence[CheckReport]:
        """The checks in the view."""
        ...


class SwitchReport(Protocol):
    """What is asked of a switch that is set."""

    @property
    def pattern(self) -> str | None:
        """The kind of strategy that it is about; None: all."""
        ...

    @property
    def policy(self) -> str | None:
        """The pipeline, or strategy alone, that it is about; None: all."""
        ...

    @property
    def share(self) -> float:
        """Of the calls, for which it is on: 0 to 1."""
        ...
