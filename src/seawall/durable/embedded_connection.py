"""The connection of an embedded store, and how an effect of the user's is kept within its bounds on it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from seawall.durable.embedded_errors import code_of
from seawall.durable.store import StoreError

T = TypeVar("T")

SAVEPOINT: Final = "seawall_job"
"""What is undone when one of several that are committed together fails."""
STEPS: Final = 2000
"""Instructions of SQLite's machine between two looks at the clock."""
PLAIN: Final = "it runs inside a transaction of SQLite's, on a thread: use a plain function of the connection"
_ENDS: Final = "an effect must not end the transaction that it is in: the store commits it, together with what it keeps"


class Connection(sqlite3.Connection):
    """A connection that knows when it has been lent to an effect, and what that must not do with it."""

    lent = False
    after: list[Callable[[], object]]
    """What is called once the job that runs has been committed."""

    def lend(self, effect: Callable[[sqlite3.Connection], T], seconds: float) -> T:
        """Calls an effect with this connection, for so many seconds at most.

        Raises StoreError where it takes longer (a statement that runs is cut short; the effect's own code cannot be),
        where it tries to end the transaction, and where it is no plain function; else what the effect raises.
        """
        end = time.monotonic() + seconds
        row_factory, text_factory = self.row_factory, self.text_factory
        self.lent = True
        self.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            result = effect(self)
        except sqlite3.DatabaseError as error:
            if code_of(error) == sqlite3.SQLITE_AUTH:
                raise StoreError(f"{_ENDS} ({error})") from error
            if code_of(error) == sqlite3.SQLITE_INTERRUPT:
                raise self._too_long(seconds) from error
            raise
        except StopIteration as error:  # which no future can hold
            raise RuntimeError("an effect raised StopIteration") from error
        finally:
            self.set_progress_handler(None, 0)
            self.lent = False
            self.row_factory, self.text_factory = row_factory, text_factory
        if time.monotonic() > end:
            raise self._too_long(seconds)
        if isinstance(result, Awaitable):
            getattr(result, "close", lambda: None)()
            raise TypeError(f"effect={effect!r} is async; {PLAIN}")
        return result

    def _too_long(self, seconds: float) -> StoreError:
        return StoreError(
            f"an effect took more than {seconds:g} s and was rolled back: nothing else can be written meanwhile. "
            "Do what takes long before it, or give more time by effect_timeout="
        )

    def authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        """Tells SQLite whether a statement may be prepared."""
        if self.lent:
            if action == sqlite3.SQLITE_TRANSACTION:
                return sqlite3.SQLITE_DENY
            if action == sqlite3.SQLITE_SAVEPOINT and (second or "").lower() == SAVEPOINT:
                return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def cursor(self, factory: Any = None) -> Any:
        """Returns a cursor; one that an effect makes runs nothing once the transaction is gone."""
        return super().cursor(factory or (_Lent if self.lent else sqlite3.Cursor))

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Runs a statement; from Python 3.11 on, without asking `cursor` for a cursor."""
        return self.cursor().execute(*arguments) if self.lent else super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        """Runs a statement several times."""
        return self.cursor().executemany(*arguments)  # type: ignore[no-any-return]

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        """Refuses, in an effect."""
        return self.cursor().executescript(*arguments)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Refuses: the connection is the store's."""
        raise StoreError(f"{_ENDS}; it must not close the connection either")

    def shut(self) -> None:
        """Closes the connection."""
        super().close()


class _Lent(sqlite3.Cursor):
    """The cursor of an effect, which writes nothing once SQLite has undone everything: that would stand alone."""

    def execute(self, *arguments: Any) -> Any:
        self._check()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self._check()
        return super().executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        raise StoreError(f"executescript() would commit, and {_ENDS}; use execute() for each statement")

    def _check(self) -> None:
        if not self.connection.in_transaction:
            raise StoreError("SQLite has rolled back the transaction of this effect; let its error pass")
