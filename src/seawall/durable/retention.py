"""Retention: what has ended long ago is deleted, a little at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import LOGGER, Hub, brief
from seawall.durable.driving import Flow, Transact, adrive, drive
from seawall.durable.events import Reaped
from seawall.durable.script import Script, Statement
from seawall.durable.store import RECORDS, Store, require

DAY: Final = 86400.0
WEEK: Final = 7 * DAY
EVERY: Final = 6 * 3600.0
BATCH: Final = 500
"""Rows that one transaction deletes."""
JOIN: Final = 5.0
"""Seconds that the end of a reaper waits for the batch it is at."""

_OLD: Final = "< {now} - :ttl"
_FEW: Final = "LIMIT :limit {skip_locked}"
_DELETIONS: Final[dict[str, tuple[Statement, ...]]] = {
    # One whose end is not known stays until somebody settles it, and one that runs until it ends.
    "operations": (
        Statement(
            "DELETE FROM seawall_idempotency WHERE (namespace, key) IN (SELECT namespace, key FROM seawall_idempotency "
            "WHERE expires_at < {now} AND state NOT IN ('running', 'unknown') "
            f"ORDER BY expires_at {_FEW}) RETURNING 1"
        ),
    ),
    "inbox": (
        Statement(
            "DELETE FROM seawall_inbox WHERE (consumer, message_id) IN (SELECT consumer, message_id FROM seawall_inbox "
            f"WHERE done_at {_OLD} ORDER BY done_at {_FEW}) RETURNING 1"
        ),
    ),
    "outbox": (
        Statement(
            "DELETE FROM seawall_outbox WHERE id IN (SELECT id FROM seawall_outbox "
            f"WHERE sent_at {_OLD} ORDER BY sent_at {_FEW}) RETURNING 1"
        ),
    ),
    "keys": (  # of messages that have all been sent; its epoch may begin anew, since each claim has an owner of its own
        Statement(
            "DELETE FROM seawall_outbox_key WHERE ordering_key IN (SELECT ordering_key FROM seawall_outbox_key AS old "
            f"WHERE lease_until {_OLD} AND NOT EXISTS (SELECT 1 FROM seawall_outbox "
            f"WHERE ordering_key = old.ordering_key AND sent_at IS NULL) {_FEW}) RETURNING 1"
        ),
    ),
    "sagas": (  # steps first, so that a crash between the two leaves a saga that is still found
        Statement(
            "DELETE FROM seawall_saga_step WHERE saga_id IN (SELECT id FROM seawall_saga "
            f"WHERE ended_at {_OLD} ORDER BY ended_at {_FEW})"
        ),
        Statement(
            "DELETE FROM seawall_saga WHERE id IN (SELECT id FROM seawall_saga AS old "
            f"WHERE ended_at {_OLD} AND NOT EXISTS (SELECT 1 FROM seawall_saga_step WHERE saga_id = old.id) "
            f"ORDER BY ended_at {_FEW}) RETURNING 1"
        ),
    ),
    "transactions": (
        Statement(
            "DELETE FROM seawall_txn WHERE id IN (SELECT id FROM seawall_txn "
            f"WHERE at {_OLD} ORDER BY at {_FEW}) RETURNING 1"
        ),
    ),
    "counters": (
        Statement(
            "DELETE FROM seawall_counter WHERE name IN (SELECT name FROM seawall_counter "
            f"WHERE expires_at < {{now}} ORDER BY expires_at {_FEW}) RETURNING 1"
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long what has ended is kept, in seconds.

    Results of idempotent operations are kept as long as each says (`ttl`), counters too. What still runs, waits, is
    unknown or stuck is never deleted.

    Args:
        inbox: ids of messages that were dealt with: a copy that comes later is taken for a new message; default 7 days.
        outbox: messages that were sent or dropped; default 7 days.
        sagas: sagas that have ended, with their steps; default 7 days.
        transactions: ids by which the end of a transaction can be found out; default a day.
    """

    inbox: Seconds = WEEK
    outbox: Seconds = WEEK
    sagas: Seconds = WEEK
    transactions: Seconds = DAY

    def __post_init__(self) -> None:
        self.ages()

    def ages(self) -> dict[str, float]:
        """Returns how old what is to be deleted must be, by its kind."""
        return {
            "operations": 0.0,
            "inbox": arguments.seconds("inbox", self.inbox),
            "outbox": arguments.seconds("outbox", self.outbox),
            "keys": DAY,
            "sagas": arguments.seconds("sagas", self.sagas),
            "transactions": arguments.seconds("transactions", self.transactions),
            "counters": 0.0,
        }


