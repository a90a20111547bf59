"""Whether a request may be made once more."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from seawall.integrations.httpx.bodies import sendable_again

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})
_KEY: Final = "Idempotency-Key"


class Repeats:
    """What is known of the attempts of a request.

    A request may be made again where its method is idempotent (RFC 9110, section 9.2.2), where it carries an
    `Idempotency-Key`, or where every attempt so far proved that it was not processed; and only where its body can be
    sent again, or was not touched.

    It is handed down to strategies and does not refer to the request: timers keep what is handed down for a while.
    """

    __slots__ = ("_again", "_beside", "_harmless", "doubts", "touches")

    def __init__(self, request: Any, library: ModuleType) -> None:
        self._harmless = request.method in _IDEMPOTENT or bool(request.headers.get(_KEY, "").strip())
        self._again = sendable_again(request, library)
        self._beside = sendable_again(request, library, beside=True)
        self.doubts = 0
        """Attempts of which it is not known that they were not processed."""
        self.touches = 0
        """Attempts that may have read the body."""

    def allowed(self, failure: Exception | None) -> bool:
        """Whether the request may be made once more: after a failure, or, asked with None, beside itself."""
        if failure is None:
            return self._beside and self._harmless
        return (self._again or not self.touches) and (self._harmless or not self.doubts)

    def begin(self) -> None:
        """An attempt begins."""
        self.doubts += 1
        self.touches += 1

    def never_sent(self) -> None:
        """An attempt has ended without a connection: nobody has seen anything of it."""
        self.doubts -= 1
        self.touches -= 1

    def refused(self) -> None:
        """The server has answered that it did not process an attempt."""
        self.doubts -= 1
