"""The header `Idempotency-Key`: which key a request carries (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from seawall.web.errors import ServiceError

HEADER: Final = b"idempotency-key"
LONGEST: Final = 255
_QUOTED: Final = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE: Final = re.compile(rb"[\x21\x23-\x2b\x2d-\x7e]+")
"""Visible characters but for quotes and commas, which would make it a list of two."""


class IdempotencyKeyMissingError(ServiceError):
    """The route asks for an `Idempotency-Key`, and the request has none."""

    status = 400
    code = "IDEMPOTENCY_KEY_MISSING"
    message = "This request needs an Idempotency-Key header: a new random key for each new operation."


class IdempotencyKeyInvalidError(ServiceError):
    """The request's `Idempotency-Key` is none, or there are several."""

    status = 400
    code = "IDEMPOTENCY_KEY_INVALID"
    message = "The Idempotency-Key header must be one key of 1 to 255 visible ASCII characters."


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Returns the key of a request, or None where it has none.

    The quoted string of the draft and the bare form that is common are the same key.

    Raises IdempotencyKeyInvalidError for an empty or overlong one, for other characters, and where there are several.
    """
    values = [value for name, value in headers if name == HEADER]
    if not values:
        return None
    if len(values) > 1:
        raise IdempotencyKeyInvalidError
    value = values[0].strip(b" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(rb"\\(.)", rb"\1", quoted[1])
    elif _BARE.fullmatch(value) is None:
        raise IdempotencyKeyInvalidError
    if not 1 <= len(value) <= LONGEST:
        raise IdempotencyKeyInvalidError
    return value.decode("ascii")
