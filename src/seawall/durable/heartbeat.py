"""Heartbeats: a lease that is kept for as long as its holder works, and the holder told when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import LOGGER, Hub, brief
from seawall._core.forks import renew_after_fork
from seawall.durable.errors import LeaseLostError
from seawall.durable.events import LeaseLost
from seawall.durable.script import Executor, Script

LAST_TRY: Final = 1.0
"""Seconds that one renewal still gets when its holder was not running while the lease ran out."""
LOOK: Final = 0.5
"""Seconds after which the thread of the sync heartbeats looks again."""
SILENCE: Final = "none of its renewals succeeded within it"


def lease_and_heartbeat(lease: Seconds, heartbeat: Seconds) -> tuple[float, float]:
    """Returns both in seconds. Raises ValueError where the heartbeat would come too late to keep the lease."""
    lasts, every = arguments.seconds("lease", lease), arguments.seconds("heartbeat", heartbeat)
    if every > lasts / 2:
        raise ValueError(
            f"heartbeat={heartbeat!r} leaves no time for a second try within lease={lease!r}; "
            f"use at most half of it, better a third: {lasts / 3:.3g}"
        )
    return lasts, every


def keeping(
    executor: Executor,
    renew: Callable[[], Script[bool]],
    *,
    every: float,
    lease: float,
    name: str,
    since: float | None = None,
) -> Keeping:
    """Keeps a lease around a block: to be used by `with`, or by `async with` in a task.

    Args:
        executor: runs the renewals, each in a transaction of its own: a store, never `on(session)`.
        renew: makes the script that puts the lease's end forward, where the holder's owner and epoch still stand, even
            if the time was up; it returns whether they did.
        every: seconds between renewals. A failed one is repeated after a quarter of that.
        lease: seconds for which a renewal holds, and for which the claim before the block held.
        name: what is held, for errors, logs and the `LeaseLost` event: "saga 'checkout-7'".
        since: what `DEFAULT_CLOCK.now()` was before the claim was sent; default: now.
    """
    return Keeping(executor, renew, every, lease, name, DEFAULT_CLOCK.now() if since is None else since)


class Keeping:
    """Keeps a lease around one block; made by `keeping`. For one use, in either colour.

    The lease is lost when a renewal says so, or when none has succeeded within it, counted from before the last
    successful one was sent. An async block is then cancelled and `LeaseLostError` raised in its place, where the block
    does not raise something else and nobody else cancelled it. A sync block cannot be cut short: it may ask (`lost`,
    `check()`), and `LeaseLostError` is raised at its end, where it did not raise. Leave the block before giving up the
    lease, or call `end()`: a renewal that finds it gone takes it for lost. Blocks that end before the first beat cost
    no task and no thread of their own.
    """

    __slots__ = (
        "_beat", "_cancelling", "_cut", "_ended", "_every", "_executor", "_failing", "_handle", "_lease", "_lost",
        "_name", "_renew", "_task", "_until", "_untold", "due",
    )  # fmt: skip

    def __init__(
        self, executor: Executor, renew: Callable[[], Script[bool]], every: float, lease: float, name: str, since: float
    ) -> None:
        self._executor, self._renew = executor, renew
        self._every, self._lease, self._name = every, lease, name
        self._until = since + lease
        self._lost = ""
        self._untold = [True]
        self._failing = self._ended = self._cut = False
        self._handle: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self.due = 0.0

    @property
    def lost(self) -> bool:
        """Whether the lease is known to be lost, or has run out by this process's clock."""
        return bool(self._lost) or DEFAULT_CLOCK.now() >= self._until

    def check(self) -> None:
        """Raises LeaseLostError where the lease is lost; for sync blocks of many steps."""
        if self.lost:
            raise self._error()

    def end(self) -> None:
        """Renews no more, and tells no loss any more: to be called inside the block, before the lease is given up.

        Also from a thread that works for the block's task.
        """
        self._ended = True
        _beater.remove(self)
        if self._handle is None:
            return
        loop = self._task.get_loop()
        if loop is asyncio._get_running_loop():
            self._stop()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    # sync

    def __enter__(self) -> Keeping:
        self.due = self._until - self._lease + self._every
        _beater.add(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        told = self._ended
        self.end()
        if error is None and not told:
            self.check()

    def beat(self) -> None:
        """Renews once, on this thread. The shared thread calls it, each time in a new one."""
        sent = DEFAULT_CLOCK.now()
        try:
            kept = self._executor.run(self._renew)
        except Exception as error:
            self._failed(error)
            self.due = DEFAULT_CLOCK.now() + self._every / 4
        else:
            self._heard(kept, sent)
            self.due = sent + self._every

    # async

    async def __aenter__(self) -> Keeping:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lease needs a task to cancel when it is lost; run the block in one")
        self._task, self._cancelling = task, task.cancelling()
        DEFAULT_CLOCK.drive(task.get_loop())
        self._in(self._until - self._lease + self._every - DEFAULT_CLOCK.now())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        told = self._ended
        self.end()
        ours = self._cut and self._task.uncancel() <= self._cancelling
        if isinstance(error, asyncio.CancelledError) and ours:
            raise self._error() from error
        if error is None and not told:
            self.check()

    def _in(self, seconds: float) -> None:
        self._handle = self._task.get_loop().call_later(max(0.0, seconds), self._begin, context=Context())

    def _begin(self) -> None:
        if self._ended:
            return
        if self._failing and self.lost:  # we were awake and tried: no more of it
            self._cut_short()
            return
        beat = self._task.get_loop().create_task(self._abeat(), context=Context())
        if not beat.done():
            self._beat = beat

    async def _abeat(self) -> None:
        sent = DEFAULT_CLOCK.now()
        renewing = asyncio.ensure_future(self._executor.arun(self._renew))
        last = max(self._until - sent, min(LAST_TRY, self._every))
        try:
            await asyncio.wait({renewing}, timeout=last)
        finally:
            renewing.add_done_callback(_look_at)
            renewing.cancel()  # one that does not end in time is let go, not waited for
        failure = _failure_of(renewing)
        if self._ended:
            return
        if failure is None:
            self._heard(renewing.result(), sent)
        else:
            self._failed(failure)
            failure = None
        self._beat = None
        if self.lost:
            self._cut_short()
        else:
            self._in(min(self._every / 4, self._until - DEFAULT_CLOCK.now()) if self._failing else self._every)

    def _cut_short(self) -> None:
        self._lose(SILENCE)
        self._cut = True
        self._task.cancel()

    # what both make of an answer

    def _heard(self, kept: bool, sent: float) -> None:
        self._failing = False
        if kept:
            self._until = sent + self._lease
        elif not self._ended:
            self._lose("somebody else has it, or it was ended")

    def _failed(self, error: BaseException) -> None:
        if not self._failing and not self._ended:
            LOGGER.warning("the lease of %s could not be renewed and is tried again: %s", self._name, brief(error))
        self._failing = True

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
        with contextlib.suppress(IndexError):
            self._untold.pop()  # once, whichever of two threads is first
            Hub(self._name).tell(LeaseLost(self._name, self._lost))

    def _error(self) -> LeaseLostError:
        self._lose(SILENCE)
        return LeaseLostError(f"the lease of {self._name} was lost: {self._lost}")


def _failure_of(renewing: asyncio.Future[bool]) -> BaseException | None:
    """Returns why there is no answer, or None where there is one."""
    if not renewing.done() or renewing.cancelled():
        return TimeoutError("the store did not answer in time")
    return renewing.exception()


def _look_at(renewing: asyncio.Future[Any]) -> None:
    """Looks at how something ended that nobody waits for, so that asyncio does not complain."""
    if not renewing.cancelled():
        renewing.exception()


class _Beater:
    """One daemon thread that looks after all sync leases. A renewal runs in a thread of its own, since it may hang.

    No lock, because a block may be left by a finalizer, on a thread that is just in here.
    """

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._held: dict[int, Keeping] = {}
        self._beating: dict[int, Keeping] = {}
        self._wake = threading.Event()
        self._next = float("inf")
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, keeping: Keeping) -> None:
        self._held[id(keeping)] = keeping
        if self._thread is None:
            self._start()
        if keeping.due < self._next:
            self._wake.set()

    def remove(self, keeping: Keeping) -> None:
        self._held.pop(id(keeping), None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="seawall-heartbeat", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self._next = float("inf")  # who comes while we look sets the event
            waiting = [each for key, each in list(self._held.items()) if key not in self._beating]
            now = DEFAULT_CLOCK.now()
            for each in waiting:
                if each.due <= now:
                    self._beat(each)
            later = [each.due for each in waiting if each.due > now]
            self._next = min(later, default=float("inf"))
            # In real time: under a fake clock this thread must not move time, and looks often enough to see it move.
            self._wake.wait(min(self._next - now, LOOK) if self._held else None)

    def _beat(self, keeping: Keeping) -> None:
        self._beating[id(keeping)] = keeping
        try:
            threading.Thread(target=self._renew, args=(keeping,), name="seawall-renewal", daemon=True).start()
        except RuntimeError:  # no thread to be had now, or the interpreter is ending
            self._beating.pop(id(keeping), None)

    def _renew(self, keeping: Keeping) -> None:
        try:
            keeping.beat()
        finally:
            self._beating.pop(id(keeping), None)
            self._wake.set()


_beater: Final = _Beater()
