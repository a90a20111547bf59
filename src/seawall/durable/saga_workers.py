"""Workers: they take sagas that are due, several at a time, on threads or in tasks, until they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import Context
from typing import Final

from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import LOGGER, brief
from seawall.durable.driving import CLEANING, adrive, drive
from seawall.durable.events import SagaInterrupted
from seawall.durable.saga_data import words
from seawall.durable.saga_work import Held, Work

CHANNEL: Final = "saga"
"""On which a store wakes the workers."""


class Failing:
    """Notes whether the store answers: logged when that changes, and not at every look."""

    def __init__(self) -> None:
        self._failing = False

    def failed(self, error: Exception) -> None:
        """It did not."""
        if not self._failing:
            LOGGER.warning("sagas: the store does not answer and is asked again and again: %s", brief(error))
        self._failing = True

    def answered(self) -> None:
        """It did."""
        if self._failing:
            LOGGER.info("sagas: the store answers again")
        self._failing = False


class ThreadWorker:
    """Runs sagas on threads: one that looks for them, and one for each that is under way."""

    def __init__(self, work: Work, poll: float, concurrency: int) -> None:
        self._work = work
        self._poll = poll
        self._concurrency = concurrency
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._running: set[threading.Thread] = set()
        self._failing = Failing()
        self._looked = DEFAULT_CLOCK.now()
        self._thread = threading.Thread(target=self._run, name="seawall-sagas", daemon=True)
        self._deaf = work.store.listen(CHANNEL, self._woken.set)
        self._thread.start()

    def stop(self, patience: float) -> int:
        """Takes no more, and waits so many seconds for the steps that are running; returns how many still are."""
        self._stopping.set()
        self._woken.set()
        self._deaf()
        until = DEFAULT_CLOCK.now() + patience
        self._thread.join(patience)  # it may still be starting some
        running = list(self._running)
        for thread in running:
            thread.join(max(0.0, until - DEFAULT_CLOCK.now()))
        return sum(thread.is_alive() for thread in running)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            free = self._concurrency - len(self._running)
            if free and self._look(free) == free:
                continue
            DEFAULT_CLOCK.wait(self._woken, self._poll)

    def _look(self, free: int) -> int:
        try:
            found = drive(self._work.store, self._work.find(free))
            for held in found:
                self._begin(held)
            if DEFAULT_CLOCK.now() - self._looked >= self._work.lease:
                self._looked = DEFAULT_CLOCK.now()
                drive(self._work.store, self._work.find_blocked())
        except Exception as error:
            self._failing.failed(error)
            return 0
        self._failing.answered()
        return len(found)

    def _begin(self, held: Held) -> None:
        thread = threading.Thread(target=self._pursue, args=(held,), name="seawall-saga", daemon=True)
        self._running.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had
            self._running.discard(thread)
            interrupted(self._work, held, error)

    def _pursue(self, held: Held) -> None:
        try:
            self._work.pursue(held, self._stopping.is_set)
        except Exception as error:
            interrupted(self._work, held, error)
        finally:
            self._running.discard(threading.current_thread())
            self._woken.set()


class TaskWorker:
    """Runs sagas in tasks of one event loop."""

    def __init__(self, work: Work, poll: float, concurrency: int) -> None:
        self._work = work
        self._poll = poll
        self._concurrency = concurrency
        self._woken = asyncio.Event()
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()
        self._failing = Failing()
        self._looked = DEFAULT_CLOCK.now()
        self._loop = asyncio.get_running_loop()
        DEFAULT_CLOCK.drive(self._loop)
        self._deaf = work.store.listen(CHANNEL, self._wake)
        self._task = self._loop.create_task(self._run(), context=Context())

    async def stop(self, patience: float) -> int:
        """Takes no more, waits so many seconds for the steps that are running, and cancels the rest; returns how many.

        Those that are cancelled are let go of, so that other workers take them at once.
        """
        self._stopping = True
        self._deaf()
        self._woken.set()
        until = self._loop.time() + patience
        try:
            await asyncio.wait({self._task}, timeout=patience)  # it may still be starting some
            if self._running:
                await asyncio.wait(set(self._running), timeout=max(0.0, until - self._loop.time()))
        finally:
            left = [task for task in (self._task, *self._running) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=2 * CLEANING)  # one that does not heed its cancellation is left
        return len(left)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be woken
            self._loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            free = self._concurrency - len(self._running)
            if free and await self._look(free) == free:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._woken.wait()

    async def _look(self, free: int) -> int:
        try:
            found = await adrive(self._work.store, self._work.find(free))
            for held in found:
                task = self._loop.create_task(self._pursue(held), context=Context())
                self._running.add(task)
                task.add_done_callback(self._ended)
            if DEFAULT_CLOCK.now() - self._looked >= self._work.lease:
                self._looked = DEFAULT_CLOCK.now()
                await adrive(self._work.store, self._work.find_blocked())
        except Exception as error:
            self._failing.failed(error)
            return 0
        self._failing.answered()
        return len(found)

    async def _pursue(self, held: Held) -> None:
        try:
            await self._work.apursue(held, lambda: self._stopping)
        except Exception as error:
            interrupted(self._work, held, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()


def interrupted(work: Work, held: Held, error: Exception) -> None:
    """Tells that a worker could not go on with a saga."""
    progress = held.claim.progress
    work.hub.tell(SagaInterrupted(progress.type, progress.saga_id, words(error)))
