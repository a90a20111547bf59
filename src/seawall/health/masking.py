"""Masking: what a check says may hold passwords, and what it measured may hold anything."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

LONGEST_TEXT: Final = 500
LONGEST_DATA: Final = 4000  # characters of one check's data as JSON, about, so that an answer stays small
_READ: Final = 4000  # characters of a text that are looked at, since the patterns below are not free
_DEEPEST: Final = 4
_EACH: Final = 8  # what a number, or the frame of anything else, takes of LONGEST_DATA
_HIDDEN: Final = "***"

_SECRET: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|credential"
    r"|signature"
)
_URL_WITH_PASSWORD: Final = re.compile(r"(?P<before>://[^\s:/@]*):\S*@")
_URL_WITH_TOKEN: Final = re.compile(r"://[^\s:/@?#]+@")
_URL_CUT: Final = re.compile(r"(?P<before>://[^\s:/@]*):[^\s@]*$")
_AUTHORIZATION: Final = re.compile(r"(?i)\b(?P<scheme>bearer|basic)\s+[\w.~+/=-]{6,}")
_FIELD: Final = re.compile(
    rf"(?i)(?P<before>(?:{_SECRET}|\bsig)[\w-]{{0,40}}[\"']?\s{{0,3}}(?:=>|[=:])\s{{0,3}})"
    r"(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&)\]}]+)"
)
_SECRET_KEY: Final = re.compile(rf"(?i){_SECRET}|authorization|\bsig\b|dsn|cookie")


def mask(text: str) -> str:
    """Returns a text, at most 500 characters of it, without what looks like a password, a token or a key.

    `scheme://user:password@host` keeps the user and the host; `password=...`, `"token": "..."` and `Bearer ...` keep
    their names. When in doubt it hides more.
    """
    short = text[:_READ]
    short = _URL_WITH_PASSWORD.sub(rf"\g<before>:{_HIDDEN}@", short)
    short = _URL_WITH_TOKEN.sub(f"://{_HIDDEN}@", short)
    if len(text) > _READ:
        short = _URL_CUT.sub(rf"\g<before>:{_HIDDEN}", short)
    short = _AUTHORIZATION.sub(rf"\g<scheme> {_HIDDEN}", short)
    short = _FIELD.sub(rf"\g<before>{_HIDDEN}", short)
    return short if len(short) <= LONGEST_TEXT and len(text) <= _READ else f"{short[: LONGEST_TEXT - 3]}..."


def masked(value: object) -> str:
    """Returns the text of anything, masked. Never raises."""
    return mask(_as_text(value))


def describe(error: BaseException) -> str:
    """Returns the class and the text of an exception, masked; of a group its first leaf. Never raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = _as_text(error)
    return mask(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def clean(data: Mapping[str, object]) -> dict[str, object]:
    """Returns data as JSON can hold it, masked, and no more of it than about 4000 characters. Never raises."""
    try:
        return _Room().items_of(data, 1)
    except Exception as error:
        return {"error": f"these data cannot be read: {type(error).__name__}"}


class _Room:
    """Room for one check's data, and what has been put there."""

    def __init__(self) -> None:
        self._left = LONGEST_DATA

    def items_of(self, data: Mapping[object, object] | Mapping[str, object], depth: int) -> dict[str, object]:
        kept: dict[str, object] = {}
        for key, value in data.items():
            if self._left <= 0:
                break
            secret = _SECRET_KEY.search(str(key)) and not isinstance(value, bool | int | float | None)
            kept[self._text(key)] = _HIDDEN if secret else self._value(value, depth)
        return kept

    def _list_of(self, values: Iterable[object], depth: int) -> list[object]:
        kept: list[object] = []
        for value in values:
            if self._left <= 0:
                break
            kept.append(self._value(value, depth))
        return kept

    def _value(self, value: object, depth: int) -> object:
        self._left -= _EACH
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) < 1 << 64:
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return self.items_of(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
            return self._list_of(value, depth + 1)
        return self._text(hex(value) if isinstance(value, int) else value)

    def _text(self, value: object) -> str:
        text = mask(_as_text(value))[: max(0, self._left)]
        self._left -= len(text)
        return text


def _as_text(value: object) -> str:
    try:
        return value if type(value) is str else str(value)
    except Exception:
        return f"({type(value).__name__}, whose text could not be had)"
