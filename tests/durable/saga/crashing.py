"""A saga of five steps that is killed, and the server that forks it again and again from one import.

`python -m tests.durable.saga.crashing` reads orders from its input, a JSON object a line, forks a child for each, and
answers with how that ended.
"""

import asyncio
import json
import os
import sqlite3
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg  # noqa: F401 - imported once, before the forks
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from seawall import Backoff
from seawall._core import crash
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.outbox import Outbox
from seawall.durable.saga import Saga, Step, StepContext
from seawall.durable.saga_report import SagaReport
from seawall.durable.sagas import Sagas
from seawall.integrations.sqlalchemy import SqlStore
from seawall.testing import point

STEPS = ("reserve", "charge", "book", "confirm", "notify")
SAGA = "the-saga"
LEASE = 1.0


class World:
    """Where the effects take place: by key, each at most once, and none after its undoing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Makes it anew."""
        self.path.unlink(missing_ok=True)
        self.say(
            "CREATE TABLE effects (key PRIMARY KEY, step)",
            "CREATE TABLE undone (key PRIMARY KEY)",
            "CREATE TABLE calls (kind, step, key)",
        )

    def say(self, *texts: str, **values: object) -> list[tuple[Any, ...]]:
        """Runs statements in one transaction; returns the rows of the last."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=OFF")
            db.execute("BEGIN IMMEDIATE")
            rows = [db.execute(text, values).fetchall() for text in texts][-1]
            db.execute("COMMIT")
            return rows

    def act(self, step: str, key: str) -> None:
        """Has the effect, unless it was had or undone before."""
        point("effect.before")
        self.say(
            "INSERT INTO calls VALUES ('act', :step, :key)",
            "INSERT INTO effects SELECT :key, :step WHERE :key NOT IN (SELECT key FROM undone) ON CONFLICT DO NOTHING",
            step=step,
            key=key,
        )
        point("effect.after")

    def undo(self, step: str, key: str) -> None:
        """Takes the effect back, if it ever was, and for good."""
        point("undoing.before")
        self.say(
            "INSERT INTO calls VALUES ('undo', :step, :key)",
            "DELETE FROM effects WHERE key = :key",
            "INSERT INTO undone VALUES (:key) ON CONFLICT DO NOTHING",
            step=step,
            key=key,
        )
        point("undoing.after")


def definition(world: World, course: str, colour: str) -> Saga[dict[str, Any]]:
    """Returns the saga: it completes, with a pivot and a retriable step; or its last step fails after its effect."""
    failed: list[int] = []

    def does(name: str, error: Exception | None = None) -> Any:
        def act(context: StepContext[Any]) -> str:
            world.act(name, context.key)
            if error is not None and (course == "compensates" or not failed):
                failed.append(1)
                raise error
            return f"{name} done"

        return _in(colour, act)

    def undoes(name: str) -> Any:
        return _in(colour, lambda context: world.undo(name, context.key))

    def command(context: StepContext[Any]) -> tuple[str, dict[str, str]]:
        return "payments", {"key": context.key}

    completes = course == "completes"
    soon: Any = {"undo_backoff": Backoff.fixed(0.001)}
    return Saga(
        course,
        Step("reserve", does("reserve"), compensate=undoes("reserve"), **soon),
        Step("charge", command=command, undo_command=command, **soon),
        Step("book", does("book"), compensate=undoes("book"), **soon),
        Step("confirm", does("confirm"), compensate=undoes("confirm"), kind="pivot" if completes else "compensatable"),
        Step("notify", does("notify", OSError("down")), kind="retriable", backoff=Backoff.fixed(0.001))
        if completes
        else Step("notify", does("notify", OSError("down")), compensate=undoes("notify"), **soon),
    )


def _in(colour: str, fn: Any) -> Any:
    if colour == "sync":
        return fn

    async def afn(context: StepContext[Any]) -> Any:
        await asyncio.sleep(0)
        return fn(context)

    return afn


def store_of(kind: str, url: str) -> tuple[Any, str]:
    """Returns a store and the colour in which it is used."""
    if kind == "embedded":
        return EmbeddedStore(url), "sync"
    if kind == "embedded-async":
        return EmbeddedStore(url), "async"
    if kind == "psycopg":
        return SqlStore(create_engine(url.replace("postgresql://", "postgresql+psycopg://"))), "sync"
    return SqlStore(create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))), "async"


def closed(store: Any) -> None:
    """Closes a sync store, and its engine."""
    store.close()
    if isinstance(store, SqlStore):
        store.engine.dispose()


def pursue(kind: str, url: str, course: str, world: World) -> SagaReport:
    """Starts the saga, or goes on with it, to its end; plays the payments that its commands are for."""
    store, colour = store_of(kind, url)
    if colour == "async":
        return asyncio.run(_apursue(store, course, world))
    outbox = Outbox(store)
    sagas = Sagas(store, [definition(world, course, colour)], outbox=outbox, lease=LEASE, heartbeat=LEASE / 4)
    try:
        sagas.start(course, {"seats": 2}, saga_id=SAGA)
        while not (report := sagas.run(SAGA)).ended:
            for message in outbox.waiting():
                _pay(world, message)
                undo = message.headers["seawall-undo"] == "true"
                sagas.reply(SAGA, message.headers["seawall-step"], result="paid", undo=undo)
        return report
    finally:
        closed(store)


async def _apursue(store: Any, course: str, world: World) -> SagaReport:
    outbox = Outbox(store)
    sagas = Sagas(store, [definition(world, course, "async")], outbox=outbox, lease=LEASE, heartbeat=LEASE / 4)
    try:
        await sagas.astart(course, {"seats": 2}, saga_id=SAGA)
        while not (report := await sagas.arun(SAGA)).ended:
            for message in await outbox.awaiting():
                _pay(world, message)
                undo = message.headers["seawall-undo"] == "true"
                await sagas.areply(SAGA, message.headers["seawall-step"], result="paid", undo=undo)
        return report
    finally:
        await store.aclose()
        if isinstance(store, SqlStore):
            await store.engine.dispose()


def _pay(world: World, message: Any) -> None:
    does = world.undo if message.headers["seawall-undo"] == "true" else world.act
    does(message.headers["seawall-step"], message.headers["seawall-key"])


def serve() -> None:
    """Forks a child for each order, and says how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict[str, Any]) -> None:
    crash._ARMED = bool(order["at"] or order["record"])  # type: ignore[misc]
    crash._CRASH = crash._place(order["at"]) if order["at"] else None  # type: ignore[misc]
    crash._RECORD = order["record"]  # type: ignore[misc]
    code = 1
    try:
        pursue(order["kind"], order["url"], order["course"], World(Path(order["world"])))
        code = 0
    except BaseException:
        Path(order["errors"]).write_text(traceback.format_exc())
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
