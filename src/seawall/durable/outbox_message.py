"""Messages that wait in an outbox: their ids, bodies and headers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.correlation import correlation_id
from seawall._core.deadline import remaining

CORRELATION: Final = "x-correlation-id"
DEADLINE: Final = "seawall-deadline"
CONTENT_TYPE: Final = "content-type"
LONGEST_NAME: Final = 500
"""Characters of a destination, an ordering key or a message id."""

Body: TypeAlias = bytes | str | Mapping[str, Any] | list[Any] | tuple[Any, ...] | int | float | bool | None
"""What a message may say: bytes and text as they are, anything else as JSON."""
Inject: TypeAlias = Callable[[MutableMapping[str, str]], object]
"""Adds headers of its own: `opentelemetry.propagate.inject` is such a function."""


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message in the outbox, as `send` of a `Relay` is given it.

    Attributes:
        message_id: the same at every attempt: what the receiver's inbox, or a broker, tells repeats by.
        destination: where it goes, in the words of `send`.
        body: what it says.
        headers: by name; the content type, and where they were known, correlation id and deadline are among them.
        ordering_key: messages of one key are sent one after another; None: this one does not mind.
        created_at: when it was added, in seconds since 1970.
        available_at: it is not sent before.
        attempts: how often sending it has failed.
        stuck_at: when that was too often; None: it is not stuck.
        error: how it failed last.
    """

    message_id: str
    destination: str
    body: bytes
    headers: Mapping[str, str]
    ordering_key: str | None = None
    created_at: float = 0.0
    available_at: float = 0.0
    attempts: int = 0
    stuck_at: float | None = None
    error: str | None = None

    def json(self) -> Any:
        """Returns what the body says as JSON. Raises ValueError where it is none."""
        return json.loads(self.body)


def new_message_id() -> str:
    """Returns a UUID of version 7 (RFC 9562): those made later sort later, to the millisecond."""
    chance = int.from_bytes(os.urandom(10), "big") & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62
    text = f"{int(DEFAULT_CLOCK.wall() * 1000) << 80 | chance:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def checked_name(argument: str, value: object) -> str:
    """Returns a destination, ordering key or message id: a text of 1 to 500 characters."""
    wanted = f"use a text of 1 to {LONGEST_NAME} characters, without NUL"
    if not isinstance(value, str):
        raise TypeError(f"{argument}={value!r} is not a text; {wanted}")
    if not value or len(value) > LONGEST_NAME or "\0" in value:
        raise ValueError(f"{argument}={value[:50]!r}, {len(value)} characters, is none; {wanted}")
    return value


def encoded(body: Body) -> tuple[bytes, str]:
    """Returns a body as bytes, and its content type."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"body, a {type(body).__name__}, cannot be sent as JSON: {error}; "
            "use bytes, a text, or what JSON knows: dict, list, text, finite number, True, False, None"
        ) from None
    return text.encode(), "application/json"


def with_context(headers: Mapping[str, str] | None, content_type: str, inject: Inject | None) -> dict[str, str]:
    """Returns the headers of a message: what surrounds the call, and over it what the caller said."""
    made = {CONTENT_TYPE: content_type}
    if inject is not None:
        inject(made)
    correlation, left = correlation_id(), remaining()
    if correlation is not None:
        made[CORRELATION] = correlation
    if left is not None and math.isfinite(left):
        made[DEADLINE] = str(int((DEFAULT_CLOCK.wall() + left) * 1000))
    if headers is None:
        return made
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers={headers!r} is no mapping; use a dict of texts, such as {{'tenant': 'acme'}}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"headers holds {name!r}: {value!r}, which is not a text for a text; use str() for values")
        made.pop(name.lower(), None)  # ours are in small letters
        made[name] = value
    return made
