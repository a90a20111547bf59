"""A scenario to be killed: an order in one transaction with its message, and a relay that sends this and two others."""

import asyncio
import sqlite3
from typing import Any

import psycopg  # noqa: F401 - imported once, before the forks
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from seawall.durable import Outbox, Relay, open_store
from tests.durable.outbox.receiver import Receiver

BEFORE = (("k", 1), (None, 2))
"""Key and number of the orders that are there before."""
ORDER = ("k", 3)


def main(url: str, path: str) -> None:
    """Runs the scenario: on threads for SQLite, in tasks for an async engine."""
    store, receiver = open_store(url), Receiver(path)
    if url.startswith("sqlite"):
        embedded(store, receiver)
    else:
        asyncio.run(on_engine(store, receiver))


def embedded(store: Any, receiver: Receiver) -> None:
    """Adds and sends, by the embedded store."""
    outbox, (key, number) = Outbox(store), ORDER

    def order(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO orders VALUES (?)", (number,))
        outbox.add("there", {"number": number}, ordering_key=key, session=connection)

    store.transact(order)
    Relay(outbox, receiver.receive, lease=1, heartbeat=0.3, in_flight=1).pass_once()


async def on_engine(store: Any, receiver: Receiver) -> None:
    """Adds and sends, by an async engine."""
    outbox, (key, number) = Outbox(store), ORDER
    async with AsyncSession(store.engine) as session, session.begin():
        await session.execute(text("INSERT INTO orders VALUES (:number)"), {"number": number})
        await outbox.aadd("there", {"number": number}, ordering_key=key, session=session)
    await Relay(outbox, receiver.areceive, lease=1, heartbeat=0.3, in_flight=1).apass_once()
    await store.aclose()
