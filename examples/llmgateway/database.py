"""The database: every call under its policy, connections that come back by themselves, and a state to listen to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar
from weakref import WeakSet

from sqlalchemy import MetaData, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from examples.llmgateway.failures import DatabaseAwayError, database_away, database_lost
from seawall import Pipeline, Timeout
from seawall.integrations.opentelemetry import Traced

LOGGER = logging.getLogger("llmgateway")
T = TypeVar("T")
State = Literal["connecting", "connected", "lost", "closed"]
DRIVER: Final = 30
"""Seconds after which the driver itself gives up on a command, or on waiting for a connection of the pool."""
WAITING: Final = 0.8
"""Share of a call's time for which SQLite waits for a lock. It waits on a thread, which nothing can cancel, so it gives
up by itself before the call's time is up: with the driver's 30 s, a call of 5 s would hold its connection for 30."""
GOODBYE: Final = 5.0
"""Seconds that stopping waits for calls that were cancelled, and then for the server. A silent one would otherwise take
30 s for each connection of the pool, one after the other."""
POOL: Final[dict[str, Any]] = {"pool_size": 10, "max_overflow": 90, "pool_timeout": DRIVER, "pool_recycle": 300}
"""10 to 100 connections; one older than 300 s is replaced, so none idles for longer."""
FILE_POOL: Final[dict[str, Any]] = {"pool_size": 5, "max_overflow": 0, "pool_timeout": DRIVER}
"""SQLite has one writer at a time, and a thread for each connection."""


def usable(url: str) -> URL:
    """Returns a URL with a driver of ours. Raises ValueError, which does not show the URL: it may hold a password."""
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        made = None
    drivers = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    if made is not None and made.get_backend_name() in drivers:
        return made.set(drivername=drivers[made.get_backend_name()])
    raise ValueError(
        "the database is no URL of SQLite or PostgreSQL; use sqlite:///FILE or postgresql://USER@HOST/NAME"
    )


class Database:
    """A database of SQLite or PostgreSQL.

    What `run` is given must be repeatable: it is run again in a transaction of its own after a failure that may pass,
    and then it is not known whether the first one was committed.

    Args:
        url: where it is.
        tables: what is made there where it is missing.
        policy: around every call.
        connecting: around connecting, at the start and after the connection was lost.
    """

    def __init__(self, url: str, tables: MetaData, *, policy: Pipeline, connecting: Pipeline) -> None:
        self._tables, self._policy, self._connecting = tables, policy, connecting
        self.state: State = "connecting"
        self._listeners: list[Callable[[State, State], None]] = []
        self._coming_back: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[Any]] = set()  # cancelled, and not at their end yet
        self.engine = _engine(usable(url), WAITING * policy.get(Timeout).seconds)
        self._open: WeakSet[Any] = WeakSet()  # the driver's connections, to be cut off from a silent server
        event.listen(self.engine.sync_engine, "connect", self._opened)

    def listen(self, listener: Callable[[State, State], None]) -> None:
        """Tells a plain function of every change of `state`: the old one, the new one."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Connects, and makes the tables. Where that fails, it goes on trying in the background."""
        try:
            await self._connecting.acall(self._connect)
        except Exception as error:
            if not database_away(error):
                raise
            LOGGER.error("the database is not there yet: %s", _brief(error))  # noqa: TRY400 - one line says it all
            self._lost()

    async def stop(self) -> None:
        """Closes every connection, that of a silent server too."""
        if self._coming_back is not None:
            self._coming_back.cancel()
            await asyncio.wait([self._coming_back])
        if self._leaving:
            await asyncio.wait(list(self._leaving), timeout=GOODBYE)
        try:
            async with asyncio.timeout(GOODBYE):
                await self.engine.dispose()
        except TimeoutError:
            LOGGER.warning("the database did not say goodbye")
            for connection in list(self._open):
                connection.terminate()
        self._is("closed")

    def _opened(self, connection: Any, record: object) -> None:
        if hasattr(connection.driver_connection, "terminate"):  # of asyncpg; a file says goodbye at once
            self._open.add(connection.driver_connection)

    @Traced("database")
    async def run(self, body: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Runs a function of a connection in a transaction, and commits. Raises DatabaseAwayError."""
        try:
            result = await self._policy.acall(self._once, body)
        except Exception as error:
            if not database_away(error):
                raise
            if database_lost(error):
                self._lost()
            raise DatabaseAwayError from error
        if self.state == "lost":
            self._is("connected")
        return result

    async def _once(self, body: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Makes one attempt. It ends when its time is up, and not when the driver has done with its silent server.

        A driver that is cancelled takes 2 s more to say goodbye (asyncpg), or cannot be cancelled at all (SQLite).
        """
        working = asyncio.create_task(self._transaction(body))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            if working.cancel():
                self._leaving.add(working)
                working.add_done_callback(self._left)
            raise

    def _left(self, working: asyncio.Task[Any]) -> None:
        self._leaving.discard(working)
        if not working.cancelled():
            working.exception()  # nobody waits for it any more

    async def _transaction(self, body: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self.engine.connect() as connection:
            try:
                result = await body(connection)
                await connection.commit()
            except asyncio.CancelledError:
                await connection.invalidate()  # given back, it would ask a silent server for a rollback, and wait
                raise
        return result

    async def _connect(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(self._tables.create_all)
        self._is("connected")

    def _lost(self) -> None:
        self._is("lost")
        if self._coming_back is None or self._coming_back.done():
            self._coming_back = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        """Connects again, round after round of the policy, until a connection is there."""
        while self.state == "lost":
            try:
                await self._connecting.acall(self._connect)
            except Exception as error:
                if not database_away(error):
                    LOGGER.exception("the database cannot be used")
                    return

    def _is(self, state: State) -> None:
        old, self.state = self.state, state
        if old == state:
            return
        LOGGER.log(logging.WARNING if state == "lost" else logging.INFO, "database: %s -> %s", old, state)
        for listener in self._listeners:
            try:
                listener(old, state)
            except Exception:
                LOGGER.exception("a listener of the database's state failed")


def _engine(url: URL, waiting: float) -> AsyncEngine:
    if url.get_backend_name() == "postgresql":
        limits = {"timeout": DRIVER, "command_timeout": DRIVER}
        return create_async_engine(url, connect_args=limits, pool_pre_ping=True, hide_parameters=True, **POOL)
    engine = create_async_engine(url, connect_args={"timeout": waiting}, hide_parameters=True, **FILE_POOL)
    event.listen(engine.sync_engine, "connect", _tune)
    return engine


def _tune(connection: Any, record: object) -> None:
    """Lets readers of SQLite go on beside the writer; a crash of the machine may cost the last commits."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}"
