"""How long a sync request may wait: its time-outs, shortened to the time that is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from seawall._core.context import Scope

_KINDS: Final = ("connect", "read", "write", "pool")
_LONGEST: Final = 86_400.0
"""Seconds; sockets take no more than they can count."""
_SHORTEST: Final = 0.001
"""Seconds; with 0 a socket does not wait at all, and says "try again" in place of a time-out."""


class Bounds(dict[str, Any]):
    """Time-outs as a transport reads them, phase by phase: each phase has what the ones before it have left.

    Args:
        own: the client's own.
        scope: the deadline that shortens them.
    """

    def __init__(self, own: Mapping[str, Any], scope: Scope) -> None:
        self._own = own
        self._scope: Scope | None = scope
        super().__init__({kind: self._bounded(kind) for kind in _KINDS})

    def __getitem__(self, kind: str) -> Any:
        return self._bounded(kind) if kind in _KINDS else super().__getitem__(kind)

    def get(self, kind: str, default: Any = None) -> Any:
        """Returns the time-out of a phase that begins now."""
        return self._bounded(kind) if kind in _KINDS else super().get(kind, default)

    def let_go(self) -> Bounds:
        """Is the client's own from now on; returns one that still bounds."""
        assert self._scope is not None
        still, self._scope = Bounds(self._own, self._scope), None
        self.update({kind: self._own.get(kind) for kind in _KINDS})
        return still

    def _bounded(self, kind: str) -> Any:
        own = self._own.get(kind)
        if self._scope is None:
            return own
        left = max(_SHORTEST, min(self._scope.remaining(), _LONGEST))
        return left if own is None else min(own, left)


@contextmanager
def beginning(response: Any, bounds: Bounds | None) -> Iterator[None]:
    """Bounds the reads that bring the first byte of a stream; those that follow have the client's own time-out.

    A connection asks for the time-out of its body once, before the first byte, so it is told at each read instead.
    """
    stream = response.extensions.get("network_stream")
    if bounds is None or stream is None or not hasattr(stream, "__dict__"):
        yield
        return
    read = stream.read

    def bounded(max_bytes: int, timeout: float | None = None) -> Any:
        return read(max_bytes, timeout=bounds.get("read"))

    stream.read = bounded
    try:
        yield
    finally:
        del stream.read
