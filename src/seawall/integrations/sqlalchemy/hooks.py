"""What waits for the commit of a session's transaction, and is forgotten when it is rolled back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from seawall._core import arguments
from seawall._core.chain import kind_of
from seawall._core.events import LOGGER
from seawall.integrations.sqlalchemy.enlisting import connection_of, plain
from seawall.integrations.sqlalchemy.notices import notify

Hook: TypeAlias = Callable[[], object]
KEY: Final = "seawall_hooks"
AWAITS: Final = "seawall_awaits_hooks"
"""In a session's `info`: that whoever runs its hooks awaits what they return."""


def after_commit(session: Any, fn: Hook) -> None:
    """Calls a function once the session's transaction has been committed, and not if it is rolled back.

    Hooks run in the order in which they were added. What one raises is logged, not raised: the transaction is
    committed. A process that dies between the commit and a hook never runs it: what must happen belongs in an `Outbox`.

    Args:
        session: a Session or AsyncSession, in its transaction. A hook that was added in a savepoint goes with it.
        fn: a function without arguments; an async function only inside of `run_transaction` with async sessions, which
            awaits it.

    Raises:
        TypeError: for anything else.
    """
    joined = plain(session)
    if not isinstance(joined, Session | AsyncSession):
        raise TypeError(f"session={session!r} is a connection; use a Session or AsyncSession")
    arguments.function("fn", fn, "a function without arguments")
    hooks = hooks_of(joined)
    if kind_of(fn) != "call" and not _sync(joined).info.get(AWAITS):
        raise TypeError(
            f"fn={fn!r} is not a plain function, and nothing would await it; use it inside of run_transaction() with "
            "async sessions, or a plain function that starts a task"
        )
    hooks.add(fn)


def hooks_of(session: Session | AsyncSession) -> Hooks:
    """Returns the hooks of a session, ready to take more."""
    sync = _sync(session)
    found: Hooks | None = sync.info.get(KEY)
    if found is None:
        found = sync.info[KEY] = Hooks(sync)
    return found


def taken(session: Session) -> list[Hook]:
    """Takes the hooks out of a session that is about to be committed, for whoever runs them after it."""
    found: Hooks | None = session.info.get(KEY)
    return [] if found is None else found.take()


class Hooks:
    """The hooks of one session, each with the savepoints that it lives in.

    Attributes:
        channels: what other processes are told of in the commit.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: list[tuple[list[SessionTransaction], Hook]] = []
        self.channels: dict[str, None] = {}
        event.listen(session, "before_commit", self._before)
        event.listen(session, "after_commit", self._committed)
        event.listen(session, "after_soft_rollback", self._rolled_back)
        event.listen(session, "after_transaction_end", self._ended)

    def add(self, hook: Hook) -> None:
        """Adds a hook of the transaction that the session is in."""
        self._waiting.append((_around(self._session), hook))

    def add_once(self, hook: Hook) -> None:
        """Adds a hook, unless an equal one waits already for the same."""
        around = _around(self._session)
        if (around, hook) not in self._waiting:
            self._waiting.append((around, hook))

    def take(self) -> list[Hook]:
        """Returns the hooks, and forgets them."""
        waiting, self._waiting = self._waiting, []
        return [hook for _, hook in waiting]

    def _before(self, session: Session) -> None:
        if self.channels and not session.in_nested_transaction():
            channels, self.channels = self.channels, {}
            notify(connection_of(session, None), channels)

    def _committed(self, session: Session) -> None:
        if not session.in_nested_transaction():
            for hook in self.take():
                run(hook)

    def _rolled_back(self, session: Session, transaction: SessionTransaction) -> None:
        self._waiting = [(around, hook) for around, hook in self._waiting if transaction not in around]

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            self._waiting.clear()
            self.channels.clear()


def run(hook: Hook) -> object:
    """Runs a hook and returns what it returned; logs what it raised."""
    try:
        return hook()
    except Exception:
        LOGGER.exception("%r failed after the commit", hook)
        return None


async def arun(hook: Hook) -> None:
    """Runs a hook, and awaits what it returned."""
    result = run(hook)
    try:
        if inspect.isawaitable(result):
            await result
    except Exception:
        LOGGER.exception("%r failed after the commit", hook)


def _around(session: Session) -> list[SessionTransaction]:
    """Returns the session's transaction and the savepoints in it that are open now."""
    found: list[SessionTransaction] = []
    each = session.get_nested_transaction() or session.get_transaction()
    while each is not None:
        found.append(each)
        each = each.parent
    return found


def _sync(session: Session | AsyncSession) -> Session:
    return session.sync_session if isinstance(session, AsyncSession) else session
