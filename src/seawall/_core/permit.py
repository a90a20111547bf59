"""Permits: the right to make one call, returned exactly once, with one of three ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Permit(Protocol):
    """What `acquire` gives. The first end counts, later ones do nothing."""

    def success(self) -> None:
        """The dependency answered."""

    def failure(self, error: BaseException | None = None) -> None:
        """The dependency failed."""

    def release(self) -> None:
        """The call was not made, or its end says nothing about the dependency."""


class Pass(Protocol):
    """What a driver holds during a call. Where `in_a_row`, success is the store `failures = 0` and nothing else."""

    in_a_row: bool
    failures: int

    def failed(self, error: BaseException) -> None:
        """The call ended with an exception."""

    def succeeded(self, result: object) -> None:
        """The call returned."""


class SlotPermit:
    """A permit that holds something which every end gives back alike."""

    __slots__ = ("_give",)

    def __init__(self, give: Callable[[], object]) -> None:
        self._give: Callable[[], object] | None = give

    def success(self) -> None:
        self.release()

    def failure(self, error: BaseException | None = None) -> None:
        self.release()

    def failed(self, error: BaseException) -> None:
        """The guarded block raised."""
        self.release()

    def release(self) -> None:
        give, self._give = self._give, None
        if give is not None:
            give()

    def __del__(self) -> None:
        self.release()
