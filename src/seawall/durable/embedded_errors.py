"""What SQLite complains of, in words that say what to do."""

from __future__ import annotations

import sqlite3
from typing import Final

from seawall.durable.store import StoreError

_SAYS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full, or the file has reached its largest size; nothing of it was written",
    sqlite3.SQLITE_READONLY: "it cannot be written; give this process the right to write the file and its folder",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; use another file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; take it away from here, and restore a backup",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; use a file in a folder that exists and that this process may write",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_PERM: "access to it was denied",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work; use a file on a local disk",
    sqlite3.SQLITE_NOMEM: "no memory was left",
}
"""By SQLite's primary code. All others are errors of a statement, and raised as they are."""

BROKEN: Final = frozenset(
    (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    )
)
"""After these a connection is made anew."""


def code_of(error: BaseException) -> int:
    """Returns SQLite's primary code of an error; 0 where it is none of SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


def is_busy(error: BaseException) -> bool:
    """Whether somebody else holds the lock that was asked for."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explained(name: str, error: BaseException) -> BaseException:
    """Returns a `StoreError` for what the file or its disk did wrong; any other error as it is."""
    code = code_of(error)
    if code not in _SAYS:
        return error
    found = StoreError(f"{name}: {_SAYS[code]} (SQLite: {error})")
    found.__cause__ = error
    return found


def locked(name: str, seconds: float) -> StoreError:
    """Returns the error for a file that another process did not let go of in time."""
    return StoreError(
        f"{name}: locked by another process for more than {seconds:g} s; it holds a transaction open. "
        "End that, or give more time by busy_timeout="
    )
