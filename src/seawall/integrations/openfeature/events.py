"""What is noticed of the flags' provider, as frozen records."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from seawall._core.events import _Record


@dataclass(frozen=True, slots=True)
class FlagsFailed(_Record):
    """Flags cannot be had; what they said last holds. Told once, and again where more flags fail than before.

    `flags` are the keys of those that failed; empty: the provider itself says that it is not well, or hangs. `reason`
    says why, of the first one; passwords in it are masked.
    """

    level: ClassVar[int] = logging.WARNING
    provider: str
    flags: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.flags) - 1} more" if len(self.flags) > 1 else ""
        about = f" {self.flags[0]}{more}:" if self.flags else ""
        return f"{self.name!r}: {self.provider}:{about} {self.reason}; what flags said last holds"


@dataclass(frozen=True, slots=True)
class FlagsRecovered(_Record):
    """All flags can be had again."""

    provider: str

    def __str__(self) -> str:
        return f"{self.name!r}: {self.provider} answers again"
