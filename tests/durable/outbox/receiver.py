"""A receiver with an inbox: what arrives has its effect once, whoever delivers it, and however often."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from seawall.durable import EmbeddedStore, Inbox, OutboxMessage

TABLES = (
    "CREATE TABLE IF NOT EXISTS effects (id INTEGER PRIMARY KEY AUTOINCREMENT, ordering_key TEXT, number INTEGER)",
    "CREATE TABLE IF NOT EXISTS arrivals (message_id TEXT)",
)


class Receiver:
    """Counts arrivals, and notes one effect for each message, in a file that many processes share."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        with EmbeddedStore(path) as store:  # for its tables
            self._inbox = Inbox(store, "receiver")
        self._do(*TABLES)

    def receive(self, message: OutboxMessage) -> None:
        """Takes a message."""
        with closing(self._connected()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO arrivals VALUES (?)", (message.message_id,))
            if self._inbox.first(message.message_id, session=connection):
                values = (message.ordering_key, message.json()["number"])
                connection.execute("INSERT INTO effects (ordering_key, number) VALUES (?, ?)", values)
            connection.execute("COMMIT")

    async def areceive(self, message: OutboxMessage) -> None:
        """Takes a message."""
        self.receive(message)

    def effects(self) -> list[tuple[str | None, int]]:
        """Returns key and number of the effects, in the order in which they happened."""
        return self._do("SELECT ordering_key, number FROM effects ORDER BY id")

    def arrivals(self) -> int:
        """Returns how many messages arrived, repeats counted."""
        count: int = self._do("SELECT COUNT(*) FROM arrivals")[0][0]
        return count

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")  # a kill loses nothing by it
        return connection

    def _do(self, *statements: str) -> list[tuple[Any, ...]]:
        with closing(self._connected()) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]
