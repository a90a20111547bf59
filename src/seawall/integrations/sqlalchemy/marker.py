"""A row that is committed with a transaction: it tells, when the answer to COMMIT was lost, whether there was one."""

from __future__ import annotations

from functools import partial
from typing import Final

from seawall._core.clock import DEFAULT_CLOCK
from seawall.durable.dialect import POSTGRESQL, Dialect
from seawall.durable.driving import Flow, Pause, Transact
from seawall.durable.script import Script, Statement
from seawall.durable.store import StoreError

MARK: Final = Statement(
    "INSERT INTO seawall_txn (id, at) VALUES (:txn_id, {now}) ON CONFLICT (id) DO NOTHING RETURNING id"
)
UNMARK: Final = Statement("DELETE FROM seawall_txn WHERE id = :txn_id")
PATIENCE: Final = Statement("SELECT set_config('lock_timeout', :milliseconds, true)")
AGAIN: Final = 0.25
"""Seconds between two looks."""


def marking(txn_id: str) -> Script[None]:
    """Writes the row, as the last thing in its transaction. Raises StoreError where it is there: the id was used."""
    rows = yield MARK, {"txn_id": txn_id}
    if not rows:
        raise StoreError(
            f"txn_id={txn_id!r} was used before: a transaction with it has been committed, and this one was not; use "
            "an id of its own for each call, or an Idempotency, which gives the first one's result to repeats"
        )


def looking(txn_id: str, dialect: Dialect, seconds: float) -> Script[bool]:
    """Returns whether the row was committed, on another connection than the one that wrote it.

    On PostgreSQL, to write a row that another transaction has written is to wait for that one's end: so it is over when
    this returns, and if it left no row, it never will. On SQLite the same goes for all that is written.
    """
    if dialect is POSTGRESQL:
        yield PATIENCE, {"milliseconds": str(max(1, int(seconds * 1000)))}
    rows = yield MARK, {"txn_id": txn_id}
    if not rows:
        return True
    yield UNMARK, {"txn_id": txn_id}
    return False


def settling(txn_id: str, dialect: Dialect, seconds: float) -> Flow[bool | None]:
    """Finds out whether a transaction was committed; None: not within so many seconds."""
    until = DEFAULT_CLOCK.now() + seconds
    while (left := until - DEFAULT_CLOCK.now()) > 0:
        try:
            found: bool = yield Transact("transaction.settle", partial(looking, txn_id, dialect, left))
        except StoreError:
            yield Pause("transaction.settle.again", min(AGAIN, left))
        else:
            return found
    return None
