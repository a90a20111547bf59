"""Every store there is, on fresh data, used in one colour: what the contract tests run over.

A test that asks for `engine` runs once for each of `RECORDS`, the stores with transactions; `store_engine(name)` as its
mark, or `over(*names)`, chooses others. A contract is written once, by `run`, `call` and `enlisted`::

    def test_it(engine: Engine) -> None:
        assert 1 == engine.run(partial(script, "key"))  # store.run, or arun in the engine's event loop
        engine.call(claims, "claim", "key")  # claims.claim, or claims.aclaim
        engine.enlisted(partial(script, "key"))  # in a transaction of the user's, on store.on(session)

A new kind of store is one line in `KINDS`.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis.asyncio
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from seawall.durable import EmbeddedStore, Store, aupgrade, open_store, upgrade
from seawall.durable.script import Script
from seawall.durable.store import CLAIMS
from seawall.durable.store import RECORDS as RECORDS_CAPABILITY
from seawall.integrations.redis import RedisStore
from seawall.integrations.sqlalchemy import SqlStore
from tests.servers import Database, PostgreSQL

PATIENCE = 30.0  # real seconds after which what hangs is given up
DATABASE = "seawall_engines"
OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


class _AsyncRedis(RedisStore):
    """A store on an async client of its own."""

    def __init__(self, url: str) -> None:
        self._own = redis.asyncio.Redis.from_url(url)
        super().__init__(self._own)

    async def aclose(self) -> None:
        """Closes the client."""
        await self._own.aclose()


@dataclass(frozen=True)
class Kind:
    """A kind of store: what it can hold, in which colour it is used, and what makes one at a place."""

    name: str
    make: Callable[[str], Any]
    place: str  # "file", "postgresql" or "redis"
    is_async: bool = False
    capabilities: frozenset[str] = frozenset((CLAIMS, RECORDS_CAPABILITY))


def _sql(**options: Any) -> Callable[[str], SqlStore]:
    return lambda url: SqlStore(create_engine(url, **options))


def _asql(**options: Any) -> Callable[[str], SqlStore]:
    return lambda url: SqlStore(create_async_engine(url, **options))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("embedded", EmbeddedStore, "file"),
        Kind("embedded-async", EmbeddedStore, "file", is_async=True),
        Kind("sqlite", lambda path: _sql()(f"sqlite:///{path}"), "file"),
        Kind("aiosqlite", lambda path: _asql()(f"sqlite+aiosqlite:///{path}"), "file", is_async=True),
        Kind("psycopg", lambda url: _sql()(_driver(url, "psycopg")), "postgresql"),
        Kind("psycopg-threads", lambda url: _sql()(_driver(url, "psycopg")), "postgresql", is_async=True),
        Kind("psycopg-async", lambda url: _asql()(_driver(url, "psycopg")), "postgresql", is_async=True),
        Kind("asyncpg", lambda url: _asql()(_driver(url, "asyncpg")), "postgresql", is_async=True),
        Kind("redis", lambda url: open_store(url), "redis", capabilities=frozenset((CLAIMS,))),
        Kind("redis-async", lambda url: _AsyncRedis(url), "redis", is_async=True, capabilities=frozenset((CLAIMS,))),
    )
}
CLAIMING = ["embedded", "embedded-async", "sqlite", "psycopg", "asyncpg", "redis", "redis-async"]
"""For claims, locks and counters. The others differ in how they run scripts, which the contract of stores asks."""
RECORDS = [name for name, kind in KINDS.items() if RECORDS_CAPABILITY in kind.capabilities]


def _driver(url: str, driver: str) -> str:
    return make_url(url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


class _Owner(Protocol):
    """Anything with methods in both colours."""


class Engine:
    """A store of one kind, and how a test uses it whatever its colour."""

    def __init__(self, kind: Kind, place: str, runner: asyncio.Runner) -> None:
        self.kind, self.name, self.place = kind, kind.name, place
        self.capabilities = kind.capabilities
        self._runner = runner
        self._stores: list[Any] = []
        self.store = self.another()

    def another(self) -> Any:
        """Returns another store on the same data, as another process would have it."""
        store = self.kind.make(self.place)
        self._stores.append(store)
        return store

    def awaited(self, coroutine: Any) -> Any:
        """Runs a coroutine in the engine's event loop."""
        return self._runner.run(asyncio.wait_for(coroutine, PATIENCE))

    def call(self, owner: _Owner, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls a method, or, where the engine is async, its twin with an `a` before its name."""
        if self.kind.is_async:
            return self.awaited(getattr(owner, f"a{method}")(*arguments, **options))
        return getattr(owner, method)(*arguments, **options)

    def run(self, script: Callable[[], Script[Any]], store: Store | None = None) -> Any:
        """Runs a script in a transaction of its own."""
        return self.call(store or self.store, "run", script)

    def together(self, scripts: list[Callable[[], Script[Any]]]) -> list[Any]:
        """Runs scripts at the same time, each in a transaction of its own: as tasks, or on threads.

        When all have ended, the first failure is raised.
        """

        async def one(script: Callable[[], Script[Any]]) -> Any:
            run = self.store.arun(script) if self.kind.is_async else asyncio.to_thread(self.store.run, script)
            return await run

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*map(one, scripts), return_exceptions=True)

        results: list[Any] = self.awaited(all_of_them())
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    def enlisted(self, *scripts: Callable[[], Script[Any]], failure: Exception | None = None) -> list[Any]:
        """Runs scripts in one transaction of the user's, which is rolled back where `failure` is raised in it."""
        return _ENLISTED[type(self.store).__name__, self.kind.is_async](self, scripts, failure)

    def close(self) -> None:
        """Closes all stores."""
        for store in self._stores:
            engine = getattr(store, "engine", None)
            self.call(store, "close")
            if engine is None:
                continue
            if hasattr(engine, "sync_engine"):
                self.awaited(engine.dispose())
            else:
                engine.dispose()


def _on_effect(engine: Engine, scripts: Any, failure: Exception | None) -> list[Any]:
    def effect(connection: Any) -> list[Any]:
        results = [engine.store.on(connection).run(script) for script in scripts]
        if failure is not None:
            raise failure
        return results

    return engine.call(engine.store, "transact", effect)  # type: ignore[no-any-return]


def _on_session(engine: Engine, scripts: Any, failure: Exception | None) -> list[Any]:
    with Session(engine.store.engine) as session, session.begin():
        results = [engine.store.on(session).run(script) for script in scripts]
        if failure is not None:
            raise failure
    return results


def _on_async_session(engine: Engine, scripts: Any, failure: Exception | None) -> list[Any]:
    async def work() -> list[Any]:
        async with AsyncSession(engine.store.engine) as session, session.begin():
            results = [await engine.store.on(session).arun(script) for script in scripts]
            if failure is not None:
                raise failure
        return results

    return engine.awaited(work())  # type: ignore[no-any-return]


def _on_either(engine: Engine, scripts: Any, failure: Exception | None) -> list[Any]:
    sessions = _on_async_session if hasattr(engine.store.engine, "sync_engine") else _on_session
    return sessions(engine, scripts, failure)


_ENLISTED: dict[tuple[str, bool], Any] = {
    ("EmbeddedStore", False): _on_effect,
    ("EmbeddedStore", True): _on_effect,
    ("SqlStore", False): _on_session,
    ("SqlStore", True): _on_either,
}


@contextmanager
def opened(name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    """Gives an engine by its name, with its tables, on data of its own."""
    kind = KINDS[name]
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        engine = Engine(kind, stack.enter_context(_place(kind, request, folder)), runner)
        stack.callback(engine.close)
        if RECORDS_CAPABILITY in kind.capabilities and kind.place == "file":
            if kind.is_async:
                engine.awaited(aupgrade(engine.store))
            else:
                upgrade(engine.store)
        yield engine


@contextmanager
def _place(kind: Kind, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if kind.place == "file":
        yield str(folder / "seawall.db")
    elif kind.place == "redis":
        yield request.getfixturevalue("redis_url")
    else:
        yield _emptied(request.getfixturevalue("postgresql_server"))


def _emptied(server: PostgreSQL) -> str:
    """Returns the URL of the one database of these tests, with new tables: ten times as fast as a database for each."""
    if server.main.sql(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'") != "1":
        server.create(DATABASE)
    url = Database(server, DATABASE).url
    store = _sql(poolclass=NullPool)(_driver(url, "psycopg"))
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    upgrade(store)
    return url


@pytest.fixture(params=RECORDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each store that has transactions, in turn; `over(...)` chooses others."""
    with opened(request.param, request, tmp_path) as made:
        yield made


def over(*names: str) -> pytest.MarkDecorator:
    """Returns a mark that runs a test over these kinds alone."""
    return pytest.mark.parametrize("engine", names, indirect=True)
