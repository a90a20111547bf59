"""The database: an engine within requirement S1, the store of seawall on it, transactions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from sqlalchemy import event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from examples.dhanman.tables import Table
from seawall.durable import aupgrade
from seawall.integrations.sqlalchemy import SqlStore, run_transaction

LOGGER = logging.getLogger("dhanman")
T = TypeVar("T")
COMMAND: Final = 30.0
"""Seconds that a command of the database may take: the query time-out."""
POOL: Final[dict[str, Any]] = {"pool_size": 10, "max_overflow": 90, "pool_timeout": COMMAND, "pool_recycle": 300}
"""10 to 100 connections; one older than 300 s is replaced, so none idles for longer."""
FILE_POOL: Final[dict[str, Any]] = {"pool_size": 5, "max_overflow": 0, "pool_timeout": COMMAND}
"""SQLite has one writer at a time, and a thread for each connection."""
DRIVERS: Final = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
ASYNC: Final = ("postgresql+asyncpg", "postgresql+psycopg", "sqlite+aiosqlite")
LOCK: Final = 7_316_001
"""Of PostgreSQL: one process at a time makes the tables."""


def usable(url: str) -> URL:
    """Returns a URL with a driver of ours. Raises ValueError, which does not show the URL: it may hold a password."""
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        made = None
    if made is not None and made.drivername in ASYNC:
        return made
    if made is not None and made.get_backend_name() in DRIVERS:
        return made.set(drivername=DRIVERS[made.get_backend_name()])
    raise ValueError(
        "the database is no URL of SQLite or PostgreSQL; use sqlite:///FILE or postgresql://USER@HOST/NAME"
    )


class Database:
    """An engine, sessions and the store.

    Args:
        url: see `usable`.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(usable(url))
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(self.engine, expire_on_commit=False)
        self.store = SqlStore(self.engine)

    async def start(self) -> None:
        """Makes what tables are missing."""
        async with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            await connection.run_sync(Table.metadata.create_all)
        await aupgrade(self.store)

    async def stop(self) -> None:
        """Closes every connection."""
        await self.store.aclose()
        try:
            async with asyncio.timeout(5.0):
                await self.engine.dispose()
        except TimeoutError:
            LOGGER.warning("the database did not say goodbye")

    async def run(self, body: Callable[[AsyncSession], Awaitable[T]], **options: Any) -> T:
        """Runs a function of a session in a transaction, again where the database asks for it."""
        return await run_transaction(self.sessions, body, **options)

    async def read(self, body: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Runs a function that only reads."""
        return await self.run(body, name="reads")


def _engine(url: URL) -> AsyncEngine:
    if url.drivername == "postgresql+asyncpg":
        limits: dict[str, Any] = {"timeout": COMMAND, "command_timeout": COMMAND}
    elif url.drivername == "postgresql+psycopg":
        limits = {"connect_timeout": int(COMMAND), "options": f"-c statement_timeout={int(COMMAND * 1000)}"}
    else:
        engine = create_async_engine(url, connect_args={"timeout": 5.0}, hide_parameters=True, **FILE_POOL)
        event.listen(engine.sync_engine, "connect", _tune)
        return engine
    return create_async_engine(url, connect_args=limits, pool_pre_ping=True, hide_parameters=True, **POOL)


def _tune(connection: Any, record: object) -> None:
    """Lets readers of SQLite go on beside the writer."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
