"""What a failure of a database means: whether the transaction is surely undone, and whether the server is away.

Judged by the SQLSTATE, for which wrappers are opened: SQLAlchemy's, and what was raised `from` a driver's error. The
class tells nothing: a failed serialization is a DBAPIError by asyncpg and an OperationalError by psycopg.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from sqlalchemy.exc import DBAPIError, OperationalError

from seawall.durable.store import StoreError

Trouble: TypeAlias = Literal["undone", "locked", "away", "read_only"]
"""What may pass by itself. undone: the database chose this transaction to be rolled back (serialization, deadlock,
SQLite busy). locked: a lock was not to be had (NOWAIT, lock_timeout). away: no connection, or it was lost. read_only:
a standby answered, which a new connection may not reach again."""

_UNDONE: Final = frozenset({"40001", "40P01"})
_LOCKED: Final = frozenset({"55P03"})
_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "53300"})
_READ_ONLY: Final = frozenset({"25006"})
_NO_TABLE: Final = frozenset({"42P01", "3F000"})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DEEPEST: Final = 16


def trouble(error: BaseException, *, connecting: bool = False) -> Trouble | None:
    """Returns what trouble of the database an exception tells of; None: something else.

    Args:
        error: what was raised.
        connecting: whether it was raised by getting a connection. What a driver then says without a SQLSTATE, or the
            operating system by itself, means that there is none; at any other time it may be of something else.
    """
    state = sqlstate(error)
    if state is not None:
        return _of_sqlstate(state)
    code = sqlite_code(error)
    if code is not None:
        return "undone" if code in _BUSY else None
    lost = any(isinstance(each, DBAPIError) and each.connection_invalidated for each in _opened(error))
    if lost or (connecting and isinstance(error, OperationalError | OSError)):
        return "away"
    return None


def _of_sqlstate(state: str) -> Trouble | None:
    if state in _UNDONE:
        return "undone"
    if state in _LOCKED:
        return "locked"
    if state in _AWAY or state.startswith("08"):
        return "away"
    return "read_only" if state in _READ_ONLY else None


def sqlstate(error: BaseException) -> str | None:
    """Returns the SQLSTATE of an exception, or of what it wraps or was raised from; None: it has none."""
    for each in _opened(error):
        state = getattr(each, "sqlstate", None)
        if isinstance(state, str) and len(state) == 5:
            return state
    return None


def sqlite_code(error: BaseException) -> int | None:
    """Returns SQLite's primary result code of an exception, or of what it wraps; None: it has none."""
    for each in _opened(error):
        code = getattr(each, "sqlite_errorcode", None)
        if isinstance(code, int):
            return code & 0xFF
    return None


def decided(error: BaseException) -> bool:
    """Whether a failure of COMMIT is the server's answer, so that the transaction is surely not committed.

    A connection that ended (SQLSTATE 08...) or was ended by the server (57P...) while COMMIT ran says nothing: the
    server may have done it before.
    """
    state = sqlstate(error)
    if state is not None:
        return not state.startswith(("08", "57P"))
    return sqlite_code(error) is not None


def explained(error: BaseException, store: str) -> StoreError | None:
    """Returns the error of a store for what failed in it; None where the exception is none of the database's."""
    seen = f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".strip()
    code, kind = sqlite_code(error), trouble(error, connecting=True)
    missing = lacks_tables(error, store)
    if missing is not None:
        return missing
    if code in _BUSY:
        return StoreError(f"{store} is locked by another connection; it was waited for ({seen})")
    if code is not None and code in _SQLITE:
        return StoreError(f"{store} {_SQLITE[code]} ({seen})")
    if kind is not None:
        return StoreError(f"{store} {_IN_WORDS[kind]} ({seen})")
    return None


def lacks_tables(error: BaseException, store: str) -> StoreError | None:
    """Returns the error of a store without our tables; None where the exception is another one."""
    if "seawall_" not in str(error) or not (
        sqlstate(error) in _NO_TABLE or (sqlite_code(error) == sqlite3.SQLITE_ERROR and "no such table" in str(error))
    ):
        return None
    return StoreError(
        f"{store} lacks seawall's tables; make them by `seawall db upgrade`, or by a migration of your own with "
        "seawall.integrations.sqlalchemy.metadata"
    )


_IN_WORDS: Final[dict[Trouble, str]] = {
    "undone": "undid the transaction for others' sake, again and again",
    "locked": "did not give a lock in time",
    "away": "is out of reach",
    "read_only": "takes no writes: it is a standby, or read-only",
}
_SQLITE: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: "is full: there is no space left for it",
    sqlite3.SQLITE_READONLY: "takes no writes: the file is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_NOTADB: "is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}


def _opened(error: BaseException) -> Iterator[BaseException]:
    """Gives an exception and what is inside it: what it wraps, and what it was raised from."""
    each: BaseException | None = error
    for _ in range(_DEEPEST):
        if each is None:
            return
        yield each
        wrapped = getattr(each, "orig", None)
        each = wrapped if isinstance(wrapped, BaseException) else each.__cause__
