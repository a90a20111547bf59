"""Group commit: many jobs in one transaction, each of which fails alone."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Final

from seawall._core.crash import point
from seawall.durable.embedded_connection import SAVEPOINT, Connection
from seawall.durable.embedded_errors import BROKEN, code_of, explained
from seawall.durable.embedded_file import File
from seawall.durable.errors import CommitUnknownError
from seawall.durable.store import StoreError

HOLD: Final = 0.05
"""Seconds after which a transaction takes no further job: other processes wait for the file, too."""
_SAVE: Final = f"SAVEPOINT {SAVEPOINT} /* seawall */"
_RELEASE: Final = f"RELEASE {SAVEPOINT} /* seawall */"
_UNDO: Final = f"ROLLBACK TO {SAVEPOINT} /* seawall */"


class Job:
    """Something to do on the connection, and who waits for it: a thread at `latch`, or a task for `future`.

    `repeatable`: it may be run again at no risk, as scripts may.
    """

    __slots__ = (
        "abandoned", "after", "answered", "error", "future", "latch", "loop", "repeatable", "value", "work",
    )  # fmt: skip

    def __init__(self, work: Callable[[Connection], Any], repeatable: bool) -> None:
        self.work = work
        self.repeatable = repeatable
        self.value: Any = None
        self.error: BaseException | None = None
        self.after: list[Callable[[], object]] = []
        self.abandoned = self.answered = False
        self.latch: Lock | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for it, and it has not failed."""
        return self.error is None and not self.abandoned and (self.future is None or not self.future.done())

    def take(self) -> Any:
        """Returns the result, or raises the error; afterwards it holds neither."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # which leads to this frame
        return self.value


class _LostError(Exception):
    """The transaction is gone, and what had been done in it; its jobs are to be done again."""


class _TooMuchError(_LostError):
    """It could not be committed."""


def commit(file: File, jobs: list[Job]) -> Iterator[list[Job]]:
    """Runs jobs in as few transactions as can be, in order; gives them back as they are settled.

    A job that fails is undone alone, and the others are committed. A savepoint before each would cost as much as the
    jobs themselves, so those that are repeatable are run without: where one of them fails, all are run again, with
    savepoints. Where SQLite itself has rolled back everything, or cannot commit, each is run again in a transaction of
    its own.
    """
    saving = len(jobs) > 1 and not all(job.repeatable for job in jobs)
    while jobs:
        try:
            number = _together(file, jobs, saving)
        except _LostError as lost:
            if saving or isinstance(lost, _TooMuchError):
                for job in jobs:
                    _together(file, [job], False)
                    yield [job]
                return
            saving = True
        else:
            yield jobs[:number]
            jobs = jobs[number:]


def _together(file: File, jobs: list[Job], saving: bool) -> int:
    """Runs jobs in one transaction; returns how many of them, as the time for it allowed."""
    try:
        connection = file.begin()
    except Exception as error:
        for job in jobs:
            job.error = _own(explained(file.name, error))
        return len(jobs)
    alone, number, until = len(jobs) == 1, 0, time.monotonic() + HOLD
    ran = []
    for job in jobs:
        number += 1
        if job.is_wanted and _attempt(file, connection, job, alone, saving):
            ran.append(job)
        if time.monotonic() >= until:
            break
    _end(file, ran, alone)
    return number


def _attempt(file: File, connection: Connection, job: Job, alone: bool, saving: bool) -> bool:
    """Runs one job; says whether it succeeded. Else what it did is undone.

    Raises _LostError where it cannot be undone alone.
    """
    connection.after = job.after = []
    try:
        if saving:
            connection.execute(_SAVE)
        job.value = job.work(connection)
        if saving:
            connection.execute(_RELEASE)
    except BaseException as error:
        broken = code_of(error) in BROKEN
        if alone or saving:
            job.error = explained(file.name, error)
    else:
        return True
    if saving and not broken and connection.in_transaction and _undone(connection):
        return False
    file.roll_back()
    if broken:
        file.renew()
    if not alone:
        raise _LostError
    return False


def _undone(connection: Connection) -> bool:
    """Undoes what was done since the savepoint; says whether that could be."""
    try:
        connection.execute(_UNDO)
        connection.execute(_RELEASE)
    except sqlite3.Error:
        return False
    return True


def _end(file: File, jobs: list[Job], alone: bool) -> None:
    """Commits what these jobs did. Raises _TooMuchError where that failed and each may do better alone."""
    if not jobs:
        file.roll_back()
        return
    point("store.commit.before")
    try:
        file.commit()
    except sqlite3.Error as error:
        file.roll_back()
        if code_of(error) == sqlite3.SQLITE_IOERR:  # it may be in the log, and come to light when that is read again
            file.renew()
            for job in jobs:
                job.error = CommitUnknownError(f"{file.name}: it is not known whether this was committed: {error}")
                job.error.__cause__ = error
        elif not alone:
            raise _TooMuchError from error
        else:
            jobs[0].error = explained(file.name, error)
        return
    point("store.commit.after")


def _own(error: BaseException) -> BaseException:
    """Returns an error for one of several who are told the same: raised twice, one would grow."""
    if not isinstance(error, StoreError):
        return error
    copy = StoreError(*error.args)
    copy.__cause__ = error
    return copy
