"""The writer thread of an embedded store: all jobs that wait go into one commit, and their answers back together."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias, TypeVar

from seawall._core.events import LOGGER
from seawall._core.forks import renew_after_fork
from seawall.durable.embedded_connection import Connection
from seawall.durable.embedded_file import File
from seawall.durable.embedded_group import Job, commit
from seawall.durable.store import StoreError

T = TypeVar("T")

MOST: Final = 1000
"""Jobs that are committed together."""
IDLE: Final = 1.0
"""Seconds without a job after which the log is brought into the file."""
PATIENCE: Final = 5.0
"""Seconds that a fork, and the end of the process, wait for a writer to finish what it is at."""

_Work: TypeAlias = Callable[[Connection], T]


class _Halt:
    """What is put into the queue for the thread to end."""


_HALT: Final = _Halt()


class Writer:
    """Runs jobs on one thread, which alone uses the file. The thread begins with the first job.

    At a fork, the file is closed, since SQLite's connections and locks do not survive one: in the child, the locks of
    the parent's connection would be taken for the child's own. Parent and child open it anew with their next job.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._closed = False
        self._thread: threading.Thread | None = None
        self._at_gate = False
        self._forked_open = False
        self._begin()
        renew_after_fork(self)
        _WRITERS.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._queue: SimpleQueue[Job | _Halt] = SimpleQueue()

    # giving jobs

    def call(self, work: _Work[T], *, repeatable: bool = False) -> T:
        """Does something in a transaction; returns when that has been committed."""
        job = Job(work, repeatable)
        latch = job.latch = threading.Lock()
        latch.acquire()
        self._put(job)
        try:
            latch.acquire()
        except BaseException:
            job.abandoned = True
            raise
        value: T = job.take()
        return value

    async def acall(self, work: _Work[T], *, repeatable: bool = False) -> T:
        """Does something in a transaction. Cancelled, it may be done or not; what had not begun is not done."""
        loop = asyncio.get_running_loop()
        job = Job(work, repeatable)
        job.loop, job.future = loop, loop.create_future()
        future = job.future
        self._put(job)
        del job
        try:
            value: T = await future
            return value
        finally:
            del future  # its error leads to this frame

    def _put(self, job: Job) -> None:
        if threading.current_thread() is self._thread:
            raise StoreError(
                f"{self._file.name}: an effect has the transaction that it is in, and no other; "
                "inside of it, use store.on(connection)"
            )
        if self._forked_open:
            raise StoreError(
                f"{self._file.name}: this process was forked while a transaction was going on, so SQLite cannot be "
                "used in it; fork before, or start processes by 'spawn'"
            )
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._file.name} is closed")
            self._queue.put(job)
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        self._at_gate = True
        self._thread = threading.Thread(target=self._work, name="seawall-writer", daemon=True)
        self._thread.start()

    # ending

    def stop(self) -> threading.Thread | None:
        """Takes no more jobs and ends after those that it has; returns the thread that does so, if any."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._thread is not None:
                    self._queue.put(_HALT)
            return self._thread

    def rest(self) -> threading.Thread | None:
        """Ends the thread after the jobs that it has, until there are others; returns it, if there is one."""
        if self._file.in_memory or self._at_gate:
            return None  # in memory all would be gone, and there are no locks; at the gate, nothing has been opened
        with self._lock:
            thread = self._thread
            if thread is not None and not self._closed:
                self._queue.put(_HALT)
            return thread

    def after_fork(self) -> None:
        """Begins anew in a child; a connection that was open is let alone, not even closed: SQLite would break."""
        self._forked_open = self._file.leave_alone()
        self._thread = None
        self._begin()

    # the thread

    def _work(self) -> None:
        with _gate:  # while this process is being forked, nothing is opened
            self._at_gate = False
        halt = False
        try:
            while not halt:
                jobs, halt = self._next()
                if jobs:
                    self._do(jobs)
                del jobs  # what they hold must not live on while the thread waits
        finally:
            self._leave()

    def _next(self) -> tuple[list[Job], bool]:
        """Waits for jobs; returns all that there are, and whether to end after them."""
        try:
            job = self._queue.get(timeout=IDLE if self._file.dirty else None)
        except Empty:
            self._file.checkpoint()
            return [], False
        jobs: list[Job] = []
        while isinstance(job, Job):
            jobs.append(job)
            if len(jobs) == MOST:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _do(self, jobs: list[Job]) -> None:
        try:
            for settled in commit(self._file, jobs):
                _answer(settled)
        except BaseException as error:  # of this library itself: nobody may wait for ever
            LOGGER.exception("%s: the writer stumbled and goes on", self._file.name)
            self._file.roll_back()
            left = [job for job in jobs if not job.answered]
            for job in left:
                job.error = error
            _answer(left)

    def _leave(self) -> None:
        """Closes the file and ends, or lets another thread go on where jobs have come meanwhile."""
        self._file.close()
        left: list[Job] = []
        with self._lock:
            self._thread = None
            if self._closed:
                left = list(_rest(self._queue))
            elif not self._queue.empty():
                self._start()
        for job in left:
            job.error = StoreError(f"{self._file.name} is closed")
        _answer(left)


def _rest(queue: SimpleQueue[Job | _Halt]) -> Iterator[Job]:
    while True:
        try:
            job = queue.get_nowait()
        except Empty:
            return
        if isinstance(job, Job):
            yield job


def _answer(jobs: Iterable[Job]) -> None:
    """Wakes those who wait, each event loop once, and then those who are to be told of a commit."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    told = [tell for job in jobs if job.error is None for tell in job.after]
    for job in jobs:
        job.answered = True
        if job.latch is not None:
            job.latch.release()
        elif job.loop is not None:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting)
        except RuntimeError:
            pass  # the loop was closed: nobody waits any more
    for tell in told:
        try:
            tell()
        except Exception:
            LOGGER.exception("a listener of a store's commits raised")


def _settle(jobs: list[Job]) -> None:
    """Gives tasks their answers, in their event loop."""
    for job in jobs:
        future, job.future = job.future, None
        error, job.error = job.error, None
        if future is None or future.done():
            continue
        if error is None:
            future.set_result(job.value)
        else:
            future.set_exception(error)
        del error


# -------------------------------------------------------------------------------------------------- forks and the end

_WRITERS: Final[weakref.WeakSet[Writer]] = weakref.WeakSet()
_gate = threading.Lock()


def _end(threads: Iterable[threading.Thread | None]) -> None:
    until = time.monotonic() + PATIENCE
    for thread in threads:
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))


def _before_fork() -> None:
    _gate.acquire()
    _end([writer.rest() for writer in list(_WRITERS)])


def _in_child() -> None:
    global _gate
    _gate = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=lambda: _gate.release(), after_in_child=_in_child)
atexit.register(lambda: _end([writer.stop() for writer in list(_WRITERS)]))
