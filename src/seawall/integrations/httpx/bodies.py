"""Bodies: reading a response's beginning while it is still protected, and whether a request's can be sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

WHOLE: Final = 1 << 62
FIRST_BYTE: Final = 1
ERROR_TEXT: Final = 1 << 16  # bytes of a failing response that are kept, so that its connection is free again


def read(response: Any, library: ModuleType, most: int, check: Callable[[], None]) -> None:
    """Reads a response's body until `most` bytes or its end; what follows is left for the caller to iterate.

    `check` is called between chunks and may raise. A response that is not to be read further is closed.
    """
    stream = response.stream
    chunks: list[bytes] = []
    items, size = iter(stream), 0
    for chunk in items:
        check()
        chunks.append(chunk)
        size += len(chunk)
        if size >= most:
            response.stream = _resumed(library)(chunks, items, stream)
            return
    stream.close()
    response.stream = library.ByteStream(b"".join(chunks))


async def aread(response: Any, library: ModuleType, most: int) -> None:
    """The async twin of `read`, without a check: an async call is cancelled when its time is up."""
    stream = response.stream
    chunks: list[bytes] = []
    items, size = aiter(stream), 0
    async for chunk in items:
        chunks.append(chunk)
        size += len(chunk)
        if size >= most:
            response.stream = _aresumed(library)(chunks, items, stream)
            return
    await stream.aclose()
    response.stream = library.ByteStream(b"".join(chunks))


@lru_cache(maxsize=4)
def _resumed(library: ModuleType) -> type[Any]:
    class Resumed(library.SyncByteStream):  # type: ignore[name-defined, misc]
        """The chunks that were read, then the rest."""

        def __init__(self, chunks: list[bytes], items: Iterator[bytes], stream: Any) -> None:
            self._chunks, self._items, self._stream = chunks, items, stream

        def __iter__(self) -> Iterator[bytes]:
            yield from self._chunks
            self._chunks.clear()
            yield from self._items

        def close(self) -> None:
            if not getattr(self._items, "gi_running", False):  # another thread may be waiting in it
                _close(self._items)
            self._stream.close()

    return Resumed


@lru_cache(maxsize=4)
def _aresumed(library: ModuleType) -> type[Any]:
    class Resumed(library.AsyncByteStream):  # type: ignore[name-defined, misc]
        """The chunks that were read, then the rest."""

        def __init__(self, chunks: list[bytes], items: AsyncIterator[bytes], stream: Any) -> None:
            self._chunks, self._items, self._stream = chunks, items, stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                yield chunk
            self._chunks.clear()
            async for chunk in self._items:
                yield chunk

        async def aclose(self) -> None:
            close = getattr(self._items, "aclose", None)
            try:
                if close is not None and not getattr(self._items, "ag_running", False):  # in another task
                    await close()
            finally:
                await self._stream.aclose()

    return Resumed


def _close(items: Any) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


def sendable_again(request: Any, library: ModuleType, *, beside: bool = False) -> bool:
    """Whether a request's body can be sent a second time: it is in memory, or in files that can be rewound.

    With `beside`: while the first time goes on, for which a file has too few positions.
    """
    fields = getattr(request.stream, "fields", None)
    if fields is not None:  # multipart
        return all(_readable_again(getattr(field, "file", b""), beside) for field in fields)
    return isinstance(request.stream, library.ByteStream)


def _readable_again(file: Any, beside: bool) -> bool:
    if isinstance(file, str | bytes):
        return True
    try:
        return not beside and bool(file.seekable())
    except Exception:
        return False
