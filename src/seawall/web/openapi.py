"""What FastAPI's `/openapi.json` says of invalid requests, brought into line with how they are answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from seawall.web.problem import Problem

_THEIRS: Final = "HTTPValidationError"
_PART_OF_THEIRS: Final = "ValidationError"
_OURS: Final = ("ErrorResponse", "SeawallErrorResponse")
"""Names for the schema of our errors: the second one where an application has the first one already."""

_TEXT: Final = {"type": "string"}
SCHEMA: Final[dict[str, Any]] = {
    "title": "ErrorResponse",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "timestamp", "correlationId", "details"],
            "properties": {
                "code": {**_TEXT, "examples": ["VALIDATION_ERROR"]},
                "message": _TEXT,
                "timestamp": {**_TEXT, "format": "date-time"},
                "correlationId": _TEXT,
                "details": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "message"],
                        "properties": {"field": _TEXT, "message": _TEXT},
                    },
                },
            },
        }
    },
}
"""The format of errors as JSON Schema."""


def correct(app: Any, invalid: Problem) -> None:
    """Has an application's document say what is answered to invalid requests, where FastAPI has written 422.

    It overrides `app.openapi`, which is how FastAPI wants its document to be changed, and calls the one that was there.
    What an endpoint says itself of 422, with a model of its own, stays.

    Args:
        app: a FastAPI application; any other one is left alone.
        invalid: what an invalid request is answered with.
    """
    written: Any = getattr(app, "openapi", None)
    if not callable(written):
        return

    def openapi() -> dict[str, Any]:
        document = cast("dict[str, Any]", written())
        _correct(document, invalid)
        return document

    app.openapi = openapi


def _correct(document: dict[str, Any], invalid: Problem) -> None:
    wrong = [responses for responses in _responses(document) if _is_theirs(responses.get("422"))]
    if not wrong:
        return
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    ours = next((name for name in _OURS if schemas.get(name, SCHEMA) == SCHEMA), _OURS[-1])
    schemas[ours] = SCHEMA
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ours}"}}}
    for responses in wrong:
        del responses["422"]
        responses.setdefault(str(invalid.status), {"description": invalid.message, "content": content})
    for name in (_THEIRS, _PART_OF_THEIRS):
        if f"#/components/schemas/{name}" not in _references(document):
            schemas.pop(name, None)


def _responses(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Gives the responses of every operation."""
    for path in document.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and isinstance(operation.get("responses"), dict):
                yield operation["responses"]


def _is_theirs(response: Any) -> bool:
    return f"#/components/schemas/{_THEIRS}" in _references(response)


def _references(part: Any) -> set[str]:
    """Returns all that a part of a document refers to."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set[str]()
        return own.union(*map(_references, part.values()))
    return set[str]().union(*map(_references, part)) if isinstance(part, list) else set[str]()
