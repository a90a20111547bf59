"""Databases for tests, by every driver: each with seawall's tables and one of its own, `effects`."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from seawall.durable.migrations import upgrade
from seawall.integrations.sqlalchemy import SqlStore, run_transaction
from seawall.integrations.sqlalchemy.leaving import LEFT
from tests.servers import Database, PostgreSQL

POSTGRESQL = ["psycopg", "psycopg_async", "asyncpg"]
SQLITE = ["pysqlite", "aiosqlite"]
DRIVERS = [*POSTGRESQL, *SQLITE]
SYNC = ["psycopg", "pysqlite"]
PATIENCE = 30.0
EFFECTS = "CREATE TABLE effects (id TEXT PRIMARY KEY, count INTEGER NOT NULL)"
ADD = text("INSERT INTO effects (id, count) VALUES (:id, 1)")
COUNT = text("UPDATE effects SET count = count + 1 WHERE id = :id")
LEAVE = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'effects'")
READ = text("SELECT id, count FROM effects ORDER BY id")


def add(effect: str) -> Callable[[Session], str]:
    """Returns a body that adds an effect, and returns its id."""

    def body(session: Session) -> str:
        session.execute(ADD, {"id": effect})
        return effect

    return body


@dataclass
class World:
    """A database as an application has it: an engine, a factory of sessions, a store. `beside` goes past proxies."""

    driver: str
    url: str
    beside: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sync = self.driver in SYNC
        self.runner = asyncio.Runner()
        make: Any = create_engine if self.sync else create_async_engine
        self.engine: Any = make(self.url, **self.options)
        factory: Any = sessionmaker if self.sync else async_sessionmaker
        self.sessions: Any = factory(self.engine, expire_on_commit=False)
        self.store = SqlStore(self.engine)

    @property
    def is_postgresql(self) -> bool:
        """Whether it is on PostgreSQL."""
        return self.driver in POSTGRESQL

    def transact(self, body: Callable[[Session], Any], **options: Any) -> Any:
        """Runs a transaction in this driver's colour; the body is sync in both."""
        if self.sync:
            return run_transaction(self.sessions, body, **options)
        return self.runner.run(self.atransact(body, **options))

    async def atransact(self, body: Callable[[Session], Any], **options: Any) -> Any:
        """The same in a task."""
        return await run_transaction(self.sessions, lambda session: session.run_sync(body), **options)

    def run(self, script: Any) -> Any:
        """Runs a script of the store's in this driver's colour."""
        return self.store.run(script) if self.sync else self.runner.run(self.store.arun(script))

    def effects(self) -> dict[str, int]:
        """Returns what has been committed, as seen on a connection beside."""
        with beside(self.beside) as connection:
            return dict(connection.execute(READ).all())

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Runs SQL on a connection beside, and commits."""
        with beside(self.beside) as connection:
            result = connection.execute(text(statement), values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
            connection.commit()
            return rows

    def idle(self) -> bool:
        """Whether no connection of the pool is in use."""
        return bool(self.engine.pool.checkedout() == 0)

    def close(self) -> None:
        """Ends its connections."""
        if self.sync:
            self.store.close()
            self.engine.dispose()
        else:
            self.runner.run(self._aclose())
        self.runner.close()

    async def _aclose(self) -> None:
        await self.store.aclose()
        await self.engine.dispose()


@contextmanager
def beside(url: str) -> Iterator[Any]:
    """Gives a connection of its own, by a sync driver."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


@contextmanager
def postgresql_world(server: PostgreSQL, driver: str, *, port: int | None = None, **options: Any) -> Iterator[World]:
    """Gives an empty database of PostgreSQL by a driver, through another port if one is given."""
    database = _emptied(server)
    name = "asyncpg" if driver == "asyncpg" else "psycopg"
    url = make_url(database.url).set(drivername=f"postgresql+{name}", port=port or server.port)
    world = World(driver, url.render_as_string(), database.psycopg_url, options)
    try:
        yield world
    finally:
        server.recover()
        world.close()


def _emptied(server: PostgreSQL) -> Database:
    """Returns the database of these tests, which nobody else is connected with. A new one takes ten times as long."""
    server.recover()
    database = Database(server, "effects")
    if server.main.sql("SELECT 1 FROM pg_database WHERE datname = 'effects'"):
        with beside(server.psycopg_url) as connection:
            connection.execute(LEAVE)
        with beside(database.psycopg_url) as connection:
            connection.execute(text("TRUNCATE effects, seawall_txn, seawall_inbox, seawall_outbox"))
            connection.commit()
    else:
        prepare(server.create("effects").psycopg_url)
    return database


@contextmanager
def sqlite_world(folder: Path, driver: str, **options: Any) -> Iterator[World]:
    """Gives a fresh database of SQLite by a driver."""
    path = folder / f"{driver}.db"
    prepare(f"sqlite:///{path}")
    world = World(driver, f"sqlite+{driver}:///{path}", f"sqlite:///{path}", options)
    try:
        yield world
    finally:
        world.close()


def prepare(url: str) -> None:
    """Makes the tables."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(EFFECTS))
    upgrade(SqlStore(engine))
    engine.dispose()


async def comes_true(condition: Callable[[], bool]) -> None:
    """Waits for a condition while the event loop goes on."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of threads and sockets, which set no event
            await asyncio.sleep(0.002)


async def none_left() -> None:
    """Waits until what cancelled callers have left behind has ended."""
    await comes_true(lambda: not LEFT)
