"""The file of an embedded store, on the one thread that uses it: opening, waiting for the lock, checkpoints."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from seawall._core.events import LOGGER
from seawall.durable.embedded_connection import Connection
from seawall.durable.embedded_errors import is_busy, locked
from seawall.durable.embedded_place import check_place
from seawall.durable.embedded_turn import AGAIN, Turnstile
from seawall.durable.store import StoreError

T = TypeVar("T")

LARGE: Final = 8 * 1024 * 1024
"""Bytes of the write-ahead log from which on it is brought into the file while there is work."""
LOOK: Final = 0.1
"""Seconds between two looks at the file, while there is work."""
READERS: Final = 50
"""Milliseconds that a checkpoint waits for readers, who would have it leave the rest for the next one."""
STATEMENTS: Final = 512
"""Prepared statements that a connection keeps."""

_ORPHANS: Final[list[Connection]] = []

# With a comment, so that an effect that says the same does not get a prepared statement of ours.
_BEGIN: Final = "BEGIN IMMEDIATE /* seawall */"
_COMMIT: Final = "COMMIT /* seawall */"
_ROLLBACK: Final = "ROLLBACK /* seawall */"


class File:
    """One SQLite file and a connection to it, opened when it is needed. Used by one thread alone.

    Whoever wants SQLite's write lock takes the lock of the file `PATH-turn` first, and lets go of it when it has the
    other one. So a process that has just committed waits behind those that were waiting already; SQLite alone would let
    it go first for ever. It is a courtesy: where a process was stopped while it held the turn, the others go without.

    A checkpoint is made by whoever holds the turn and has seen that nobody writes. So the log is never reset while
    another store writes to it, which is what damages files with SQLite before 3.51.3 (the "WAL-reset bug").

    Args:
        path: the file; None: a database in memory.
        name: what it is called in errors.
        synchronous: "full" or "normal", as SQLite means them.
        busy_timeout: seconds to wait for the lock.
        prepare: makes the tables, in a transaction, whenever the file is opened.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        name: str,
        synchronous: str,
        busy_timeout: float,
        prepare: Callable[[Connection], object],
    ) -> None:
        self.name = name
        self._path = path
        self._log = f"{path}-wal"
        self._turn = None if path is None else Turnstile(path.with_name(f"{path.name}-turn"))
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._prepare = prepare
        self._left = 0
        self._look_at = 0.0
        self._identity: tuple[int, int] | None = None
        self.connection: Connection | None = None
        self.dirty = False

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self._path is None

    # opening and closing

    def open(self) -> Connection:
        """Returns a connection with the settings of a store. Raises sqlite3.Error or StoreError."""
        if self._path is not None:
            check_place(self._path, self.name)
        connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            timeout=0,
            isolation_level=None,
            cached_statements=STATEMENTS,
            factory=Connection,
        )
        try:
            self._set_up(connection)
            self._in_turn(lambda: connection.execute(_BEGIN))
            self._prepare(connection)
            connection.execute(_COMMIT)
        except BaseException:
            self._let_go(connection)
            raise
        self.connection, self.dirty, self._identity = connection, True, self._found()
        return connection

    def _set_up(self, connection: Connection) -> None:
        connection.set_authorizer(connection.authorize)
        if self._path is None:
            return
        mode = self._in_turn(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        if mode != "wal":
            raise StoreError(f"{self.name}: its journal mode is {mode!r} and cannot be made 'wal'; use another file")
        self._in_turn(lambda: connection.execute(f"PRAGMA synchronous={self._synchronous}"))
        connection.execute("PRAGMA wal_autocheckpoint=0")

    def renew(self) -> None:
        """Lets go of a connection that broke, so that the next transaction opens another one."""
        if self._path is not None:  # in memory, all would be gone
            self.close()

    def close(self) -> None:
        """Brings the log into the file and lets go of it. Never raises."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        try:
            self._let_go(connection)
        except (sqlite3.Error, OSError) as error:
            LOGGER.warning("%s was not closed in good order: %s", self.name, error)

    def _let_go(self, connection: Connection) -> None:
        connection.shut()  # the last one of all brings the log into the file, and removes it
        if self._turn is not None:
            self._turn.close(remove_unless=self._log)

    def leave_alone(self) -> bool:
        """Forgets a connection of the parent process, after a fork; returns whether one to the file was open.

        It is never closed here: SQLite would take the parent's locks for this process's.
        """
        connection, self.connection, self.dirty = self.connection, None, False
        if connection is None:
            return False
        _ORPHANS.append(connection)
        if self._turn is not None:
            self._turn.close()
        return self._path is not None

    # transactions

    def begin(self) -> Connection:
        """Begins a transaction that holds the write lock. Raises sqlite3.Error or StoreError."""
        if self.connection is not None and time.monotonic() >= self._look_at:
            self._look()
        connection = self.connection or self.open()
        self._in_turn(lambda: connection.execute(_BEGIN))
        return connection

    def _look(self) -> None:
        """Now and then, since a system call costs more than a row: is the file still there, has its log grown large?"""
        self._look_at = time.monotonic() + LOOK
        if self._found() != self._identity:
            LOGGER.warning("%s was removed or replaced while it was open; it is opened anew", self.name)
            self.close()
        elif self.dirty and self._is_large():
            self.checkpoint()

    def commit(self) -> None:
        """Ends the transaction. Raises sqlite3.Error."""
        assert self.connection is not None
        self.connection.execute(_COMMIT)
        self.dirty = True

    def roll_back(self) -> None:
        """Undoes the transaction, where there still is one. Never raises: what cannot be rolled back is closed."""
        try:
            if self.connection is not None and self.connection.in_transaction:
                self.connection.execute(_ROLLBACK)
        except sqlite3.Error as error:
            LOGGER.warning("%s: a rollback failed, so it is opened anew: %s", self.name, error)
            self.renew()

    # the write-ahead log

    def _is_large(self) -> bool:
        """Whether the log has grown so much that it should be brought into the file now."""
        size = self._log_size()
        self._left = min(self._left, size)
        return size > self._left + LARGE

    def checkpoint(self) -> None:
        """Brings the log into the file, as far as no reader still needs it. Never raises; what fails is done later."""
        connection, self.dirty = self.connection, False
        if connection is None or self._turn is None:
            return
        until = time.monotonic() + self._busy_timeout
        ours = self._turn.take(self._busy_timeout / 2)
        try:
            if ours:
                self._patiently(lambda: connection.execute(_BEGIN), until)
                connection.execute(_ROLLBACK)  # nobody writes now, and who wants to waits for the turn
                _truncate(connection)
        except Exception as error:
            LOGGER.debug("%s: its log stays until later: %s", self.name, error)
            self.roll_back()
        finally:
            self._turn.give()
        self._left = self._log_size()

    def _log_size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0

    # waiting

    def _in_turn(self, attempt: Callable[[], T]) -> T:
        """Does what needs the write lock, after those who wait already. Raises StoreError where it stays locked."""
        until = time.monotonic() + self._busy_timeout
        if self._turn is None:
            return attempt()
        self._turn.take(self._busy_timeout / 2)  # a process that was stopped while it had the turn holds nobody up
        try:
            return self._patiently(attempt, until)
        finally:
            self._turn.give()

    def _patiently(self, attempt: Callable[[], T], until: float) -> T:
        """Repeats what may find the file locked. Raises StoreError where it stays so."""
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if time.monotonic() >= until:
                    raise locked(self.name, self._busy_timeout) from error
            time.sleep(AGAIN)

    def _found(self) -> tuple[int, int] | None:
        """Returns which file the path leads to."""
        if self._path is None:
            return None
        try:
            there = os.stat(self._path)
        except OSError:
            return None
        return there.st_dev, there.st_ino


def _truncate(connection: Connection) -> None:
    """Moves the log into the file and empties it; readers are waited for shortly, since writers wait meanwhile."""
    connection.execute(f"PRAGMA busy_timeout={READERS}")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute("PRAGMA busy_timeout=0")
