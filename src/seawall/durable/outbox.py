"""The outbox: messages that leave if, and only if, the transaction that made them is committed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall.durable import outbox_scripts as scripts
from seawall.durable.outbox_message import (
    Body,
    Inject,
    OutboxMessage,
    checked_name,
    encoded,
    new_message_id,
    with_context,
)
from seawall.durable.outbox_scripts import Addition, insert
from seawall.durable.store import RECORDS, Store, require

CHANNEL: Final = "outbox"
"""On which a store wakes the relays."""


class Outbox:
    """Keeps messages in the database until a `Relay` has sent them.

    Added with the session of a transaction, a message is sent if that is committed, and never if it is not. It is
    sent at least once: a relay that dies after sending it, and before it wrote that down, has it sent again, with the
    same `message_id`. In order: messages of one ordering key are sent one after another, in the order in which they
    were added by transactions that follow each other. Transactions that add to a key at the same time have no order.

    Sent messages are kept for a week.

    Args:
        store: where the messages are kept; on SQLite or PostgreSQL.
        inject: a function that adds headers to every message, such as `opentelemetry.propagate.inject`; default: none.

    Raises:
        StoreError: the store cannot commit a message with an effect.
    """

    def __init__(self, store: Store, *, inject: Inject | None = None) -> None:
        require(store, RECORDS, "an outbox")
        self.store = store
        self._inject = inject
        if inject is not None:
            arguments.function("inject", inject, "a function of a dict, which adds headers to it")

    def add(
        self,
        destination: str,
        body: Body,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        ordering_key: str | None = None,
        delay: Seconds = 0.0,
        session: Any = None,
    ) -> str:
        """Adds a message, and returns its id. Adding the same message under the same id again changes nothing.

        Args:
            destination: where it goes, in the words of the relay's `send`.
            body: bytes or text as they are, anything else as JSON.
            headers: texts by name. Besides them come `content-type`; `x-correlation-id` where the call has one; and
                `seawall-deadline`, in milliseconds since 1970, where a deadline surrounds it.
            message_id: default: a new UUID of version 7.
            ordering_key: messages of one key are sent in order; default: without order.
            delay: seconds before which it is not sent; default 0. It holds up later ones of its key.
            session: of the transaction to which it belongs: a SQLAlchemy session or connection, or the connection that
                `EmbeddedStore.transact` gives its function. Default: a transaction of its own.

        Raises:
            KeyMismatchError: another message has this id.
            TypeError, ValueError: an argument is none, or the body is not such as JSON can say.
        """
        new = self.prepare(
            destination, body, headers=headers, message_id=message_id, ordering_key=ordering_key, delay=delay
        )
        if session is None:
            self.store.run(partial(insert, new))
        else:
            self.store.on(session).run(partial(insert, new))
        self.announce(session)
        return new.message_id

    async def aadd(
        self,
        destination: str,
        body: Body,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        ordering_key: str | None = None,
        delay: Seconds = 0.0,
        session: Any = None,
    ) -> str:
        """Adds a message; see `add`. The session may be an `AsyncSession` or `AsyncConnection`."""
        new = self.prepare(
            destination, body, headers=headers, message_id=message_id, ordering_key=ordering_key, delay=delay
        )
        if session is None:
            await self.store.arun(partial(insert, new))
        else:
            await self.store.on(session).arun(partial(insert, new))
        self.announce(session)
        return new.message_id

    def prepare(
        self,
        destination: str,
        body: Body,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        ordering_key: str | None = None,
        delay: Seconds = 0.0,
    ) -> Addition:
        """Returns what `insert` takes, for scripts that add a message among other things. Call `announce` after it."""
        content, content_type = encoded(body)
        return Addition(
            new_message_id() if message_id is None else checked_name("message_id", message_id),
            checked_name("destination", destination),
            content,
            with_context(headers, content_type, self._inject),
            None if ordering_key is None else checked_name("ordering_key", ordering_key),
            arguments.seconds("delay", delay, zero=True),
        )

    def announce(self, session: Any = None) -> None:
        """Wakes the relays: at once, or when the transaction of `session` is committed."""
        if session is None:
            self.store.wake(CHANNEL)
        else:
            self.store.after(session, CHANNEL)

    def waiting(self, limit: int = 100) -> list[OutboxMessage]:
        """Returns the messages that wait to be sent, or are being sent, oldest first; at most `limit`, default 100."""
        return self.store.run(partial(scripts.listed, False, arguments.whole("limit", limit, least=1)))

    async def awaiting(self, limit: int = 100) -> list[OutboxMessage]:
        """Returns the messages that wait to be sent; see `waiting`."""
        return await self.store.arun(partial(scripts.listed, False, arguments.whole("limit", limit, least=1)))

    def stuck(self, limit: int = 100) -> list[OutboxMessage]:
        """Returns the messages that failed too often, the first to do so first; at most `limit`, default 100.

        They are sent when somebody calls `retry`; until then, or until they are dropped, they hold up their key.
        """
        return self.store.run(partial(scripts.listed, True, arguments.whole("limit", limit, least=1)))

    async def astuck(self, limit: int = 100) -> list[OutboxMessage]:
        """Returns the messages that failed too often; see `stuck`."""
        return await self.store.arun(partial(scripts.listed, True, arguments.whole("limit", limit, least=1)))

    def retry(self, *message_ids: str) -> list[str]:
        """Lets messages that are stuck, or wait for their next attempt, be sent now, with all attempts before them.

        Returns the ids of those that were there: neither sent nor dropped.
        """
        done = self.store.run(partial(scripts.retry, _ids(message_ids)))
        self.announce()
        return done

    async def aretry(self, *message_ids: str) -> list[str]:
        """Lets messages be sent now; see `retry`."""
        done = await self.store.arun(partial(scripts.retry, _ids(message_ids)))
        self.announce()
        return done

    def retry_stuck(self) -> int:
        """Lets all messages that are stuck be sent now; returns how many they are."""
        count = self.store.run(scripts.retry_stuck)
        self.announce()
        return count

    async def aretry_stuck(self) -> int:
        """Lets all messages that are stuck be sent now; see `retry_stuck`."""
        count = await self.store.arun(scripts.retry_stuck)
        self.announce()
        return count

    def drop(self, message_id: str, note: str) -> bool:
        """Gives up a message that was not sent; later ones of its key may leave. `note` says who did it, and why.

        Returns whether it was there: False where it was sent or dropped before. One that a relay is just sending may
        arrive all the same.
        """
        done = self.store.run(partial(scripts.drop, checked_name("message_id", message_id), _said(note)))
        self.announce()
        return done

    async def adrop(self, message_id: str, note: str) -> bool:
        """Gives up a message that was not sent; see `drop`."""
        done = await self.store.arun(partial(scripts.drop, checked_name("message_id", message_id), _said(note)))
        self.announce()
        return done


def _ids(message_ids: tuple[str, ...]) -> list[str]:
    return [checked_name("message_id", each) for each in message_ids]


def _said(note: str) -> str:
    if not isinstance(note, str) or not note.strip():
        raise ValueError(f"note={note!r} says nothing; say who drops the message, and why")
    return note
