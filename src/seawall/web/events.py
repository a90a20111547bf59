"""What the web layer did, for listeners."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from seawall._core.events import _Record


@dataclass(frozen=True, slots=True)
class ErrorAnswered(_Record):
    """A request was answered with an error, or cut. `name` is the web application's.

    `route` is the pattern that matched (`/orders/{id}`), empty where none did, so that it may label a metric. `error`
    is None where the application answered by itself. The web layer logs the error, with its traceback, on its own.
    """

    level: ClassVar[int] = logging.NOTSET
    status: int
    code: str
    method: str
    route: str
    correlation_id: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return f"{self.name!r}: {self.method} {self.route or '-'} -> {self.status} {self.code} [{self.correlation_id}]"
