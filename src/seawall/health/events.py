"""What the monitor notices, as frozen records. `name` is the check's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from seawall._core.events import _Record
from seawall.health.status import Status


@dataclass(frozen=True, slots=True)
class HealthChanged(_Record):
    """A check's status changed. `description` says why; passwords in it are masked."""

    old: Status
    new: Status
    description: str

    @property
    def level(self) -> int:  # type: ignore[override]
        """How loudly it is logged."""
        return logging.INFO if self.new == "healthy" else logging.WARNING

    def __str__(self) -> str:
        return f"{self.name!r}: {self.old} -> {self.new}" + (f": {self.description}" if self.description else "")


@dataclass(frozen=True, slots=True)
class RecoveryStarted(_Record):
    """A recovery action is run, for the `run`-th time since the check went bad. `reason` is the check's description."""

    level: ClassVar[int] = logging.WARNING
    run: int
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r}: recovery, run {self.run}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class RecoveryEnded(_Record):
    """A recovery action ended, after `duration` seconds with its verification.

    `succeeded`: the check was good again when it was verified; without verification, the action raised nothing and
    ended in time. `failure` says what went wrong; passwords in it are masked.
    """

    run: int
    succeeded: bool
    duration: float
    failure: str | None

    @property
    def level(self) -> int:  # type: ignore[override]
        """How loudly it is logged."""
        return logging.INFO if self.succeeded else logging.WARNING

    def __str__(self) -> str:
        how = "succeeded" if self.succeeded else "failed"
        rest = "" if self.failure is None else f": {self.failure}"
        return f"{self.name!r}: recovery, run {self.run}, {how} after {self.duration:.3g} s{rest}"


@dataclass(frozen=True, slots=True)
class RecoveryGaveUp(_Record):
    """No recovery action is run any more, until the check has been good again: somebody must look."""

    level: ClassVar[int] = logging.ERROR
    runs: int
    within: float

    def __str__(self) -> str:
        return f"{self.name!r}: recovery gave up after {self.runs} runs within {self.within:.3g} s; somebody must look"
