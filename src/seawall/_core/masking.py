"""Masking: secrets are taken out of texts and data that were not made for others to read, before anybody does.

Nobody can tell every secret from other words. When in doubt this hides more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = "***"
LONGEST_TEXT: Final = 500
LONGEST_DATA: Final = 4000  # characters of data as JSON, about, so that an answer that holds them stays small
_READ: Final = 4000  # characters that are looked at of a text that is cut, since the patterns below are not free
_DEEPEST: Final = 4
_EACH: Final = 8  # what a number, or the frame of anything else, takes of LONGEST_DATA

# What lies between two marks is bounded, so that no text makes the search long.
_PASSWORD_IN_URL: Final = re.compile(
    r"(?P<before>://(?:[^\s:/?#@]{1,128}(?=:(?![0-9]{1,5}[/?#])))?):[^\s]{0,1024}@"  # http://host:80/?to=a@b has none
)
_NAME_IN_URL: Final = re.compile(r"(?P<scheme>https?)?://(?P<name>[^\s:/?#@]{1,512})@")
_URL_CUT: Final = re.compile(r"(?P<before>://[^\s:/@]*):[^\s@]*$")
_LONGEST_USER: Final = 15
_AUTHORIZATION: Final = re.compile(r"(?i)\b(?P<scheme>bearer|basic)\s{1,8}[\w.~+/=-]{6,}")
_WORD: Final = (
    r"(?:(?i:pass(?:word|wd|phrase)|pwd|credential|(?:api|access|account|private)[_-]?key)"
    r"|(?i:secret|token|signature)s?(?![a-z]))"  # not: secretary, tokenizer
)
_FIELD: Final = re.compile(
    rf"(?P<before>(?:{_WORD}[\w-]{{0,40}}|\b(?i:sig))[\"']?\s{{0,3}}(?:=>|[=:])\s{{0,3}})"
    r"(?:\"(?:[^\"\\]|\\.){0,4096}\"|'(?:[^'\\]|\\.){0,4096}'|[\"'][^\r\n]{0,4096}|[^\s,;&)\]}]+)"
)
_SECRET_NAME: Final = re.compile(rf"{_WORD}|(?i:authorization|\bsig\b|dsn|cookie)")


def mask_secrets(text: str) -> str:
    """Returns `text` without what looks like a password, a token or a key, and otherwise as it is.

    `scheme://user:password@host` keeps the user and the host; `password=...`, `"token": "..."` and `Bearer ...` keep
    their names. When in doubt it hides more.
    """
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\g<before>:{HIDDEN}@", text)
        text = _NAME_IN_URL.sub(_without_token, text)
    return _FIELD.sub(rf"\g<before>{HIDDEN}", _AUTHORIZATION.sub(rf"\g<scheme> {HIDDEN}", text))


def _without_token(match: re.Match[str]) -> str:
    """What stands alone before the host is a user where it is short, and of another scheme than http; else a token."""
    if match["scheme"] is None and len(match["name"]) <= _LONGEST_USER:
        return match.group()
    return f"{match['scheme'] or ''}://{HIDDEN}@"


def mask_and_cut(text: str) -> str:
    """Returns a text as `mask_secrets` does, and at most 500 characters of it."""
    short = mask_secrets(text[:_READ])
    if len(text) > _READ:
        short = _URL_CUT.sub(rf"\g<before>:{HIDDEN}", short)
    return short if len(short) <= LONGEST_TEXT and len(text) <= _READ else f"{short[: LONGEST_TEXT - 3]}..."


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def masked(value: object) -> str:
    """Returns the text of anything, masked and cut. Never raises."""
    return mask_and_cut(_as_text(value))


def describe(error: BaseException) -> str:
    """Returns the class and the text of an exception, masked and cut; of a group its first leaf. Never raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = _as_text(error)
    return mask_and_cut(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def clean(data: Mapping[str, object]) -> dict[str, object]:
    """Returns data as JSON can hold it, masked, and no more of it than about 4000 characters. Never raises."""
    try:
        return _Room().items_of(data, 1)
    except Exception as error:
        return {"error": f"these data cannot be read: {type(error).__name__}"}


class _Room:
    """Room for some data, and what has been put there."""

    def __init__(self) -> None:
        self._left = LONGEST_DATA

    def items_of(self, data: Mapping[object, object] | Mapping[str, object], depth: int) -> dict[str, object]:
        kept: dict[str, object] = {}
        for key, value in data.items():
            if self._left <= 0:
                break
            secret = is_secret_name(str(key)) and not isinstance(value, bool | int | float | None)
            kept[self._text(key)] = HIDDEN if secret else self._value(value, depth)
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
        text = mask_and_cut(_as_text(value))[: max(0, self._left)]
        self._left -= len(text)
        return text


def _as_text(value: object) -> str:
    try:
        return value if type(value) is str else str(value)
    except Exception:
        return f"({type(value).__name__}, whose text could not be had)"
