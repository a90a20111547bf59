"""Bulkhead: so many calls at once and no more, so that one slow dependency cannot take everything."""

from __future__ import annotations

from dataclasses import dataclass

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.blocks import BlockGuard
from seawall._core.clock import Clock
from seawall._core.guard import Guards
from seawall._core.permit import SlotPermit
from seawall._core.slots import Slots
from seawall._core.strategy import Guard, Strategy


@dataclass(frozen=True, slots=True)
class BulkheadSnapshot:
    """A bulkhead at one moment."""

    name: str
    max_concurrent: int
    running: int
    waiting: int


class Bulkhead(Guard):
    """Bounds concurrent calls, with a bounded queue.

    One count holds over all threads, all event loops and both colours together. Those who wait are served first in,
    first out; a newcomer queues while anybody waits. A stream holds its slot until it is closed.

    Raises `BulkheadFullError` where no slot is free and the queue is full or the wait too long, and
    `DeadlineExceededError` where the ambient deadline ends the wait. A sync call that would have to wait on a thread
    with a running event loop raises RuntimeError instead of stalling the loop.

    Args:
        max_concurrent: calls at once.
        max_waiting: calls that may queue; default 0.
        max_wait: seconds in the queue; default None: until a slot is free.
        name, clock: see `Strategy`.
    """

    word = "bulkhead"
    example = "Bulkhead(20, max_waiting=40, max_wait=30)"
    rank = 2

    def __init__(
        self,
        max_concurrent: int,
        *,
        max_waiting: int = 0,
        max_wait: Seconds | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        self.max_concurrent = arguments.whole("max_concurrent", max_concurrent, least=1)
        self.max_waiting = arguments.whole("max_waiting", max_waiting, least=0)
        self.max_wait = None if max_wait is None else arguments.seconds("max_wait", max_wait)
        if self.max_wait is not None and not self.max_waiting:
            raise ValueError(f"max_wait={max_wait!r} has no effect with max_waiting=0; give max_waiting=1 or more")
        self._slots = Slots(self.hub, self.max_concurrent, self.max_waiting, self.max_wait, self.clock)

    def acquire(self) -> SlotPermit:
        """Takes a slot, waiting in this thread where that is allowed. Give it back with `release`."""
        self._slots.take()
        return SlotPermit(self._slots.give)

    async def aacquire(self) -> SlotPermit:
        """Takes a slot, suspending the task where it has to wait. Give it back with `release`."""
        await self._slots.atake()
        return SlotPermit(self._slots.give)

    def guard(self) -> BlockGuard:
        """Guards a block: `with bulkhead.guard():` or `async with bulkhead.guard():`."""
        return BlockGuard(self.acquire, self.aacquire)

    def snapshot(self) -> BulkheadSnapshot:
        """Returns the counts as of now."""
        return BulkheadSnapshot(self.name, self.max_concurrent, self._slots.running, self._slots.queued)

    def settings(self) -> dict[str, object]:
        return {"max_concurrent": self.max_concurrent, "max_waiting": self.max_waiting, "max_wait": self.max_wait}

    def port(self, guards: Guards) -> Guards:
        return guards._replace(slots=self._slots)

    def adopt(self, old: Strategy) -> None:
        super().adopt(old)
        if isinstance(old, Bulkhead):
            self._slots = old._slots
            self._slots.hub = self.hub
            self._slots.resize(self.max_concurrent, self.max_waiting, self.max_wait)
