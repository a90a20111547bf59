"""A counted set of slots with a bounded first-in first-out queue, one for all threads and event loops together.

A free slot is an entry in a deque: taking one is a single atomic `pop`, giving it back an atomic `append`, and neither
waits for anything. That matters beyond speed: a finalizer may give a slot back at any moment, also in the middle of
this file, on the thread that holds the lock. Whoever finds the lock taken leaves the rest to its holder, who looks
again after giving it back.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextvars import Context
from typing import TypeAlias

from seawall._core.clock import Clock, DefaultClock, refuse_to_block
from seawall._core.deadline import scope
from seawall._core.errors import BulkheadFullError, DeadlineExceededError
from seawall._core.events import Hub
from seawall._core.forks import renew_after_fork


class _Turn:
    """A waiter's one turn: whoever takes it first, the one that wakes it or the waiter that leaves, has it."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn: deque[None] = deque([None])

    def take(self) -> bool:
        try:
            self._turn.pop()
        except IndexError:
            return False
        return True


class _ThreadWaiter(_Turn):
    """A queued thread."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def wake(self) -> bool:
        woken = self.take()
        if woken:
            self.event.set()
        return woken


class _TaskWaiter(_Turn):
    """A queued task."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()

    def wake(self) -> bool:
        if not self.take():
            return False
        try:
            if self.loop is asyncio._get_running_loop():
                self.answer(True)
            else:
                self.loop.call_soon_threadsafe(self.answer, True)
        except RuntimeError:  # its loop is closed: nobody is there to use the slot
            return False
        return True

    def answer(self, granted: bool) -> None:
        if not self.future.done():
            self.future.set_result(granted)


class _Absorber:
    """Queued in front when the size shrinks: swallows one slot that comes back, which was owed until then."""

    __slots__ = ("_owed",)

    def __init__(self, owed: deque[None]) -> None:
        self._owed = owed
        owed.append(None)

    def wake(self) -> bool:
        self._owed.pop()
        return True


_Waiter: TypeAlias = _ThreadWaiter | _TaskWaiter | _Absorber


