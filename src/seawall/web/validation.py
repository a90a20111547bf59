"""What was wrong with a request's data, field by field, without the data itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_MOST: Final = 100
"""Entries shown of one request: a body with a million mistakes may not make an answer with as many."""

_LONGEST: Final = 300
_TELLING: Final = 4
"""Submitted texts shorter than this say nothing, and are found in every message."""

_UNSAID: Final = "The value is not valid."


def details_of(errors: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """Returns pairs of field and message of pydantic's errors, of which input, context and links are left out.

    A field is a path such as `body.items.0.price`. A message that repeats what was submitted is replaced.
    """
    pairs = []
    for number, error in enumerate(errors):
        if number == _MOST:
            pairs.append(("", f"Only the first {_MOST} mistakes are shown."))
            break
        pairs.append(_pair(error) if isinstance(error, Mapping) else ("", _UNSAID))
    return tuple(pairs)


def _pair(error: Mapping[str, Any]) -> tuple[str, str]:
    where = error.get("loc", ())
    steps = where if isinstance(where, list | tuple) else (where,)
    message = str(error.get("msg", _UNSAID))
    if any(text in message for text in _submitted(error)):
        message = _UNSAID
    return ".".join(str(step)[:64] for step in steps)[:_LONGEST], message[:_LONGEST]


def _submitted(error: Mapping[str, Any]) -> list[str]:
    submitted, context = error.get("input"), error.get("ctx")
    values = [submitted, *(submitted.values() if isinstance(submitted, Mapping) else ())]
    values.append(context.get("tag") if isinstance(context, Mapping) else None)
    return [value for value in values if isinstance(value, str) and len(value) >= _TELLING]
