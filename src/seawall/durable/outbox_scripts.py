"""What an outbox says to its database: adding messages, listing them, and what operators decide."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seawall.durable.errors import KeyMismatchError
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.script import Script, Statement

COLUMNS: Final = (
    "message_id, destination, body, headers, ordering_key, created_at, available_at, attempts, stuck_at, error"
)
INSERT = Statement(
    """INSERT INTO seawall_outbox (message_id, destination, headers, body, ordering_key, created_at, available_at,
        attempts, lease_until)
    VALUES (:message_id, :destination, :headers, :body, :ordering_key, {now}, {now} + :delay, 0, 0)
    ON CONFLICT (message_id) DO NOTHING RETURNING id"""
)
SAME = Statement("SELECT destination, body, ordering_key FROM seawall_outbox WHERE message_id = :message_id")
# Each half by an index of its own: what was sent is not looked at.
WAITING = Statement(
    f"""SELECT {COLUMNS} FROM (
        SELECT * FROM seawall_outbox WHERE sent_at IS NULL AND stuck_at IS NULL AND ordering_key IS NULL UNION ALL
        SELECT * FROM seawall_outbox WHERE sent_at IS NULL AND stuck_at IS NULL AND ordering_key IS NOT NULL) AS waiting
    ORDER BY id LIMIT :limit"""
)
STUCK = Statement(f"SELECT {COLUMNS} FROM seawall_outbox WHERE stuck_at IS NOT NULL ORDER BY stuck_at, id LIMIT :limit")
RETRY = Statement(
    """UPDATE seawall_outbox SET stuck_at = NULL, attempts = 0, available_at = {now}
    WHERE message_id IN (SELECT value FROM {listed}) AND sent_at IS NULL RETURNING message_id"""
)
RETRY_STUCK = Statement(
    """UPDATE seawall_outbox SET stuck_at = NULL, attempts = 0, available_at = {now}
    WHERE stuck_at IS NOT NULL RETURNING message_id"""
)
DROP = Statement(
    """UPDATE seawall_outbox SET sent_at = {now}, stuck_at = NULL, note = :note
    WHERE message_id = :message_id AND sent_at IS NULL RETURNING message_id"""
)


@dataclass(frozen=True, slots=True)
class Addition:
    """A message that is about to be added, checked; `insert` makes the script of it."""

    message_id: str
    destination: str
    body: bytes
    headers: Mapping[str, str]
    ordering_key: str | None
    delay: float


def insert(new: Addition) -> Script[str]:
    """Adds a message; returns its id. Added before, with the same words, it is left as it is.

    Raises:
        KeyMismatchError: its id is that of another message.
    """
    values = {
        "message_id": new.message_id,
        "destination": new.destination,
        "body": new.body,
        "headers": json.dumps(dict(new.headers), ensure_ascii=False),
        "ordering_key": new.ordering_key,
        "delay": new.delay,
    }
    added = yield INSERT, values
    if not added:
        ((destination, body, ordering_key),) = yield SAME, {"message_id": new.message_id}
        if (destination, bytes(body), ordering_key) != (new.destination, new.body, new.ordering_key):
            raise KeyMismatchError(
                f"message_id={new.message_id!r} is that of another message, to {destination!r}; "
                "use a new one for each message, or leave it out"
            )
    return new.message_id


def listed(stuck: bool, limit: int) -> Script[list[OutboxMessage]]:
    """Returns the messages that have waited, or been stuck, for longest."""
    rows = yield (STUCK if stuck else WAITING), {"limit": limit}
    return [message_of(row) for row in rows]


def retry(message_ids: Sequence[str]) -> Script[list[str]]:
    """Lets messages be sent at once, with all their attempts; returns the ids of those that were not sent yet."""
    rows = yield RETRY, {"listed": json.dumps(list(message_ids))}
    return [row[0] for row in rows]


def retry_stuck() -> Script[int]:
    """Does so with all that are stuck; returns how many."""
    rows = yield RETRY_STUCK, {}
    return len(rows)


def drop(message_id: str, note: str) -> Script[bool]:
    """Puts a message out of the way, unsent; returns whether it was there to be."""
    rows = yield DROP, {"message_id": message_id, "note": note}
    return bool(rows)


def message_of(row: Sequence[Any]) -> OutboxMessage:
    """Returns the message of a row of `COLUMNS`."""
    message_id, destination, body, headers, *rest = row
    return OutboxMessage(message_id, destination, bytes(body), json.loads(headers), *rest)
