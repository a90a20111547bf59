"""Anything as JSON can hold it, masked: never raises, whatever it is given."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final
from uuid import UUID

from seawall._core.masking import HIDDEN, is_secret_name, mask_secrets

_DEEPEST: Final = 5
_MOST: Final = 100
"""Items of one collection that are shown."""
_LONGEST: Final = 8000
"""Characters of one text that are shown; a traceback may have more."""


def plain(value: object, depth: int = 0) -> Any:
    """Returns a value made of dicts, lists, texts, numbers, booleans and None, with secrets masked."""
    try:
        return _plain(value, depth)
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def _plain(value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else text_of(hex(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, datetime | date | time | UUID):
        return str(value)
    if isinstance(value, BaseException):
        return text_of(f"{type(value).__name__}: {value}")
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return _object(value.items(), depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
            return _object([("type", type(value).__name__), *fields], depth)
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(item, depth + 1) for item, _ in zip(value, range(_MOST), strict=False)]
    return text_of(repr(value))


def _object(items: Iterable[tuple[object, object]], depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for (key, value), _ in zip(items, range(_MOST), strict=False):
        name = text_of(key if isinstance(key, str) else str(key))
        secret = is_secret_name(name) and not isinstance(value, bool | int | float | None)
        shown[name] = HIDDEN if secret else plain(value, depth + 1)
    return shown


def text_of(text: str, longest: int = _LONGEST) -> str:
    """Returns a text, masked and not too long."""
    shown = mask_secrets(text[: 10 * longest])  # before it is cut: half a password is one too
    return shown if len(shown) <= longest else f"{shown[:longest]}... ({len(text)} characters)"
