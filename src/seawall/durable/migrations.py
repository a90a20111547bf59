"""The tables of a store, made and brought up to date; and what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from seawall.durable.schema import MIGRATIONS, VERSION
from seawall.durable.script import Script, Statement
from seawall.durable.store import RECORDS, Store, StoreError, require

_IS_THERE: Final = Statement("SELECT name FROM {tables} AS known WHERE name = 'seawall_schema'")
_VERSION: Final = Statement("SELECT MAX(version) FROM seawall_schema")
_ALONE: Final = Statement("SELECT {upgrade_lock}")
_SCHEMA: Final = Statement(
    "CREATE TABLE IF NOT EXISTS seawall_schema (version {int} NOT NULL PRIMARY KEY, applied_at {float} NOT NULL)"
)
_APPLIED: Final = Statement("INSERT INTO seawall_schema (version, applied_at) VALUES (:version, {now})")
_CHANGES: Final = tuple(tuple(map(Statement, migration)) for migration in MIGRATIONS)

_OPERATIONS: Final = Statement(
    "SELECT state, COUNT(*) FROM seawall_idempotency WHERE state IN ('running', 'unknown') GROUP BY state"
)
_MESSAGES: Final = Statement(
    # each part by an index of its own: what was sent is not looked at
    "SELECT state, COUNT(*) FROM (SELECT 'stuck' AS state FROM seawall_outbox WHERE stuck_at IS NOT NULL UNION ALL "
    "SELECT 'waiting' FROM seawall_outbox WHERE sent_at IS NULL AND stuck_at IS NULL AND ordering_key IS NULL "
    "UNION ALL SELECT 'waiting' FROM seawall_outbox WHERE sent_at IS NULL AND stuck_at IS NULL "
    "AND ordering_key IS NOT NULL) AS messages GROUP BY state"
)
_SAGAS: Final = Statement(
    "SELECT CASE WHEN blocked IS NULL THEN state ELSE 'blocked' END, COUNT(*) FROM seawall_saga GROUP BY 1"
)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What there is in a store.

    Attributes:
        version: of its tables; 0: there are none.
        latest: the version that this seawall needs.
        operations: idempotent operations that are `running`, or `unknown` and wait for somebody to settle them.
        messages: messages of the outbox that are `waiting`, or `stuck` and wait for an operator.
        sagas: sagas by state.
    """

    version: int
    latest: int
    operations: Mapping[str, int]
    messages: Mapping[str, int]
    sagas: Mapping[str, int]

    @property
    def is_current(self) -> bool:
        """Whether the tables are those that this seawall needs."""
        return self.version == self.latest


def upgrade(store: Store) -> int:
    """Makes a store's tables, or brings them to the version that this seawall needs; returns the one they had.

    All of it happens in one transaction, while other upgrades wait: after a crash it was done, or it was not. Tables
    that are up to date are only looked at, which needs no right to make any. An `EmbeddedStore` does it by itself.

    Raises:
        StoreError: the tables are of a newer seawall, or the store has none.
    """
    require(store, RECORDS, "a schema")
    return store.run(upgrading)


async def aupgrade(store: Store) -> int:
    """Makes a store's tables, or brings them up to date, without blocking the event loop; see `upgrade`."""
    require(store, RECORDS, "a schema")
    return await store.arun(upgrading)


def status(store: Store) -> StoreStatus:
    """Returns the version of a store's tables, and how much in them waits, is unknown, or is stuck.

    It counts row by row: for operators, not for every second. Raises StoreError where the store has no tables.
    """
    require(store, RECORDS, "a schema")
    return store.run(_looking)


async def astatus(store: Store) -> StoreStatus:
    """Returns the version of a store's tables and what waits in them, without blocking the event loop; see `status`."""
    require(store, RECORDS, "a schema")
    return await store.arun(_looking)


def upgrading() -> Script[int]:
    """Brings the tables up to date; returns the version that they had."""
    had = yield from version()
    if had < VERSION:
        yield _ALONE, {}
        had = yield from version()  # somebody else may have done it while this one waited
    if had > VERSION:
        raise StoreError(
            f"the tables are of version {had}, and this seawall knows only version {VERSION}: "
            "they were made by a newer one; use that here, too"
        )
    if had < VERSION:
        yield _SCHEMA, {}
        for number, changes in enumerate(_CHANGES[had:], had + 1):
            for change in changes:
                yield change, {}
            yield _APPLIED, {"version": number}
    return had


def version() -> Script[int]:
    """Returns the version of the tables; 0: there are none."""
    there = yield _IS_THERE, {}
    if not there:
        return 0
    rows = yield _VERSION, {}
    return int(rows[0][0] or 0)


def _looking() -> Script[StoreStatus]:
    found = yield from version()
    if found != VERSION:
        return StoreStatus(found, VERSION, {}, {}, {})
    operations = yield _OPERATIONS, {}
    messages = yield _MESSAGES, {}
    sagas = yield _SAGAS, {}
    return StoreStatus(
        found,
        VERSION,
        {"running": 0, "unknown": 0, **{state: int(count) for state, count in operations}},
        {"waiting": 0, "stuck": 0, **{state: int(count) for state, count in messages}},
        {state: int(count) for state, count in sagas},
    )
