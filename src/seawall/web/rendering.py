"""An error written down: seawall's JSON, or problem details (RFC 9457) for who asks for them."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Any, Final

from seawall._core.masking import mask_secrets
from seawall.web.problem import Problem

PROBLEM_JSON: Final = "application/problem+json"
_MOST_LINES: Final = 200


def asks_for_problem(accept: bytes | None) -> bool:
    """Whether an Accept header names problem details, and plain JSON not before them (RFC 9110, section 12.5.1)."""
    if accept is None or PROBLEM_JSON.encode() not in accept.lower():
        return False
    wanted = dict(_weighed(part) for part in accept.decode("latin-1").lower().split(","))
    mine = wanted.get(PROBLEM_JSON, 0.0)
    return mine > 0 and mine >= wanted.get("application/json", 0.0)


def _weighed(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    weights = [text[2:] for text in parameters if text.startswith("q=")]
    try:
        return kind, float(weights[0]) if weights else 1.0
    except ValueError:
        return kind, 0.0


def body_of(
    problem: Problem, correlation_id: str, wall: float, shown: BaseException | None, rfc9457: bool
) -> dict[str, Any]:
    """Returns the body of an error, as an object for JSON.

    Args:
        problem: what went wrong.
        correlation_id: of the request.
        wall: the present time, in seconds since 1970.
        shown: the exception to show with its text and stack trace; None in production.
        rfc9457: whether to write problem details, with everything else as extension members.
    """
    said: dict[str, Any] = {
        "code": problem.code,
        "message": problem.message,
        "timestamp": datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "correlationId": correlation_id,
        "details": [{"field": field, "message": message} for field, message in problem.details],
    }
    if shown is not None:
        said["exception"] = _exposed(shown)
    if rfc9457:
        kind = {"type": f"urn:seawall:error:{problem.code}", "title": problem.code.replace("_", " ").capitalize()}
        return {**kind, "status": problem.status, "detail": said.pop("message"), **said}
    return {"error": said}


def _exposed(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    told = traceback.TracebackException.from_exception(error)
    lines = mask_secrets("".join(told.format())).splitlines()
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "text": mask_secrets(str(told)),  # also of an exception whose own __str__ raises
        "stackTrace": lines[-_MOST_LINES:],
    }
