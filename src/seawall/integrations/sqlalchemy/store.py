"""The store in a database of the user's own: SQLite or PostgreSQL, by his own engine, in his own transactions."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar, Unpack, overload

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from seawall._core import arguments
from seawall._core.clock import refuse_to_block
from seawall._core.forks import renew_after_fork
from seawall._core.names import check_name
from seawall.durable.dialect import POSTGRESQL, Dialect
from seawall.durable.script import Executor, Script
from seawall.durable.store import CLAIMS, RECORDS, StoreError, Wakening
from seawall.integrations.sqlalchemy.connection_end import at_commit_of
from seawall.integrations.sqlalchemy.conversing import DIALECTS
from seawall.integrations.sqlalchemy.enlisting import enlisted, plain, sync_engine
from seawall.integrations.sqlalchemy.hooks import hooks_of
from seawall.integrations.sqlalchemy.notices import Hearing, hearing
from seawall.integrations.sqlalchemy.own import Own
from seawall.integrations.sqlalchemy.transactions import TransactionOptions, run_transaction

T = TypeVar("T")
S = TypeVar("S", bound=Session)
A = TypeVar("A", bound=AsyncSession)
MEMORY: Final = ":memory:"


class SqlStore(Wakening):
    """Keeps seawall's tables in the database of an engine of SQLAlchemy's: PostgreSQL or SQLite.

    What is written with `session=` belongs to the transaction of that session or connection, and is committed or
    rolled back with it. Everything else runs in short transactions of its own on the engine's pool, repeated after a
    deadlock, a lost connection and the like, up to 5 times within 10 s.

    A store on a sync engine serves async code too, on worker threads. One on an AsyncEngine serves async code alone, in
    the event loop of its engine; a caller that is cancelled does not wait for a silent server.

    Args:
        engine: of `create_engine()` or `create_async_engine()`, on a file of SQLite's or on PostgreSQL. It stays the
            user's: nothing here changes or closes it.
        name: what the store is called in errors and logs; default: the engine's URL without its password and options.
        notify: whether other processes on PostgreSQL are told, in the commit, that something waits for them; default
            True. It costs a round trip in each such transaction, and PostgreSQL commits those one after another;
            without it they find what waits when they next look.
    """

    def __init__(self, engine: Engine | AsyncEngine, *, name: str | None = None, notify: bool = True) -> None:
        super().__init__()
        self.engine = engine
        self.dialect = _dialect(engine)
        if name is not None:
            check_name(name)
        self.name = name or engine.url.set(query={}).render_as_string(hide_password=True)
        self.capabilities = frozenset((CLAIMS, RECORDS))
        self._tells = arguments.flag("notify", notify) and self.dialect is POSTGRESQL
        self._own = Own(engine, self.dialect, self.name)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets who hears for this store: a thread or task that this process does not have."""
        self._lock = threading.Lock()
        self._hearing: Hearing | None = None
        self._ears = 0

    def __repr__(self) -> str:
        return f"SqlStore({self.name!r})"

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in a transaction of its own. Raises StoreError; TypeError for a store on an AsyncEngine."""
        refuse_to_block("SqlStore.run()")
        return self._own.run(script)

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in a transaction of its own, without blocking the event loop. Raises StoreError."""
        return await self._own.arun(script)

    def on(self, session: Any) -> Executor:
        """Returns an executor that runs scripts in the open transaction of a session or connection, sync or async."""
        return enlisted(session, self.dialect, sync_engine(self.engine))

    def after(self, session: Any, channel: str) -> None:
        """Wakes a channel once the transaction of a session or connection has been committed, here and elsewhere."""
        joined = plain(session)
        if isinstance(joined, Connection | AsyncConnection):
            at_commit_of(joined, channel, lambda: self.wake(channel), tells=self._tells)
        else:
            hooks = hooks_of(joined)
            hooks.add_once(_Wake(self, channel))
            if self._tells:
                hooks.channels[channel] = None

    @overload
    def transaction(
        self,
        sessions: async_sessionmaker[A],
        body: Callable[[A], Awaitable[T]],
        **options: Unpack[TransactionOptions],
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def transaction(
        self, sessions: sessionmaker[S], body: Callable[[S], T], **options: Unpack[TransactionOptions]
    ) -> T: ...
    def transaction(self, sessions: Any, body: Any, **options: Unpack[TransactionOptions]) -> Any:
        """Calls `body(session)` in a transaction in this store's database: `run_transaction` with `store=self`."""
        options.setdefault("store", self)
        return run_transaction(sessions, body, **options)

    def close(self) -> None:
        """Hears of other processes no longer. The engine is the user's; one that `open_store` made ends with this."""
        self._deafen()

    async def aclose(self) -> None:
        """Hears of other processes no longer; see `close`."""
        self._deafen()

    def listen(self, channel: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` when a channel is woken, by this process or, on PostgreSQL, by another.

        Of other processes it hears on a connection of its own, beside the pool, for as long as somebody listens; with
        an AsyncEngine it must be called in the engine's event loop for that.
        """
        end = super().listen(channel, listener)
        with self._lock:
            self._ears += 1
            if self._hearing is None and self._tells:
                self._hearing = hearing(self.engine, self._heard)

        def stop() -> None:
            end()
            with self._lock:
                self._ears -= 1
                last = self._ears == 0
            if last:
                self._deafen()

        return _once(stop)

    def _deafen(self) -> None:
        with self._lock:
            heard, self._hearing = self._hearing, None
        if heard is not None:
            heard.end()

    def _heard(self, channel: str | None) -> None:
        for each in list(self._listeners) if channel is None else [channel]:
            self.wake(each)


@dataclass(frozen=True)
class _Wake:
    """A hook; equal ones wake the same."""

    store: SqlStore
    channel: str

    def __call__(self) -> None:
        self.store.wake(self.channel)


def _once(fn: Callable[[], None]) -> Callable[[], None]:
    """Returns a function that calls `fn` the first time."""
    left = [fn]

    def call() -> None:
        while left:
            left.pop()()

    return call


def _dialect(engine: object) -> Dialect:
    if not isinstance(engine, Engine | AsyncEngine):
        raise TypeError(f"engine={engine!r} is no engine; use the one of create_engine() or create_async_engine()")
    if engine.dialect.name not in DIALECTS:
        raise StoreError(f"engine={engine!r} is on {engine.dialect.name}; use one on PostgreSQL or SQLite")
    place = engine.url.database or MEMORY
    if engine.dialect.name == "sqlite" and (MEMORY in place or "memory" in engine.url.query.values()):
        raise StoreError(
            f"engine={engine!r} is in memory, which nothing outlives; use a file, or, in tests, "
            "seawall.durable.EmbeddedStore.in_memory()"
        )
    return DIALECTS[engine.dialect.name]
