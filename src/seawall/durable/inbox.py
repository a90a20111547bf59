"""The inbox: which messages a consumer has dealt with, written in one commit with what they did."""

from __future__ import annotations

from functools import partial
from typing import Any

from seawall.durable.outbox_message import checked_name
from seawall.durable.script import Executor, Script, Statement
from seawall.durable.store import RECORDS, Store, require

FIRST = Statement(
    """INSERT INTO seawall_inbox (consumer, message_id, done_at) VALUES (:consumer, :message_id, {now})
    ON CONFLICT (consumer, message_id) DO NOTHING RETURNING message_id"""
)
SEEN = Statement("SELECT message_id FROM seawall_inbox WHERE consumer = :consumer AND message_id = :message_id")


class Inbox:
    """Tells the first copy of a message from its repeats, so that what a message does to the database is done once.

    A message may be delivered more than once. Ask `first` in the transaction that does what the message wants: where
    that is committed, every later copy gets False; where it is rolled back, nothing has happened, and the next copy is
    the first. What the message does elsewhere, outside that transaction, is not done once.

    Ids are kept for a week after the message was dealt with. A copy that comes later is taken for a first one.

    Args:
        store: where the ids are kept: the database of the effects, SQLite or PostgreSQL.
        consumer: who deals with the messages. Each consumer has a first copy of its own.

    Raises:
        StoreError: the store cannot commit an id with an effect.
    """

    def __init__(self, store: Store, consumer: str) -> None:
        require(store, RECORDS, "an inbox")
        self.store = store
        self.consumer = checked_name("consumer", consumer)

    def first(self, message_id: str, *, session: Any) -> bool:
        """Takes note of a message in the open transaction of `session`; returns whether it is the first copy.

        On PostgreSQL a copy that comes while another one is dealt with waits for the end of its transaction. Do what
        the message wants only after True, in the same transaction; after False there is nothing to do.

        Args:
            message_id: the id that is the same in every copy.
            session: a SQLAlchemy session or connection, or the connection that `EmbeddedStore.transact` gives.
        """
        return self._on(session).run(partial(first, self.consumer, checked_name("message_id", message_id)))

    async def afirst(self, message_id: str, *, session: Any) -> bool:
        """Takes note of a message; see `first`. The session may be an `AsyncSession` or `AsyncConnection`."""
        return await self._on(session).arun(partial(first, self.consumer, checked_name("message_id", message_id)))

    def _on(self, session: Any) -> Executor:
        if session is None:
            raise TypeError("session=None: the id must be committed with the effect; give the session that has it")
        return self.store.on(session)

    def seen(self, message_id: str) -> bool:
        """Returns whether a message has been dealt with, and its transaction committed."""
        return self.store.run(partial(seen, self.consumer, checked_name("message_id", message_id)))

    async def aseen(self, message_id: str) -> bool:
        """Returns whether a message has been dealt with; see `seen`."""
        return await self.store.arun(partial(seen, self.consumer, checked_name("message_id", message_id)))


def first(consumer: str, message_id: str) -> Script[bool]:
    """Writes an id down; returns whether it was not there. Only for the user's transaction, which nobody repeats."""
    rows = yield FIRST, {"consumer": consumer, "message_id": message_id}
    return bool(rows)


def seen(consumer: str, message_id: str) -> Script[bool]:
    """Returns whether an id is there."""
    rows = yield SEEN, {"consumer": consumer, "message_id": message_id}
    return bool(rows)
