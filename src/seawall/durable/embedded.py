"""The store in a file of this host: the standard library's sqlite3, nothing to install or to start."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import weakref
from collections.abc import Callable
from contextvars import copy_context
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock, DefaultClock, refuse_to_block
from seawall.durable.dialect import SQLITE
from seawall.durable.embedded_connection import PLAIN, Connection
from seawall.durable.embedded_file import File
from seawall.durable.embedded_place import checked_path
from seawall.durable.migrations import upgrading
from seawall.durable.script import Executor, Script, Statement
from seawall.durable.store import CLAIMS, RECORDS, StoreError, Wakening
from seawall.durable.writer import Writer

T = TypeVar("T")

BUSY_TIMEOUT: Final = 5.0
EFFECT_TIMEOUT: Final = 1.0


class EmbeddedStore(Wakening):
    """A store in an SQLite file: of one host, for any number of its processes, threads and event loops.

    What is committed survives the death of the process at any moment and, with `synchronous="full"`, the loss of power.
    One thread writes, and commits all that waits together, so that many small transactions cost the disk no more than
    one. It starts with the first use, in each process anew; the file is made then, or brought to this version of the
    tables. All tables of seawall begin with `seawall_`; those of the application may live in the same file, and its
    effects then commit together with what seawall keeps (`transact`).

    In a forked child it goes on with a connection of its own. A file on a network file system is refused (on Linux).

    `with EmbeddedStore(...) as store` and `async with` open the file at once, and close it at the end.

    Args:
        path: the file; its folder must exist. Beside it appear `PATH-wal`, `PATH-shm` and `PATH-turn`.
        clock: default: the system's. Leases of other processes are judged by it.
        synchronous: "full" (default): a commit is on the disk when it returns; "normal": power loss may take
            the last ones, but damages nothing.
        busy_timeout: seconds to wait while another process holds the file; default 5.
        effect_timeout: seconds that one effect may take in `transact`; default 1.

    Raises:
        StoreError: in use: the disk is full, the file is locked for longer than `busy_timeout`, cannot be
            written, is damaged, no database, or of a newer version of seawall. What was asked for has then
            not happened, and may be tried again.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock | None = None,
        synchronous: Literal["full", "normal"] = "full",
        busy_timeout: Seconds = BUSY_TIMEOUT,
        effect_timeout: Seconds = EFFECT_TIMEOUT,
    ) -> None:
        self._make(checked_path(path), clock, synchronous, busy_timeout, effect_timeout)

    def _make(
        self, path: Path | None, clock: Clock | None, synchronous: str, busy_timeout: Seconds, effect_timeout: Seconds
    ) -> None:
        super().__init__()
        self.name = "sqlite://" if path is None else f"sqlite:///{path}"
        self.capabilities = frozenset((CLAIMS, RECORDS))
        self._clock: Clock | DefaultClock = arguments.clock("clock", clock)
        self._effect_timeout = arguments.seconds("effect_timeout", effect_timeout)
        file = File(
            path,
            name=self.name,
            synchronous=arguments.choice("synchronous", synchronous, ("full", "normal")),
            busy_timeout=arguments.seconds("busy_timeout", busy_timeout),
            prepare=partial(_converse, upgrading, self._clock),
        )
        self._writer = Writer(file)
        weakref.finalize(self, self._writer.stop).atexit = False

    @classmethod
    def in_memory(cls, *, clock: Clock | None = None) -> EmbeddedStore:
        """Returns a store that is gone with its object; for tests. A forked child has an empty one."""
        store = cls.__new__(cls)
        store._make(None, clock, "full", BUSY_TIMEOUT, EFFECT_TIMEOUT)
        return store

    def __repr__(self) -> str:
        return f"EmbeddedStore({self.name!r})"

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in a transaction, which has been committed when this returns."""
        refuse_to_block("EmbeddedStore.run()")
        return self._writer.call(partial(_converse, script, self._clock), repeatable=True)

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in a transaction, which has been committed when this returns."""
        return await self._writer.acall(partial(_converse, script, self._clock), repeatable=True)

    def transact(self, effect: Callable[[sqlite3.Connection], T]) -> T:
        """Calls `effect(connection)` in a transaction, commits, and returns what it returned.

        The effect changes the application's own tables by `connection`, and by `session=connection` it takes part
        in what seawall keeps: either all of it is committed, or nothing. It is a plain function and runs on the
        store's one thread, in the caller's context, while all others wait: what it needs to know is found out before.
        It must touch nothing but the database: where the commit together with others fails, it is called again, alone.

        Args:
            effect: gets a connection of sqlite3, in a transaction that it must not end; savepoints are its own affair.

        Raises:
            StoreError: it took more than `effect_timeout` seconds or tried to end the transaction, or the file
                failed; nothing of it was kept.
            CommitUnknownError: the disk failed while it was committed.
            Exception: what the effect raised; nothing of it was kept.
        """
        refuse_to_block("EmbeddedStore.transact()")
        return self._writer.call(self._lending(effect))

    async def atransact(self, effect: Callable[[sqlite3.Connection], T]) -> T:
        """Calls `effect(connection)` in a transaction, without blocking the event loop; see `transact`.

        The effect is a plain function here, too. A caller that is cancelled does not know whether it was committed.
        """
        return await self._writer.acall(self._lending(effect))

    def _lending(self, effect: Callable[[sqlite3.Connection], T]) -> Callable[[Connection], T]:
        arguments.function("effect", effect, "a plain function of one argument, the connection")
        if inspect.iscoroutinefunction(effect):
            raise TypeError(f"effect={effect!r} is async; {PLAIN}")
        context, seconds = copy_context(), self._effect_timeout
        return lambda connection: connection.lend(lambda lent: context.run(effect, lent), seconds)

    def on(self, session: Any) -> Executor:
        """Returns an executor that runs scripts inside the open transaction of a connection.

        Args:
            session: the connection that an effect was given, or one of your own to the same file, in a transaction.
        """
        if not isinstance(session, sqlite3.Connection):
            raise TypeError(
                f"session={session!r} is no connection of sqlite3; use the one that transact() gives to its effect"
            )
        return _On(session, self._clock)

    def after(self, session: Any, channel: str) -> None:
        """Wakes a channel once the effect that has this connection was committed; with a foreign one, at once."""
        if isinstance(session, Connection):
            session.after.append(partial(self.wake, channel))
        else:
            self.wake(channel)

    def close(self) -> None:
        """Finishes what was begun and closes the file. What is asked for later raises StoreError."""
        thread = self._writer.stop()
        if thread is not None:
            refuse_to_block("EmbeddedStore.close()")
            thread.join()

    async def aclose(self) -> None:
        """Finishes what was begun and closes the file, without blocking the event loop."""
        thread = self._writer.stop()
        if thread is not None:
            await asyncio.to_thread(thread.join)

    def __enter__(self) -> EmbeddedStore:
        refuse_to_block("EmbeddedStore")
        self._writer.call(_nothing)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> EmbeddedStore:
        await self._writer.acall(_nothing)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def open_url(url: str, **options: Any) -> EmbeddedStore:
    """Returns the store of a URL: `sqlite:///relative.db` or `sqlite:////absolute.db`; options are its arguments.

    Raises:
        StoreError: the URL names no file.
        TypeError: an option that is no argument of an `EmbeddedStore`.
    """
    wanted = "sqlite:///shop.db, or sqlite:////var/lib/shop/shop.db"
    place, _, query = url.removeprefix("sqlite://").partition("?")
    if place in ("", "/", "/:memory:"):
        raise StoreError(f"{url} names no file, and memory keeps nothing; use {wanted}")
    if query:
        raise StoreError(f"{url} has options behind its ?; give them to the call: open_store(url, busy_timeout=10)")
    if not place.startswith("/"):
        raise StoreError(f"{url} names a host, and a file has none; use three slashes: {wanted}")
    arguments.check_names(EmbeddedStore, options, 1, "open_store('sqlite:///shop.db', busy_timeout=10)")
    return EmbeddedStore(place[1:], **options)


class _On:
    """Runs scripts in a transaction that somebody else began and will end."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock | DefaultClock) -> None:
        self._connection = connection
        self._clock = clock

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script in that transaction. Raises StoreError where there is none."""
        if not self._connection.in_transaction:
            raise StoreError("this connection is in no transaction; connection.execute('BEGIN IMMEDIATE') begins one")
        return _converse(script, self._clock, self._connection)

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """Does so at once: a connection of sqlite3 has but one colour."""
        return self.run(script)


def _nothing(connection: Connection) -> None:
    """Opens the file, and asks nothing of it."""


def _converse(script: Callable[[], Script[T]], clock: Clock | DefaultClock, connection: sqlite3.Connection) -> T:
    """Runs a script on a connection."""
    now = clock.wall()
    cursor = sqlite3.Cursor(connection)  # a plain one: rows are tuples, whatever the connection's owner prefers
    talk = script()
    try:
        statement, values = next(talk)
        while True:
            rows = cursor.execute(_rendered(statement), {"now": now, **values}).fetchall()
            statement, values = talk.send(rows)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def _rendered(statement: Statement) -> str:
    return SQLITE.render(statement.text)
