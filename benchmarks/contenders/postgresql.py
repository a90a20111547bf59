"""Transactions on PostgreSQL, against the same statements in the same transactions, written by hand on the same engine.

The server is a private one on this machine, which forces nothing to the disk: what is left is the price of the
libraries and of the round trips, so the share of seawall's own work is the largest that it can be.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, TypeAlias
from uuid import uuid4

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.measure import Result, Settings, figure
from benchmarks.rows import Row
from seawall.durable import Idempotency, upgrade
from seawall.integrations.sqlalchemy import SqlStore, run_transaction
from tests.servers import Database, PostgreSQL

CALLS = 100
BY_HAND = "by hand"
Work: TypeAlias = Callable[[str], Any]
AsyncWork: TypeAlias = Callable[[str], Awaitable[Any]]

TABLE = "CREATE TABLE effects (id TEXT PRIMARY KEY, count INTEGER NOT NULL)"
ADD = text("INSERT INTO effects (id, count) VALUES (:id, 1)")
COUNT = text("UPDATE effects SET count = count + 1 WHERE id = :id")
CLAIM = text(
    """INSERT INTO seawall_idempotency (namespace, key, fingerprint, state, owner, epoch, lease_until, takeover,
    created_at, updated_at, expires_at) VALUES ('bench', :id, '', 'running', :owner, 1, :lease, 1, :now, :now, :later)
    ON CONFLICT (namespace, key) DO NOTHING RETURNING epoch"""
)
DONE = text(
    """UPDATE seawall_idempotency SET state = 'done', result = :result, updated_at = :now, expires_at = :later
    WHERE namespace = 'bench' AND key = :id AND owner = :owner AND epoch = 1 AND state = 'running' RETURNING epoch"""
)


@dataclass(frozen=True)
class PostgreSQLRow(Row):
    """Contenders that take turns on a database of their own."""

    def measured(self, settings: Settings) -> Result:
        try:
            server = PostgreSQL()
        except FileNotFoundError as error:
            return Result({}, {"seawall": str(error), BY_HAND: str(error)})
        with server, server.database() as database:
            engine = create_engine(database.psycopg_url)
            with engine.begin() as connection:
                connection.execute(text(TABLE))
            upgrade(SqlStore(engine))
            rounds = self.raced(database, 2 * settings.repeats)
            engine.dispose()
        return Result({name: figure(took, "µs") for name, took in rounds.items()})

    def raced(self, database: Database, repeats: int) -> dict[str, list[float]]:
        raise NotImplementedError


class Sync(PostgreSQLRow):
    """A transaction of two statements, by psycopg."""

    def raced(self, database: Database, repeats: int) -> dict[str, list[float]]:
        engine = create_engine(database.psycopg_url)
        sessions = sessionmaker(engine)

        def body(session: Session, key: str) -> None:
            session.execute(ADD, {"id": key})
            session.execute(COUNT, {"id": key})

        def by_hand(key: str) -> None:
            with sessions() as session, session.begin():
                body(session, key)

        def ours(key: str) -> None:
            run_transaction(sessions, lambda session: body(session, key))

        def some(work: Work, keys: list[str]) -> None:
            for key in keys:
                work(key)

        rounds = in_turns({BY_HAND: by_hand, "seawall": ours}, some, repeats)
        engine.dispose()
        return rounds


class Async(PostgreSQLRow):
    """A transaction of two statements, by asyncpg."""

    def raced(self, database: Database, repeats: int) -> dict[str, list[float]]:
        with asyncio.Runner() as runner:
            engine = create_async_engine(database.asyncpg_url)
            rounds = in_turns(self.contenders(engine), lambda *some: runner.run(each(*some)), repeats)
            runner.run(engine.dispose())
        return rounds

    def contenders(self, engine: Any) -> dict[str, AsyncWork]:
        sessions = async_sessionmaker(engine)

        async def body(session: AsyncSession, key: str) -> None:
            await session.execute(ADD, {"id": key})
            await session.execute(COUNT, {"id": key})

        async def by_hand(key: str) -> None:
            async with sessions() as session, session.begin():
                await body(session, key)

        async def ours(key: str) -> None:
            await run_transaction(sessions, lambda session: body(session, key))

        return {BY_HAND: by_hand, "seawall": ours}


class Idempotent(Async):
    """An idempotent operation whose effect and result commit together, by asyncpg."""

    def contenders(self, engine: Any) -> dict[str, AsyncWork]:
        sessions = async_sessionmaker(engine)
        operations = Idempotency(SqlStore(engine), "bench")
        result = json.dumps(1).encode()

        async def body(session: AsyncSession, key: str) -> int:
            await session.execute(ADD, {"id": key})
            return 1

        async def by_hand(key: str) -> None:
            now, owner = time.time(), uuid4().hex
            values = {"id": key, "owner": owner, "now": now, "later": now + 86400}
            async with sessions() as session, session.begin():
                assert (await session.execute(CLAIM, {**values, "lease": now + 30})).all()
            async with sessions() as session, session.begin():
                await body(session, key)
                assert (await session.execute(DONE, {**values, "result": result})).all()

        async def ours(key: str) -> None:
            await operations.atransact(key, sessions, lambda session: body(session, key))

        return {BY_HAND: by_hand, "seawall": ours}


def in_turns(works: dict[str, Any], some: Callable[[Any, list[str]], None], repeats: int) -> dict[str, list[float]]:
    """Times rounds of calls with a new key each, in microseconds a call; the first round makes connections."""
    numbers = itertools.count()
    rounds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(repeats + 1):
        for name in [*works][:: -1 if number % 2 else 1]:
            keys = [f"{next(numbers)}" for _ in range(CALLS)]
            gc.collect()
            start = perf_counter_ns()
            some(works[name], keys)
            if number:
                rounds[name].append((perf_counter_ns() - start) / CALLS / 1000)
    return rounds


async def each(work: AsyncWork, keys: list[str]) -> None:
    for key in keys:
        await work(key)


ROWS: list[Row] = [
    Sync("transaction-sync", "a transaction of two statements on PostgreSQL (psycopg), sync"),
    Async("transaction-async", "a transaction of two statements on PostgreSQL (asyncpg), async"),
    Idempotent("idempotent-postgresql", "an idempotent call, its effect in one commit, on PostgreSQL (asyncpg), async"),
]
