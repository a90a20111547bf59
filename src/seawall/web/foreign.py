"""Classes of frameworks and clients, found among the modules that somebody else has imported."""

from __future__ import annotations

import sys
from typing import Any


def found(module: str, name: str) -> type[Any] | None:
    """Returns a class of a module that is loaded; None where the module is not, or has no such class."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind if isinstance(kind, type) else None


def all_found(*places: tuple[str, str]) -> tuple[type[Any], ...]:
    """Returns those of the classes that can be found, each once."""
    return tuple(dict.fromkeys(kind for module, name in places if (kind := found(module, name)) is not None))


def is_one(kind: type[Any], *places: tuple[str, str]) -> bool:
    """Whether a class, not one of its bases, is one of those."""
    return any(kind.__name__ == name and kind is found(module, name) for module, name in places)


HTTP_EXCEPTION = (("starlette.exceptions", "HTTPException"),)
REQUEST_INVALID = (("fastapi.exceptions", "RequestValidationError"),)
SOCKET_REQUEST_INVALID = (("fastapi.exceptions", "WebSocketRequestValidationError"),)
CLIENT_GONE = (("starlette.requests", "ClientDisconnect"), ("starlette.websockets", "WebSocketDisconnect"))
TRANSPORT_ERROR = (("httpx2", "TransportError"), ("httpx", "TransportError"))
STATUS_ERROR = (("httpx2", "HTTPStatusError"), ("httpx", "HTTPStatusError"))
