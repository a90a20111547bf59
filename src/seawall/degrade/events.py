"""What switches tell."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from seawall._core.events import _Record


@dataclass(frozen=True, slots=True)
class SwitchChanged(_Record):
    """A switch lets another share of calls through than before. `name`: retry, retry@payments or @payments."""

    level: ClassVar[int] = logging.WARNING
    old: float
    new: float
    source: str
    actor: str
    reason: str

    def __str__(self) -> str:
        by = f" by {self.actor}" if self.actor else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"switch {self.name!r}: from {self.old:.0%} to {self.new:.0%} of calls, {self.source}{by}{why}"
