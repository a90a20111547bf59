"""What a relay says to its database: one transaction that writes down what it did, and claims what comes next.

A message without a key is claimed by itself. One with a key is not: its key is, and who holds the key sends its
messages in order, from the oldest unsent one on. Each claim has an owner of its own, so an owner is a fence, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.outbox_scripts import COLUMNS, message_of
from seawall.durable.script import Rows, Script, Statement

ROUNDS: Final = 10
"""How often, in one transaction, keys that cannot be claimed are passed over to look for others."""

# The next keys, found by jumping from one to the next in the index, so that a thousand messages behind one that is
# stuck cost nothing. For each: may its oldest message be sent, and is nobody else sending?
WALK = Statement(
    """WITH RECURSIVE walk(ordering_key, n) AS (
        SELECT (SELECT MIN(f.ordering_key) FROM seawall_outbox f WHERE f.sent_at IS NULL AND f.ordering_key > :after), 1
        UNION ALL
        SELECT (SELECT MIN(f.ordering_key) FROM seawall_outbox f
            WHERE f.sent_at IS NULL AND f.ordering_key > w.ordering_key), w.n + 1
        FROM walk w WHERE w.ordering_key IS NOT NULL AND w.n < :count)
    SELECT w.ordering_key, h.stuck_at IS NULL AND h.available_at <= {now} AND NOT EXISTS (
        SELECT 1 FROM seawall_outbox_key k
        WHERE k.ordering_key = w.ordering_key AND k.lease_until > {now} AND k.owner <> :owner)
    FROM walk w JOIN seawall_outbox h ON h.id = (
        SELECT MIN(f.id) FROM seawall_outbox f WHERE f.sent_at IS NULL AND f.ordering_key = w.ordering_key)
    ORDER BY w.ordering_key"""
)
CLAIM_KEYS = Statement(
    """INSERT INTO seawall_outbox_key (ordering_key, owner, epoch, lease_until)
    SELECT l.value, :owner, 1, {now} + :lease FROM {listed} AS l WHERE 1 = 1
    ON CONFLICT (ordering_key) DO UPDATE SET
        owner = excluded.owner, epoch = seawall_outbox_key.epoch + 1, lease_until = excluded.lease_until
    WHERE seawall_outbox_key.lease_until <= {now} OR seawall_outbox_key.owner = excluded.owner
    RETURNING ordering_key"""
)
# A statement of its own, after the claim: it sees what the last holder of a key has written.
OF_KEYS = Statement(
    f"""WITH RECURSIVE run(ordering_key, id, n) AS (
        SELECT l.value, (SELECT MIN(f.id) FROM seawall_outbox f
            WHERE f.sent_at IS NULL AND f.ordering_key = l.value), 1 FROM {{listed}} AS l
        UNION ALL
        SELECT r.ordering_key, (SELECT MIN(f.id) FROM seawall_outbox f
            WHERE f.sent_at IS NULL AND f.ordering_key = r.ordering_key AND f.id > r.id), r.n + 1
        FROM run r WHERE r.id IS NOT NULL AND r.n < :count)
    SELECT o.id, o.stuck_at IS NULL AND o.available_at <= {{now}}, {", ".join(f"o.{c}" for c in COLUMNS.split(", "))}
    FROM run r JOIN seawall_outbox o ON o.id = r.id ORDER BY o.id"""
)
# The time is asked for once, in a query of its own, so that PostgreSQL can look it up in the index.
CLAIM_FREE = Statement(
    f"""WITH due AS (
        SELECT id FROM seawall_outbox
        WHERE sent_at IS NULL AND stuck_at IS NULL AND ordering_key IS NULL AND available_at <= (SELECT {{now}})
            AND (lease_until <= (SELECT {{now}}) OR owner = :owner)
        ORDER BY available_at, id LIMIT :limit {{skip_locked}})
    UPDATE seawall_outbox SET owner = :owner, lease_until = {{now}} + :lease
    WHERE id IN (SELECT id FROM due) RETURNING id, {COLUMNS}"""
)
KEEP_KEYS = Statement(
    """UPDATE seawall_outbox_key SET lease_until = {now} + :lease
    WHERE owner = :owner AND ordering_key IN (SELECT value FROM {listed}) RETURNING ordering_key"""
)
KEEP_FREE = Statement(
    """UPDATE seawall_outbox SET lease_until = {now} + :lease
    WHERE id IN (SELECT CAST(value AS BIGINT) FROM {listed}) AND owner = :owner AND sent_at IS NULL RETURNING id"""
)
_STILL_OURS = """id IN (SELECT CAST(value AS BIGINT) FROM {listed}) AND (
        owner = :owner OR ordering_key IN (SELECT k.ordering_key FROM seawall_outbox_key k WHERE k.owner = :owner))"""
SENT = Statement(
    f"""UPDATE seawall_outbox SET sent_at = COALESCE(sent_at, {{now}}), stuck_at = NULL, owner = :owner
    WHERE {_STILL_OURS} RETURNING id"""
)
FAILED = Statement(
    f"""UPDATE seawall_outbox SET attempts = :attempts, available_at = {{now}} + :delay, error = :error,
        stuck_at = CASE WHEN :flag = 1 THEN {{now}} END, owner = :owner, lease_until = 0
    WHERE {_STILL_OURS} AND sent_at IS NULL RETURNING id"""
)
GIVE_BACK = Statement(
    """UPDATE seawall_outbox SET lease_until = 0
    WHERE id IN (SELECT CAST(value AS BIGINT) FROM {listed}) AND owner = :owner"""
)
GIVE_BACK_KEYS = Statement(
    "DELETE FROM seawall_outbox_key WHERE owner = :owner AND ordering_key IN (SELECT value FROM {listed})"
)


class Row(NamedTuple):
    """A message, and the number of its row."""

    id: int
    message: OutboxMessage


class Failure(NamedTuple):
    """How messages failed: those that failed alike are written down at once."""

    attempts: int
    delay: float
    error: str
    stuck: bool


@dataclass(slots=True, eq=False)
class Holding:
    """What is to be written down about what one owner holds. Rows are told by their numbers."""

    owner: str
    sent: list[int] = field(default_factory=list)
    failed: dict[Failure, list[int]] = field(default_factory=dict)
    keep_keys: dict[str, None] = field(default_factory=dict)  # a set in order
    keep_free: list[int] = field(default_factory=list)
    give_back: list[int] = field(default_factory=list)
    give_back_keys: list[str] = field(default_factory=list)


class Claim(NamedTuple):
    """What is to be claimed: at most `limit` messages, at most `keyed` of them with a key, from the key `after` on."""

    owner: str
    limit: int
    keyed: int
    after: str


@dataclass(slots=True, eq=False)
class Answer:
    """What came of it.

    Attributes:
        written: the rows whose end was written down; others were no longer ours.
        kept: the keys and rows whose lease goes on.
        runs: what was claimed: a message without a key, or messages of a key, in order.
        after: where the next claim begins to look for keys.
        more: whether there may be more to claim right now.
        free: whether there may be more without a key.
    """

    written: set[int] = field(default_factory=set)
    kept: set[str | int] = field(default_factory=set)
    runs: list[list[Row]] = field(default_factory=list)
    after: str = ""
    more: bool = False
    free: bool = False


def turn(holdings: Sequence[Holding], claim: Claim | None, lease: float) -> Script[Answer]:
    """Writes down what was done, puts leases forward, gives back what was not done, and claims."""
    answer = Answer()
    for holding in holdings:
        yield from _write(holding, lease, answer)
    if claim is not None:
        yield from _claim_keys(claim, lease, answer)
        yield from _claim_free(claim, lease, answer)
    return answer


def _write(holding: Holding, lease: float, answer: Answer) -> Script[None]:
    owner = {"owner": holding.owner}
    if holding.keep_keys:  # first: the rows of keys are locked by it, and so who takes one over waits for what follows
        rows = yield KEEP_KEYS, {**owner, "lease": lease, "listed": json.dumps(list(holding.keep_keys))}
        answer.kept.update(row[0] for row in rows)
    if holding.keep_free:
        rows = yield KEEP_FREE, {**owner, "lease": lease, "listed": json.dumps(holding.keep_free)}
        answer.kept.update(row[0] for row in rows)
    if holding.sent:
        rows = yield SENT, {**owner, "listed": json.dumps(holding.sent)}
        answer.written.update(row[0] for row in rows)
    for failure, ids in holding.failed.items():
        values = {
            "attempts": failure.attempts,
            "delay": failure.delay,
            "error": failure.error,
            "flag": int(failure.stuck),
        }
        rows = yield FAILED, {**owner, **values, "listed": json.dumps(ids)}
        answer.written.update(row[0] for row in rows)
    if holding.give_back:
        yield GIVE_BACK, {**owner, "listed": json.dumps(holding.give_back)}
    if holding.give_back_keys:
        yield GIVE_BACK_KEYS, {**owner, "listed": json.dumps(holding.give_back_keys)}


def _claim_keys(claim: Claim, lease: float, answer: Answer) -> Script[None]:
    owner = {"owner": claim.owner}
    found = yield from _walk(claim, answer)
    if not found:
        return
    claimed = yield CLAIM_KEYS, {**owner, "lease": lease, "listed": json.dumps(found)}
    keys = [row[0] for row in claimed]
    if not keys:
        return
    rows = yield OF_KEYS, {"listed": json.dumps(keys), "count": -(-claim.keyed // len(keys))}
    runs = _runs(rows)
    answer.runs += runs.values()
    idle = [key for key in keys if key not in runs]  # another relay has just sent what was there
    if idle:
        yield GIVE_BACK_KEYS, {**owner, "listed": json.dumps(idle)}


def _walk(claim: Claim, answer: Answer) -> Script[list[str]]:
    """Returns keys that may be claimed, at most as many as asked for; sets where the next walk begins."""
    found: set[str] = set()
    answer.after, wrapped = claim.after, not claim.after
    for _ in range(ROUNDS):
        count = claim.keyed - len(found)
        rows = yield WALK, {"after": answer.after, "count": count, "owner": claim.owner}
        found.update(key for key, may in rows if may)
        ended = len(rows) < count
        answer.after = "" if ended else rows[-1][0]
        if wrapped and (ended or (claim.after and answer.after >= claim.after)):
            break  # all keys have been looked at
        wrapped = wrapped or ended
        if len(found) == claim.keyed:
            answer.more = True
            break
    else:
        answer.more = True
    return sorted(found)  # so that two relays that meet wait for each other in turn


def _runs(rows: Rows) -> dict[str, list[Row]]:
    """Returns the messages of each key in order, up to the first that may not be sent now."""
    runs: dict[str, list[Row]] = {}
    ended: set[str] = set()
    for id_, may, *columns in rows:
        message = message_of(columns)
        key = message.ordering_key or ""
        if not may:
            ended.add(key)
        if key not in ended:
            runs.setdefault(key, []).append(Row(id_, message))
    return runs


def _claim_free(claim: Claim, lease: float, answer: Answer) -> Script[None]:
    limit = claim.limit - sum(len(run) for run in answer.runs)
    if limit <= 0:
        answer.free = answer.more = True
        return
    rows = yield CLAIM_FREE, {"owner": claim.owner, "lease": lease, "limit": limit}
    answer.runs += [[Row(id_, message_of(columns))] for id_, *columns in sorted(rows, key=lambda row: row[0])]
    answer.free = len(rows) >= limit
    answer.more = answer.more or answer.free
