"""Idempotent calls on embedded SQLite, 100 at a time, against a group commit written by hand for this one purpose.

Both do the same for each call: claim the key, which must be new, run the function, store its result, each change of the
row being committed, by fsync, before it is answered. By hand there are no leases that are looked after, no takeover, no
savepoints, no second process, no store with other parts on it.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeAlias

from benchmarks.measure import Result, Settings, figure
from benchmarks.rows import Row, awork
from seawall.durable import EmbeddedStore, Idempotency

IN_FLIGHT = 100
CALLS = 2_000
PEER = "hand-written group commit"
Call: TypeAlias = Callable[[str], Awaitable[Any]]

TABLE = """CREATE TABLE operation (
    key TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, owner TEXT NOT NULL, lease_until REAL NOT NULL,
    result BLOB, created_at REAL NOT NULL)"""
CLAIM = """INSERT INTO operation (key, state, owner, lease_until, created_at) VALUES (?, 'running', ?, ?, ?)
    ON CONFLICT (key) DO NOTHING RETURNING key"""
DONE = "UPDATE operation SET state = 'done', result = ? WHERE key = ? AND owner = ? AND state = 'running' RETURNING key"


class ByHand:
    """A thread that takes what waits, commits it together, and answers."""

    def __init__(self, path: Path) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._owner = "owner"
        self._path = path
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    async def call(self, key: str) -> Any:
        now = time.time()
        if not await self._ask(CLAIM, (key, self._owner, now + 30.0, now)):
            raise RuntimeError(key)
        result = await awork(1)
        await self._ask(DONE, (json.dumps(result).encode(), key, self._owner))
        return result

    def _ask(self, statement: str, values: tuple[Any, ...]) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self._queue.put((statement, values, future))
        return future

    def _work(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(TABLE)
        cursor = connection.cursor()
        while (job := self._queue.get()) is not None:
            jobs = [job, *(self._queue.get() for _ in range(self._queue.qsize()))]
            cursor.execute("BEGIN IMMEDIATE")
            answers = [(future, cursor.execute(statement, values).fetchall()) for statement, values, future in jobs]
            cursor.execute("COMMIT")
            answers[0][0].get_loop().call_soon_threadsafe(self._answer, answers)
        connection.close()

    @staticmethod
    def _answer(answers: list[Any]) -> None:
        for future, rows in answers:
            future.set_result(rows)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()


@dataclass(frozen=True)
class Idempotent(Row):
    """Calls with a new key each, so many at a time."""

    def measured(self, settings: Settings) -> Result:
        repeats = replace(settings, repeats=max(3, settings.repeats // 2)).repeats
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-bench-")))
            store = stack.enter_context(EmbeddedStore(folder / "seawall.db"))
            operations = Idempotency(store, "bench")
            peer = ByHand(folder / "by-hand.db")
            stack.callback(peer.close)

            async def ours(key: str) -> Any:
                return await operations.acall(key, awork, 1)

            rounds = asyncio.run(self._rounds({"seawall": ours, PEER: peer.call}, repeats))
        return Result({name: figure(took, "µs") for name, took in rounds.items()})

    async def _rounds(self, calls: dict[str, Call], repeats: int) -> dict[str, list[float]]:
        numbers = itertools.count()
        rounds: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(repeats + 1):
            for name in [*calls][:: -1 if number % 2 else 1]:
                gc.collect()
                took = await in_flight(calls[name], numbers)
                if number:  # the first one opens files
                    rounds[name].append(took / CALLS / 1000)
        return rounds


async def in_flight(call: Call, numbers: itertools.count[int]) -> int:
    """Makes the calls, each task one after the other."""

    async def some() -> None:
        for _ in range(CALLS // IN_FLIGHT):
            assert await call(f"operation {next(numbers)}") == 2

    start = perf_counter_ns()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(some())
    return perf_counter_ns() - start


ROWS: list[Row] = [Idempotent("idempotent-embedded", "an idempotent call on embedded SQLite, 100 at a time, async")]
