"""Secrets in texts that were not made for others to read: taken out before anybody does."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
# What lies between is bounded, so that no text makes the search long. A port is no password: `http://host:80/?to=a@b`.
_PASSWORD_IN_URL: Final = re.compile(r"(://[^\s:/?#@]{0,128}):(?![0-9]{1,5}[/?#])[^\s]{0,256}@")
_TOKEN_IN_URL: Final = re.compile(r"://[^\s:/?#@]{1,512}@")
_AUTHORIZATION: Final = re.compile(r"(?i)\b(bearer|basic)\s{1,4}[\w.~+/=-]{6,}")
_SECRET: Final = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|signature)"
)
_NAMED: Final = re.compile(
    rf"(?i)({_SECRET}[\"']?\s{{0,3}}[=:]\s{{0,3}})(?:\"[^\"]{{0,512}}\"|'[^']{{0,512}}'|[^\s,;&\"')}}\]]{{1,512}})"
)
_SECRET_NAME: Final = re.compile(rf"(?i){_SECRET}$|^authorization$|^cookie$|^set-cookie$")


def mask_secrets(text: str) -> str:
    """Returns `text` without the passwords and tokens in it: `scheme://user:***@host`, `password=***`, `Bearer ***`.

    When in doubt it hides more.
    """
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", text)
        text = _TOKEN_IN_URL.sub(_without_token, text)
    return _NAMED.sub(rf"\1{HIDDEN}", _AUTHORIZATION.sub(rf"\1 {HIDDEN}", text))


def _without_token(match: re.Match[str]) -> str:
    """A short name before the host is a user's; a long one is a token."""
    return match.group() if len(match.group()) < 20 else f"://{HIDDEN}@"


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None
