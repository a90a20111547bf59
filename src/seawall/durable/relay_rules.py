"""How a relay behaves: its numbers, what it makes of a failure, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seawall._core.arguments import Rng
from seawall._core.backoff import Backoff
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.errors import RejectedError
from seawall._core.events import brief
from seawall._core.retry_after import seconds_of
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.relay_scripts import Failure, Row

LONGEST_WISH = 3600.0
"""Seconds: a receiver that wants to be left alone for longer is asked again after so many."""


class Rules(NamedTuple):
    """The arguments of a relay, checked."""

    lease: float
    heartbeat: float
    batch: int
    in_flight: int
    poll: float
    max_attempts: int
    backoff: Backoff
    rng: Rng

    def judge(self, message: OutboxMessage, error: BaseException) -> Failure:
        """Returns what is written down about a message that failed.

        A rejection is no attempt: the message was not sent, and waits until it may be. Anything else is one.
        """
        rejected = isinstance(error, RejectedError)
        attempts = message.attempts + (not rejected)
        wish = seconds_of(getattr(error, "retry_after", None), DEFAULT_CLOCK.wall())
        delay = self.backoff.delay(max(1, attempts), None, self.rng) if wish is None else min(wish, LONGEST_WISH)
        return Failure(attempts, delay, brief(error), not rejected and attempts >= self.max_attempts)


class Lane:
    """What one claim gives to one sender: a message without a key, or messages of one key, to be sent in order.

    `until` is when the lease ends by this process's clock. It began when the claim was sent, and so ends before anybody
    else may take over.
    """

    __slots__ = ("key", "left", "lost", "owner", "rows", "until")

    def __init__(self, owner: str, rows: Sequence[Row], until: float) -> None:
        self.owner = owner
        self.key = rows[0].message.ordering_key
        self.rows = rows
        self.until = until
        self.lost = False
        self.left = {row.id for row in rows}
        """The rows of which nothing has been told yet."""

    def __str__(self) -> str:
        return f"message {self.rows[0].message.message_id}" if self.key is None else f"ordering key {self.key!r}"

    @property
    def mark(self) -> str | int:
        """What its lease is told by: the key, or the number of its row."""
        return self.rows[0].id if self.key is None else self.key

    def stands(self) -> bool:
        """Whether the lease still holds, as far as this process knows."""
        return not self.lost and DEFAULT_CLOCK.now() < self.until


class Report(NamedTuple):
    """What a lane tells: a message was sent, or failed; without a row, that the lane has ended."""

    lane: Lane
    row: Row | None = None
    failure: Failure | None = None


class NotNowError(Exception):
    """The relay's own pipeline lets nothing through for `seconds`, which says nothing about any message."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__(seconds)
        self.seconds = seconds