class Slots:
    """`size` slots, and room for `room` waiters of at most `patience` seconds each (None: until a slot is free)."""

    __slots__ = ("__weakref__", "_clock", "_lock", "_owed", "_patience", "_room", "free", "hub", "size", "waiting")

    def __init__(self, hub: Hub, size: int, room: int, patience: float | None, clock: Clock | DefaultClock) -> None:
        self.hub = hub
        self.size = size
        self.free: deque[None] = deque([None] * size)
        self.waiting: deque[_Waiter] = deque()
        self._owed: deque[None] = deque()
        self._room = room
        self._patience = patience
        self._clock = clock
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Makes a new lock; those who held slots, or waited, were threads that this process does not have."""
        self._lock = threading.Lock()
        self.waiting.clear()
        self._owed.clear()
        self.free.clear()
        self.free.extend([None] * self.size)

    @property
    def running(self) -> int:
        """Slots in use, among them those above a size that has shrunk."""
        return max(0, self.size + len(self._owed) - len(self.free))

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return max(0, len(self.waiting) - len(self._owed))

    def resize(self, size: int, room: int, patience: float | None) -> None:
        """Changes the figures under way. A smaller size takes effect as slots come back."""
        more, self.size, self._room, self._patience = size - self.size, size, room, patience
        for _ in range(more):
            self.give()
        absorbers: list[_Waiter] = []
        for _ in range(-more):
            try:
                self.free.pop()
            except IndexError:
                absorbers.append(_Absorber(self._owed))
        with self._lock:
            self.waiting.extendleft(absorbers)
        self.hand_over()

    def give(self) -> None:
        """Gives a slot back. Never waits, never raises, and may be called by a finalizer."""
        self.free.append(None)
        if self.waiting:
            self.hand_over()

    def hand_over(self) -> None:
        """Passes free slots to those who wait, oldest first."""
        while self.free and self.waiting and self._lock.acquire(blocking=False):
            try:
                waiter = self._match()
            finally:
                self._lock.release()
            if waiter is not None and not waiter.wake():
                self.free.append(None)

    def _match(self) -> _Waiter | None:
        """Takes one slot for the oldest waiter. Called with the lock."""
        try:
            self.free.pop()
        except IndexError:
            return None
        try:
            return self.waiting.popleft()
        except IndexError:  # the last one has just left, which needs no lock
            self.free.append(None)
            return None

    def take(self) -> None:
        """Takes a slot, waiting in this thread where allowed. Raises BulkheadFullError, DeadlineExceededError."""
        if not self.waiting:
            try:
                self.free.pop()
            except IndexError:
                pass
            else:
                return
        self.queue()

    async def atake(self) -> None:
        """Takes a slot, suspending the task where it has to wait. Raises as `take` does."""
        if not self.waiting:
            try:
                self.free.pop()
            except IndexError:
                pass
            else:
                return
        await self.aqueue()

    def queue(self) -> None:
        """Takes a slot after those who wait already."""
        patience, by_deadline = self._wait_for()
        refuse_to_block(f"{self.hub.name!r}")
        waiter = _ThreadWaiter()
        self._enqueue(waiter)
        try:
            granted = self._clock.wait(waiter.event, patience)
        except BaseException:
            self._leave_queue(waiter)
            raise
        if not granted and not self._granted_after_all(waiter):
            raise self._given_up(by_deadline)

    async def aqueue(self) -> None:
        """Takes a slot after those who wait already, suspending the task."""
        patience, by_deadline = self._wait_for()
        waiter = _TaskWaiter()
        self._enqueue(waiter)
        self._clock.drive(waiter.loop)
        timer = None if patience is None else waiter.loop.call_later(patience, waiter.answer, False, context=Context())
        try:
            granted = await waiter.future
        except BaseException:
            self._leave_queue(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not granted and not self._granted_after_all(waiter):
            raise self._given_up(by_deadline)

    def _wait_for(self) -> tuple[float | None, bool]:
        """Returns how long to wait, and whether the deadline is what ends it. Raises where waiting is not allowed."""
        if self._full():
            raise self.hub.refuse(BulkheadFullError(self.hub.name, None))
        surrounding = scope()
        if surrounding is None:
            return self._patience, False
        left = surrounding.remaining()
        if left <= 0:
            raise self.hub.refuse(DeadlineExceededError(self.hub.name, None))
        return (left, True) if self._patience is None or left < self._patience else (self._patience, False)

    def _full(self) -> bool:
        return self.queued >= self._room and not (self.free and not self.waiting)

    def _enqueue(self, waiter: _Waiter) -> None:
        with self._lock:
            full = self._full()
            if not full:
                self.waiting.append(waiter)
        self.hand_over()  # a slot may have come back meanwhile, whose giver found the lock taken and left it to us
        if full:
            raise self.hub.refuse(BulkheadFullError(self.hub.name, None))

    def _leave_queue(self, waiter: _Turn) -> None:
        """Leaves the queue early; a slot that was handed over in the meantime goes to the next."""
        if self._granted_after_all(waiter):
            self.give()

    def _granted_after_all(self, waiter: _Turn) -> bool:
        """Ends the waiting, without the lock (a finalizer may do it). True where a slot was handed over meanwhile."""
        if not waiter.take():
            return True
        try:
            self.waiting.remove(waiter)  # type: ignore[arg-type]
        except ValueError:
            pass  # being matched at this moment: the slot goes on to the next
        return False

    def _given_up(self, by_deadline: bool) -> BulkheadFullError | DeadlineExceededError:
        kind = DeadlineExceededError if by_deadline else BulkheadFullError
        return self.hub.refuse(kind(self.hub.name, None))
