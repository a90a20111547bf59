"""The correlation id: one name for everything that is done for one request, wherever it is done."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar, Token
from typing import Final

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_current: ContextVar[str | None] = ContextVar("seawall_correlation", default=None)


class correlation:
    """Names everything done inside the block, in this task or thread and in those started from it.

    `with correlation("order-17"):`; without an id one is made, 32 hexadecimal digits. Requests through a protected HTTP
    client carry it as `X-Correlation-Id`. Nested blocks replace it for their length. `async with` means the same.

    Args:
        id: 1 to 128 letters, digits, `.`, `_` and `-`; default: a new one. Anything else is a ValueError, so that what
            a stranger sent cannot forge log lines or headers.
    """

    __slots__ = ("_tokens", "id")

    def __init__(self, id: str | None = None) -> None:
        if id is not None and not (isinstance(id, str) and _ID.fullmatch(id)):
            shown = repr(id) if len(repr(id)) <= 80 else f"{repr(id)[:77]}..."
            raise ValueError(f"id={shown} is no correlation id; use 1 to 128 letters, digits, '.', '_' and '-'")
        self.id = id or uuid.uuid4().hex
        self._tokens: list[Token[str | None]] = []

    def __enter__(self) -> correlation:
        self._tokens.append(_current.set(self.id))
        return self

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._tokens.pop())

    async def __aenter__(self) -> correlation:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)


def correlation_id() -> str | None:
    """Returns the correlation id around the caller; None where there is none."""
    return _current.get()
