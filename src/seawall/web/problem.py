"""What a caller is told when something went wrong, before it is written down in any format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the caller sees it.

    `retry_after` is the true rest in seconds, where it is known. `deliberate` says that somebody wrote this answer on
    purpose: then the exception behind it is of no interest. `gone` says that there is no caller any more.
    """

    status: int
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_after: float | None = None
    deliberate: bool = False
    gone: bool = False

    @property
    def words(self) -> tuple[int, str, str]:
        """Its status, code and message."""
        return self.status, self.code, self.message

    @property
    def unexpected(self) -> bool:
        """Whether it stands for a failure that nobody has mapped."""
        return self is INTERNAL

    @property
    def severity(self) -> int:
        """How bad it is beside others that happened at the same time."""
        if self.status == 500:
            return 3
        return 2 if self.status > 500 else 1 if self.status in (408, 429) else 0


_BY_STATUS: Final = {
    400: ("BAD_REQUEST", "The request could not be understood."),
    401: ("UNAUTHORIZED", "Show who you are, and try again."),
    403: ("FORBIDDEN", "You may not do this."),
    404: ("NOT_FOUND", "What you asked for does not exist."),
    405: ("METHOD_NOT_ALLOWED", "This address does not know the method."),
    406: ("NOT_ACCEPTABLE", "There is no answer in a format that you accept."),
    408: ("TIMEOUT", "The answer did not come in time."),
    409: ("CONFLICT", "The request conflicts with the present state."),
    410: ("GONE", "What you asked for exists no longer."),
    412: ("PRECONDITION_FAILED", "The state is not the one that the request asked for."),
    413: ("CONTENT_TOO_LARGE", "The request is too large."),
    414: ("URI_TOO_LONG", "The address is too long."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The request is in a format that is not known here."),
    416: ("RANGE_NOT_SATISFIABLE", "The range that was asked for does not exist."),
    418: ("IM_A_TEAPOT", "This is a teapot."),
    422: ("UNPROCESSABLE_CONTENT", "The request was understood, and cannot be carried out."),
    423: ("LOCKED", "What you asked for is locked."),
    425: ("TOO_EARLY", "The request came too early."),
    426: ("UPGRADE_REQUIRED", "Another protocol is needed."),
    428: ("PRECONDITION_REQUIRED", "The request must say which state it is for."),
    429: ("RATE_LIMITED", "Too many requests. Try again later."),
    431: ("HEADERS_TOO_LARGE", "The request's headers are too large."),
    451: ("UNAVAILABLE_FOR_LEGAL_REASONS", "This may not be shown."),
    500: ("INTERNAL_ERROR", "Something went wrong here. Quote the correlation id to ask about it."),
    501: ("NOT_IMPLEMENTED", "This is not offered here."),
    502: ("BAD_GATEWAY", "A service that is needed here gave no proper answer."),
    503: ("SERVICE_UNAVAILABLE", "The service is not available now. Try again later."),
    504: ("GATEWAY_TIMEOUT", "A service that is needed here did not answer in time."),
}
_OTHER_4XX: Final = ("REQUEST_ERROR", "The request cannot be served.")
_OTHER_5XX: Final = ("SERVER_ERROR", "The request could not be served.")


def of_status(status: int, *, code: str | None = None, message: str | None = None) -> Problem:
    """Returns the problem that a status alone stands for, with a code and message of one's own where given."""
    usual, said = _BY_STATUS.get(status) or (_OTHER_4XX if status < 500 else _OTHER_5XX)
    return Problem(status, code or usual, message or said)


INTERNAL: Final = of_status(500)
TIMED_OUT: Final = of_status(408)
UNAVAILABLE: Final = of_status(503)
CIRCUIT_OPEN: Final = replace(UNAVAILABLE, code="CIRCUIT_OPEN")
OVERLOADED: Final = replace(UNAVAILABLE, code="OVERLOADED", message="The service is busy. Try again later.")
RATE_LIMITED: Final = of_status(429)
EXTERNAL: Final = of_status(
    503,
    code="EXTERNAL_SERVICE_ERROR",
    message="A service that is needed here is not available. Try again later.",
)
INVALID: Final = of_status(400, code="VALIDATION_ERROR", message="The request contains invalid data.")
IN_PROGRESS: Final = Problem(
    409, "REQUEST_IN_PROGRESS", "This request is being served already. Ask again for its answer.", deliberate=True
)
KEY_REUSED: Final = Problem(
    422,
    "IDEMPOTENCY_KEY_REUSED",
    "This Idempotency-Key was used for another request. Use a new key for each operation.",
    deliberate=True,
)
OUTCOME_UNKNOWN: Final = Problem(
    409,
    "OUTCOME_UNKNOWN",
    "Whether this took effect is not known, and it is not repeated until that is settled. Quote the correlation id.",
    deliberate=True,
)
COMMIT_UNKNOWN: Final = of_status(
    500,
    code="OUTCOME_UNKNOWN",
    message="Whether this took effect is not known. Repeat it only under the same Idempotency-Key.",
)
DISCONNECTED: Final = Problem(400, "CLIENT_DISCONNECTED", "The client went away.", deliberate=True, gone=True)
