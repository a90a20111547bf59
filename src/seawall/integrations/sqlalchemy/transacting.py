"""One attempt at a transaction, made: in each colour, from its session to the hooks after its commit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from seawall.durable.driving import adrive, drive
from seawall.integrations.sqlalchemy import hooks
from seawall.integrations.sqlalchemy.attempt import Attempt, Rules
from seawall.integrations.sqlalchemy.leaving import Hurried, leave, let_go, steadily
from seawall.integrations.sqlalchemy.watchdog import Bounded

_OPEN: Final[ContextVar[Mapping[object, tuple[Attempt, Any]]]] = ContextVar("seawall_transactions")
BOUNDS: Final = 3
"""COMMIT, the look for what became of it, and the hooks: each has the time for COMMIT, when all are waited for."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is to be done: `body` with a session of `sessions`, by the rules."""

    sessions: Callable[[], Any]
    body: Callable[[Any], Any]
    rules: Rules


def session_around(sessions: object) -> Any:
    """Returns the session of a transaction around the caller, made by the same factory; None: there is none."""
    attempt, session = _OPEN.get({}).get(sessions, (None, None))
    return session if attempt is not None and attempt.phase == "working" else None


def attempt(transaction: Transaction) -> Any:
    """Makes one attempt, and returns what the body returned."""
    this = Attempt(transaction.rules, Bounded)
    try:
        _try(this, transaction)
    except Exception as error:
        if not this.doubtful:
            _run_hooks(this)
            raise
        settling = this.settling()
        found = None if settling is None else drive(this.looker(), settling)
        this.settled(found, error)
        if found is None:
            raise this.unknown() from error
        if not found:
            raise
    _run_hooks(this)
    return this.result


def _try(this: Attempt, transaction: Transaction) -> None:
    """Goes from the connection to the end of COMMIT."""
    session: Session = transaction.sessions()
    try:
        this.begin(session)
        token = _OPEN.set({**_OPEN.get({}), transaction.sessions: (this, session)})
        try:
            this.result = transaction.body(session)
        finally:
            _OPEN.reset(token)
        if inspect.iscoroutine(this.result):
            this.result.close()
            raise TypeError(f"body={transaction.body!r} is async, and its sessions are not; use an async_sessionmaker")
        this.finish(session)
    except Exception as error:
        this.judge(error)
        raise
    finally:
        if not this.closed:
            this.close(session)


def _run_hooks(this: Attempt) -> None:
    for hook in this.due():
        hooks.run(hook)


async def aattempt(transaction: Transaction) -> Any:
    """Makes one attempt, in a task of its own, and returns what the body returned.

    A cancellation that comes before COMMIT ends it, without waiting for a silent server. One that comes later waits
    until it is known what became of the transaction, and is delivered at the caller's next await: what has been
    committed is told, so that nobody does it again for want of an answer.
    """
    this = Attempt(transaction.rules, Hurried)
    task = asyncio.create_task(_whole(this, transaction))
    try:
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if this.phase in ("connecting", "working"):
                this.left = True
                await leave(task, this.line)
                raise
            await steadily(task, BOUNDS * this.patience)
            _cancel_later()
        if task.done():
            return task.result()
        if this.phase == "committed":
            return this.result
        raise this.unknown()
    finally:
        del task  # whoever keeps what is raised keeps no connection by its frames


async def _whole(this: Attempt, transaction: Transaction) -> Any:
    try:
        await _atry(this, transaction)
    except Exception as error:
        if not this.doubtful:
            await _arun_hooks(this)
            raise
        settling = this.settling()
        found = None if settling is None else await adrive(this.looker(), settling)
        this.settled(found, error)
        if found is None:
            raise this.unknown() from error
        if not found:
            raise
    await _arun_hooks(this)
    return this.result


async def _atry(this: Attempt, transaction: Transaction) -> None:
    session: AsyncSession = transaction.sessions()
    session.sync_session.info[hooks.AWAITS] = True
    try:
        await session.run_sync(this.begin)
        _OPEN.set({**_OPEN.get({}), transaction.sessions: (this, session)})
        working = transaction.body(session)
        if not inspect.isawaitable(working):
            raise TypeError(f"body={transaction.body!r} is not async, and its sessions are; use a sessionmaker")
        this.result = await working
        await session.run_sync(this.finish)
    except asyncio.CancelledError as error:
        let_go(error)
        raise
    except Exception as error:
        this.judge(error)
        raise
    finally:
        if not this.closed:
            await session.run_sync(this.close)


async def _arun_hooks(this: Attempt) -> None:
    for hook in this.due():
        await hooks.arun(hook)


def _cancel_later() -> None:
    """Delivers the cancellation that was held back, at this task's next await, unless somebody has taken it back."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        asyncio.get_running_loop().call_soon(_cancel, task, task.cancelling(), context=Context())


def _cancel(task: asyncio.Task[Any], cancelling: int) -> None:
    if not task.done() and task.cancelling() >= cancelling:
        task.uncancel()
        task.cancel()
