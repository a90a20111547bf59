"""Variants, held open: started, watched for a sudden end, and always left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from seawall.chaos.scenario import ScenarioError, Variant
from seawall.chaos.together import why

START: Final = 120.0
"""Seconds that a variant has to start."""
LEAVE: Final = 15.0
"""Seconds that it has to end what it started; then once more as long, after it was cancelled."""


class Held:
    """One variant, whose context is entered and left by a task of its own.

    A context may hold cancel scopes and task groups, which must be left in the task that entered them, and it must be
    left in peace even while the run is being cancelled.

    Args:
        name: the variant's name.
        context: gives the variant.
        broken: told when it ends without having been asked to.
    """

    def __init__(
        self, name: str, context: AbstractAsyncContextManager[Variant], broken: Callable[[ScenarioError], None]
    ) -> None:
        self.name = name
        self.variant: Variant
        self._context = context
        self._broken = broken
        self._entered = asyncio.Event()
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """Starts the variant. Raises ScenarioError, with the reason, where it does not start."""
        self._task = asyncio.create_task(self._hold())
        entered = asyncio.create_task(self._entered.wait())
        try:
            await asyncio.wait([self._task, entered], timeout=START, return_when=asyncio.FIRST_COMPLETED)
        finally:
            entered.cancel()
        if not self._entered.is_set():
            error = self._failure(self._task) if self._task.done() else None
            reason = f"it took longer than {START:g} s" if error is None else why(error)
            raise ScenarioError(f"variant {self.name!r} did not start: {reason}") from error
        self._task.add_done_callback(self._ended)

    async def leave(self) -> str | None:
        """Leaves the variant's context. Returns what went wrong, or None. Not to be cancelled."""
        if self._task is None:
            return None
        self._leaving.set()
        if not self._entered.is_set():
            self._task.cancel()
        for _ in range(2):
            await asyncio.wait([self._task], timeout=LEAVE)
            if self._task.done():
                error = self._failure(self._task) if self._entered.is_set() else None
                return None if error is None else f"{self.name}: its end failed: {why(error)}"
            self._task.cancel()
        return f"{self.name}: it did not end; something that it started may still run"

    async def _hold(self) -> None:
        async with self._context as variant:
            self.variant = variant
            self._entered.set()
            await self._leaving.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._leaving.is_set():
            error = self._failure(task)
            reason = "" if error is None else f": {why(error)}"
            self._broken(ScenarioError(f"variant {self.name!r} ended in the middle of the run{reason}"))

    @staticmethod
    def _failure(task: asyncio.Task[None]) -> BaseException | None:
        return asyncio.CancelledError("cancelled") if task.cancelled() else task.exception()