def reap(store: Store, *, retention: Retention | None = None) -> Mapping[str, int]:
    """Deletes what has ended long ago; returns how many rows of each kind.

    It goes on 500 rows at a time, each in a short transaction of its own, so that nobody waits long.

    Args:
        store: where it is.
        retention: how long what is kept; default: `Retention()`.

    Raises:
        StoreError: the store could not be reached; what was deleted before is gone.
    """
    return drive(_checked(store), _reaping(store.name, retention or Retention()))


async def areap(store: Store, *, retention: Retention | None = None) -> Mapping[str, int]:
    """Deletes what has ended long ago, without blocking the event loop; see `reap`."""
    return await adrive(_checked(store), _reaping(store.name, retention or Retention()))


def _checked(store: Store) -> Store:
    require(store, RECORDS, "what is deleted after its time")
    return store


def _reaping(name: str, retention: Retention) -> Flow[Mapping[str, int]]:
    deleted = {}
    for kind, ttl in retention.ages().items():
        deleted[kind], number = 0, BATCH
        while number == BATCH:
            number = yield Transact(f"reap.{kind}", partial(_deleting, _DELETIONS[kind], ttl))
            deleted[kind] += number
    if any(deleted.values()):
        _HUB.tell(Reaped(name, deleted))
    return deleted


def _deleting(statements: tuple[Statement, ...], ttl: float) -> Script[int]:
    number = 0
    for statement in statements:
        rows = yield statement, {"ttl": ttl, "limit": BATCH}
        number = len(rows)
    return number


_HUB: Final = Hub("retention")


class Reaper:
    """Deletes what has ended long ago, at once and then every 6 hours, while a block runs.

    `with Reaper(store):` uses a thread, `async with` a task. One in each process does no harm. What fails is
    logged, and tried again the next time.

    Args:
        store: where it is.
        every: seconds between two passes; default 6 hours.
        retention: how long what is kept; default: `Retention()`.
    """

    def __init__(self, store: Store, *, every: Seconds = EVERY, retention: Retention | None = None) -> None:
        self._store = _checked(store)
        self._every = arguments.seconds("every", every)
        self._retention = retention or Retention()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Reaper:
        self._begin()
        self._thread = threading.Thread(target=self._run, name="seawall-reaper", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN)

    async def __aenter__(self) -> Reaper:
        self._begin()
        self._task = asyncio.create_task(self._arun(), name="seawall-reaper")
        return self

    async def __aexit__(self, *exc: object) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _begin(self) -> None:
        if self._thread is not None or self._task is not None:
            raise RuntimeError("this reaper is at work already; make another one")
        self._ending = threading.Event()

    def _run(self) -> None:
        ending = self._ending
        while not ending.is_set():
            try:
                reap(self._store, retention=self._retention)
            except Exception as error:
                self._failed(error)
            DEFAULT_CLOCK.wait(ending, self._every)

    async def _arun(self) -> None:
        while True:
            try:
                await areap(self._store, retention=self._retention)
            except Exception as error:
                self._failed(error)
            await DEFAULT_CLOCK.asleep(self._every)

    def _failed(self, error: Exception) -> None:
        LOGGER.warning(
            "%s: what is too old was not all deleted, next try in %g s: %s", self._store.name, self._every, brief(error)
        )
