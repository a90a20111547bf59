"""Guards around a block of code, for strategies that acquire and settle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class _BlockPermit(Protocol):
    def success(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class BlockGuard:
    """`with` and `async with` around a block. One object may guard many blocks, one after the other or nested."""

    __slots__ = ("_aacquire", "_acquire", "_permits")

    def __init__(self, acquire: Callable[[], Any], aacquire: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._acquire = acquire
        self._aacquire = aacquire
        self._permits: list[_BlockPermit] = []

    def __enter__(self) -> None:
        self._permits.append(self._acquire())

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        permit = self._permits.pop()
        if error is None:
            permit.success()
        else:
            permit.failed(error)

    async def __aenter__(self) -> None:
        self._permits.append(self._acquire() if self._aacquire is None else await self._aacquire())

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)
