"""Scripts in transactions of their own, on connections of the engine's pool, repeated while that may help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from seawall._core.backoff import Backoff
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.crash import point
from seawall.durable.dialect import POSTGRESQL, Dialect
from seawall.durable.script import Script
from seawall.integrations.sqlalchemy.conversing import begin, converse
from seawall.integrations.sqlalchemy.failures import explained, trouble
from seawall.integrations.sqlalchemy.leaving import Line, let_go, until_left
from seawall.integrations.sqlalchemy.watchdog import Bounded

T = TypeVar("T")

ATTEMPTS: Final = 5
BACKOFF: Final = Backoff.exponential(0.1, cap=2.0, jitter="equal")
MAX_ELAPSED: Final = 10.0
SILENCE: Final = 30.0


class Own:
    """Runs scripts, each in a short transaction of its own; an executor.

    On PostgreSQL such a transaction sees what others commit meanwhile, whatever the engine's usual ones do: a script
    that waited for a row must see what became of it.

    Args:
        engine: whose pool is used. On a sync engine, `arun` runs on a worker thread.
        dialect: the engine's.
        name: what the store is called in errors.
        attempts: at most so many, and none that begins later than 10 s after the first.
        silence: seconds that an attempt may wait for the server before its connection is cut; not on SQLite. A sync
            driver that is still connecting keeps to its own limit.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        dialect: Dialect,
        name: str,
        *,
        attempts: int = ATTEMPTS,
        silence: float = SILENCE,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="READ COMMITTED") if dialect is POSTGRESQL else engine
        self._dialect = dialect
        self._name = name
        self._attempts = attempts
        self._silence = silence

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script and commits. Raises StoreError; TypeError on an AsyncEngine."""
        engine = self._engine
        if isinstance(engine, AsyncEngine):
            raise TypeError(f"{self._name} is on an AsyncEngine; use the async form, or a store on a sync engine")
        repeats = _Repeats(self._name, self._attempts)
        while True:
            try:
                with engine.connect() as connection:
                    return self._bounded(connection, script)
            except Exception as error:
                delay = repeats.delay(error)
            DEFAULT_CLOCK.sleep(delay)

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """The same without blocking the event loop. Whoever is cancelled does not wait for a silent server."""
        engine = self._engine
        if not isinstance(engine, AsyncEngine):
            return await asyncio.to_thread(self.run, script)
        repeats = _Repeats(self._name, self._attempts)
        while True:
            line = Line()
            try:
                return await until_left(self._aonce(engine, script, line), line, self._silence)
            except Exception as error:
                delay = repeats.delay(error)
            await DEFAULT_CLOCK.asleep(delay)

    def _bounded(self, connection: Connection, script: Callable[[], Script[T]]) -> T:
        line = Line()
        if self._dialect is not POSTGRESQL:
            return self._once(connection, script, line)
        with Bounded(self._silence, line.cut):
            return self._once(connection, script, line)

    async def _aonce(self, engine: AsyncEngine, script: Callable[[], Script[T]], line: Line) -> T:
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(self._once, script, line)
        except asyncio.CancelledError as error:
            let_go(error)
            raise

    def _once(self, connection: Connection, script: Callable[[], Script[T]], line: Line) -> T:
        line.take(connection)
        begin(connection, self._dialect)
        result = converse(connection, script(), self._dialect)
        point("store.commit.before")
        connection.commit()
        point("store.commit.after")
        return result


class _Repeats:
    """Decides after each failure of a script. One may be repeated whatever became of it: it finds its own rows."""

    def __init__(self, store: str, attempts: int) -> None:
        self._store = store
        self._left = attempts
        self._failures = 0
        self._start = DEFAULT_CLOCK.now()

    def delay(self, error: Exception) -> float:
        """Returns the seconds before the next attempt. Raises where there is none: StoreError, or the failure."""
        self._left -= 1
        self._failures += 1
        delay = BACKOFF.delay(self._failures, None, random.random)
        late = DEFAULT_CLOCK.now() - self._start + delay > MAX_ELAPSED
        if self._left > 0 and not late and trouble(error, connecting=True) is not None:
            return delay
        said = explained(error, self._store)
        try:
            if said is None:
                raise error
            raise said from error
        finally:
            del error, said  # no cycle of failure, traceback and frame
