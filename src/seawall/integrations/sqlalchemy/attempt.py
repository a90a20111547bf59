"""One attempt at a transaction: its steps, written once for sync sessions, and what its failure means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Engine, event
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from seawall._core.crash import point
from seawall._core.events import LOGGER, Hub
from seawall.durable.dialect import POSTGRESQL, Dialect
from seawall.durable.driving import Flow
from seawall.durable.errors import CommitUnknownError
from seawall.durable.events import CommitUnknown
from seawall.integrations.sqlalchemy.conversing import DIALECTS, begin, converse
from seawall.integrations.sqlalchemy.enlisting import connection_of
from seawall.integrations.sqlalchemy.failures import decided, lacks_tables, trouble
from seawall.integrations.sqlalchemy.hooks import Hook, taken
from seawall.integrations.sqlalchemy.leaving import Line
from seawall.integrations.sqlalchemy.marker import marking, settling
from seawall.integrations.sqlalchemy.own import Own

PASSES: Final = "__seawall_transaction_passes__"
"""The attribute of a failure that says whether its transaction is surely undone, and may be made once more."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all attempts at one transaction; see `run_transaction`.

    Attributes:
        engine: the sync engine of the store, for sessions that are bound to several; None: the session knows its own.
    """

    hub: Hub
    commit_timeout: float
    retry_lock_timeouts: bool
    retry_on: Callable[[Exception], bool] | None
    isolation_level: Any
    txn_id: str | None
    engine: Engine | None


class Attempt:
    """One attempt, with a session of its own.

    Args:
        rules: what holds for all attempts.
        bound: makes a context that calls a function when it lasts too long: `Bounded`, or `Hurried` in a task.

    Attributes:
        phase: how far it has come.
        closed: whether its session is.
        doubtful: whether it is not known if it was committed.
        left: whether nobody waits for it any longer: it must not be committed then.
        result: what the body returned.
    """

    __slots__ = (
        "_bound",
        "_engine",
        "_hooks",
        "_late",
        "_over",
        "_rules",
        "_spoilt",
        "closed",
        "dialect",
        "doubtful",
        "left",
        "line",
        "phase",
        "result",
    )

    def __init__(
        self, rules: Rules, bound: Callable[[float, Callable[[], None]], AbstractContextManager[None]]
    ) -> None:
        self._rules = rules
        self._bound = bound
        self._engine: Engine | None = None
        self._hooks: list[Hook] = []
        self._late = False  # the time for COMMIT was up
        self._spoilt = False  # the connection is of no use to others
        self._over = False  # the body has returned: COMMIT is ours to send
        self.dialect: Dialect | None = None
        self.line = Line()
        self.phase: Literal["connecting", "working", "committing", "committed"] = "connecting"
        self.closed = self.doubtful = self.left = False
        self.result: Any = None

    def begin(self, session: Session) -> None:
        """Gets a connection, and begins the transaction. A session of several engines gets its connections later."""
        event.listen(session, "before_commit", self._refuse_to_commit)
        level = self._rules.isolation_level
        options = {} if level is None else {"execution_options": {"isolation_level": level}}
        try:
            connection = connection_of(session, self._rules.engine, **options)
        except UnboundExecutionError:
            if level is not None or self._rules.txn_id is not None:
                raise
        else:
            self._engine, self.dialect = connection.engine, DIALECTS.get(connection.dialect.name)
            if self.dialect is not None:
                begin(connection, self.dialect)
            self.line.take(connection)
        self.phase = "working"

    def finish(self, session: Session) -> None:
        """Writes what the body has left to be written and the row that tells of the commit, commits, and closes."""
        self._prepare(session)
        with self._bounded(self._stop_waiting):
            self._commit(session)
        self.close(session)

    def close(self, session: Session) -> None:
        """Gives the connection back, or ends it where it is of no use to others."""
        self.closed = True
        try:
            with self._bounded(self.line.cut):
                session.invalidate() if self._spoilt else session.close()
        except Exception:
            LOGGER.debug("a session could not be closed", exc_info=True)

    def _prepare(self, session: Session) -> None:
        session.flush()
        if self._rules.txn_id is not None:
            self._mark(session, self._rules.txn_id)
        if self._engine is not None and session.in_transaction():
            self.line.take(connection_of(session, self._rules.engine))  # another one, where the body rolled back
        self._hooks = taken(session)
        if session.dispatch.after_commit:
            event.listen(session, "after_commit", self._committed, insert=True)  # before listeners that may fail

    def _commit(self, session: Session) -> None:
        if self.left:
            raise asyncio.CancelledError
        self._over = True
        if not self.line.lost():
            self.phase = "committing"
        point("transaction.commit.before")
        session.commit()
        point("transaction.commit.after")
        self.phase = "committed"

    def _bounded(self, cut: Callable[[], None]) -> AbstractContextManager[None]:
        """Returns what bounds a wait for the server. SQLite keeps to its own time-out, and nothing can cut it short."""
        if self.phase == "committed" or self.dialect is not POSTGRESQL:
            return nullcontext()
        return self._bound(self.patience, cut)

    def _stop_waiting(self) -> None:
        self._late = True
        self.line.cut()

    def judge(self, error: Exception) -> None:
        """Takes note, on a failure, whether the transaction may be made once more, or whether nobody knows."""
        self.doubtful = self.phase == "committing" and not decided(error)
        if not self.doubtful:
            error.__dict__[PASSES] = self.phase != "committed" and self._passes(error)

    def settling(self) -> Flow[bool | None] | None:
        """Returns what finds out whether it was committed, by `looker()`; None: that cannot be found out."""
        txn_id = self._rules.txn_id
        if txn_id is None or self.dialect is None:
            return None
        return settling(txn_id, self.dialect, self._rules.commit_timeout)

    def settled(self, found: bool | None, error: Exception) -> None:
        """Tells what was found out."""
        words: dict[bool | None, Literal["committed", "undone", "unknown"]]
        words = {True: "committed", False: "undone", None: "unknown"}
        if found is None:
            pass
        elif found:
            self.phase = "committed"
        else:
            error.__dict__[PASSES] = True
        self._rules.hub.tell(CommitUnknown(self._rules.hub.name, words[found], error))

    def unknown(self) -> CommitUnknownError:
        """Returns the error for a transaction of which nobody knows."""
        name, txn_id, patience = self._rules.hub.name, self._rules.txn_id, self.patience
        what = f"no answer to COMMIT within {patience:g} s" if self._late else "the connection ended in COMMIT"
        if txn_id is None:
            then = "with a txn_id= of its own it would be looked up"
        else:
            then = f"and the database could not be asked for txn_id={txn_id!r} within {patience:g} s"
        return CommitUnknownError(f"{name!r}: it is not known whether it was committed: {what}; {then}")

    def looker(self) -> Own:
        """Returns what looks, on another connection, what became of this one's transaction."""
        assert self._engine is not None
        assert self.dialect is not None
        engine = AsyncEngine(self._engine) if self._engine.dialect.is_async else self._engine
        return Own(engine, self.dialect, self._rules.hub.name, attempts=1, silence=self._rules.commit_timeout)

    def due(self) -> list[Hook]:
        """Returns the hooks that are to be called, which are none while it has not been committed."""
        return self._hooks if self.phase == "committed" else []

    @property
    def patience(self) -> float:
        """Seconds for COMMIT, and for whatever else is waited for after it."""
        return self._rules.commit_timeout

    def _mark(self, session: Session, txn_id: str) -> None:
        assert self.dialect is not None
        try:
            converse(connection_of(session, self._rules.engine), marking(txn_id), self.dialect)
        except Exception as error:
            missing = lacks_tables(error, "the database of the transaction")
            if missing is None:
                raise
            raise missing from error

    def _passes(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return all(self._passes(each) for each in error.exceptions)
        kind = trouble(error, connecting=self.phase == "connecting")
        self._spoilt = self._spoilt or kind == "read_only"
        if kind is not None and (kind != "locked" or self._rules.retry_lock_timeouts):
            return True
        more = self._rules.retry_on
        return more is not None and isinstance(error, Exception) and more(error)

    def _committed(self, session: Session) -> None:
        if not session.in_nested_transaction():
            self.phase = "committed"

    def _refuse_to_commit(self, session: Session) -> None:
        if not self._over and not session.in_nested_transaction():
            raise RuntimeError(
                f"{self._rules.hub.name!r} commits when the body has returned, and could not repeat what was committed "
                "before; use session.flush(), or session.begin_nested() for a part that may fail"
            )
