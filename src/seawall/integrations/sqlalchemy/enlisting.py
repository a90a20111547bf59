"""Scripts in the user's own transaction, on whatever holds it: a session or a connection, sync or async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from seawall.durable.dialect import Dialect
from seawall.durable.script import Executor, Script
from seawall.durable.store import StoreError
from seawall.integrations.sqlalchemy.conversing import converse

T = TypeVar("T")
Sync: TypeAlias = Session | Connection
Async: TypeAlias = AsyncSession | AsyncConnection


def plain(session: object) -> Sync | Async:
    """Returns a session or connection, out of its scope where it has one. Raises TypeError for anything else."""
    found = session() if isinstance(session, scoped_session | async_scoped_session) else session
    if isinstance(found, Session | Connection | AsyncSession | AsyncConnection):
        return found
    raise TypeError(
        f"session={session!r} is no session; use the Session, AsyncSession, Connection or AsyncConnection whose "
        "transaction is to be joined"
    )


def enlisted(session: object, dialect: Dialect, engine: Engine | None) -> Executor:
    """Returns the executor that runs scripts in the open transaction of a session or connection.

    Args:
        session: it begins its transaction where it has none yet, as it does for any other statement.
        dialect: the store's.
        engine: the store's sync engine, for sessions that are bound to several.
    """
    joined = plain(session)
    return (
        _Sync(joined, dialect, engine) if isinstance(joined, Session | Connection) else _Async(joined, dialect, engine)
    )


class _Sync:
    def __init__(self, joined: Sync, dialect: Dialect, engine: Engine | None) -> None:
        self._joined, self._dialect, self._engine = joined, dialect, engine

    def run(self, script: Callable[[], Script[T]]) -> T:
        return _converse(self._joined, script, self._dialect, self._engine)

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        raise TypeError(
            f"session={self._joined!r} is sync, and this is the async form; use an AsyncSession or AsyncConnection, or "
            "the sync form"
        )


class _Async:
    def __init__(self, joined: Async, dialect: Dialect, engine: Engine | None) -> None:
        self._joined, self._dialect, self._engine = joined, dialect, engine

    def run(self, script: Callable[[], Script[T]]) -> T:
        raise TypeError(
            f"session={self._joined!r} is async, and this is the sync form; await the async form, whose name begins "
            "with an a"
        )

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        return await self._joined.run_sync(_converse, script, self._dialect, self._engine)


def sync_engine(engine: Engine | AsyncEngine) -> Engine:
    """Returns an engine, or the sync one inside it."""
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def connection_of(joined: Sync, engine: Engine | None, **options: Any) -> Connection:
    """Returns the connection that a session's transaction is on; of one with several engines, that of `engine`."""
    if isinstance(joined, Connection):
        return joined
    try:
        return joined.connection(**options)
    except UnboundExecutionError:
        if engine is None:
            raise
        return joined.connection(bind_arguments={"bind": engine}, **options)


def _converse(joined: Sync, script: Callable[[], Script[T]], dialect: Dialect, engine: Engine | None) -> T:
    connection = connection_of(joined, engine)
    if connection.dialect.name != dialect.name:
        raise StoreError(
            f"session={joined!r} is on {connection.dialect.name}, and the store is on {dialect.name}: they share no "
            "transaction; use a session on the store's database"
        )
    return converse(connection, script(), dialect)
