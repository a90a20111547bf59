"""The answer to a request as it is kept: status, some headers, the body to the byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from seawall.web.asgi import Headers, Message, reply

TYPE: Final = "http"
"""What the records of answers are marked with."""

_KEPT: Final = frozenset(
    b"content-type content-language content-location content-disposition content-encoding etag last-modified link "
    b"location retry-after cache-control expires vary allow".split()
)
"""What is given again. Cookies, credentials and ids are of one request alone."""

NEVER: Final = frozenset(
    b"set-cookie content-length transfer-encoding connection date server x-correlation-id idempotency-replayed".split()
)
"""What is never kept, whoever asks for it."""

_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def of(cls, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, also: frozenset[bytes]) -> Self:
        """Returns an answer with those of its headers that are given again; `also` names further ones."""
        pairs = ((bytes(name).lower(), bytes(value)) for name, value in headers)
        return cls(status, tuple(pair for pair in pairs if pair[0] in _KEPT or pair[0] in also), bytes(body))

    def dumps(self) -> bytes:
        """Returns it as bytes: a head in JSON, its length before it, the body behind it."""
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers]
        head = json.dumps([self.status, headers], separators=(",", ":")).encode("ascii")
        return _LENGTH.pack(len(head)) + head + self.body

    @classmethod
    def loads(cls, stored: bytes) -> StoredAnswer:
        """Returns what `dumps` wrote."""
        (length,) = _LENGTH.unpack_from(stored)
        end = _LENGTH.size + length
        status, headers = json.loads(stored[_LENGTH.size : end])
        pairs = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
        return cls(status, pairs, stored[end:])

    def messages(self, *, replayed: bool) -> tuple[Message, Message]:
        """Returns the messages of the response."""
        headers: Headers = [*self.headers]
        if self.status not in (204, 304):
            headers.append((b"content-length", str(len(self.body)).encode("ascii")))
        if replayed:
            headers.append((b"idempotency-replayed", b"true"))
        return reply("http", self.status, headers, self.body)


def parts_of(response: Any, status: int, headers: Mapping[str, str] | None, body: Any) -> tuple[int, Headers, bytes]:
    """Returns what a handler wants to answer, given as a response or in parts.

    Raises TypeError for a response without `status_code`, `body` and `headers`, such as a streaming one, and ValueError
    for a status that is none.
    """
    if response is None:
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        return _status(status), pairs, _bytes(body)
    raw = getattr(response, "raw_headers", None)
    given, rendered = getattr(response, "status_code", None), getattr(response, "body", None)
    if raw is None or not isinstance(given, int) or not isinstance(rendered, bytes | memoryview):
        raise TypeError(
            f"{response!r} is no whole response; use one with status_code, headers and body, such as JSONResponse, "
            "or give status=, headers= and body="
        )
    return _status(given), list(raw), bytes(rendered)


def answer_of(value: Any) -> StoredAnswer:
    """Returns what somebody says was the answer: a whole response, or its parts in a dict, cookies excepted.

    Raises TypeError and ValueError for anything else.
    """
    if isinstance(value, StoredAnswer):
        return value
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - {"status", "headers", "body"}, key=str)
        if unknown or "status" not in value:
            raise TypeError(f"{value!r} is no answer; use {{'status': 201, 'headers': {{...}}, 'body': '...'}}")
        status, headers, body = parts_of(None, value["status"], value.get("headers"), value.get("body", b""))
    else:
        status, headers, body = parts_of(value, 200, None, b"")
    return StoredAnswer.of(status, headers, body, frozenset(name for name, _ in headers) - NEVER)


def _status(status: Any) -> int:
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"status={status!r} is no whole number; use one such as 201")
    if not 200 <= status <= 599:
        raise ValueError(f"status={int(status)} is no status of an answer; use a number from 200 to 599")
    return int(status)


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode("utf-8")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"body is a {type(body).__name__}; use bytes or a text, such as json.dumps(...)")
