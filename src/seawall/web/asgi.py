"""The words of ASGI 3: what a server hands to an application, and what is said between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON: Final = b"application/json"


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Returns the first value of a header, whose name is given in small letters; None where there is none."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def reply(prefix: str, status: int, headers: Headers, body: bytes) -> tuple[Message, Message]:
    """Returns the messages of a whole response. `prefix` is `http` or, for a refused handshake, `websocket.http`."""
    start = {"type": f"{prefix}.response.start", "status": status, "headers": headers}
    return start, {"type": f"{prefix}.response.body", "body": body}
