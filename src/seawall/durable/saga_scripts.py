"""What the holder of a saga says to the database. Every write carries its owner, epoch and revision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from seawall.durable.errors import LeaseLostError
from seawall.durable.outbox_scripts import insert
from seawall.durable.saga_rows import Change, Claim, Progress, StepRow
from seawall.durable.script import Script, Statement

GRACE: Final = 5.0
"""Seconds beyond a lease after which a saga that is due and that nobody took is said to be blocked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A saga that was not taken. `held_for`: seconds that another worker's lease has left; 0 where nobody holds it."""

    kind: str
    known: bool
    held_for: float


_COLUMNS: Final = "id, type, version, state, data, revision, epoch, deadline, error, created_at, {now}"
_FENCE: Final = "id = :saga_id AND owner = :owner AND epoch = :epoch"
_DUE: Final = "wake_at <= {now} AND lease_until <= {now}"

_KIND: Final = "type || ':' || CAST(version AS TEXT)"

DUE: Final = Statement(
    f"SELECT id, owner IS NOT NULL FROM seawall_saga WHERE {_DUE} AND {_KIND} IN (SELECT value FROM {{listed}}) "
    "ORDER BY wake_at LIMIT :limit {skip_locked}"
)
BLOCK: Final = Statement(
    "UPDATE seawall_saga SET blocked = :blocked, updated_at = {now} WHERE wake_at <= {now} - :lease "
    f"AND lease_until <= {{now}} AND blocked IS NULL AND {_KIND} NOT IN (SELECT value FROM {{listed}}) "
    "RETURNING id, type, version"
)
MINE: Final = Statement(f"SELECT {_COLUMNS} FROM seawall_saga WHERE owner = :owner ORDER BY id")
TAKE: Final = Statement(
    f"UPDATE seawall_saga SET owner = :owner, epoch = epoch + 1, lease_until = {{now}} + :lease, updated_at = {{now}} "
    f"WHERE id = :saga_id AND {_DUE} RETURNING {_COLUMNS}"
)
STEPS: Final = Statement(
    "SELECT name, position, kind, state, attempts, undo_attempts, failures, wake_at, result, error, started_at, "
    "undo_at, ended_at FROM seawall_saga_step WHERE saga_id = :saga_id ORDER BY position"
)
LOOK: Final = Statement(
    "SELECT owner, lease_until - {now}, type, version, wake_at <= {now} FROM seawall_saga WHERE id = :saga_id"
)
WRITTEN: Final = Statement(f"SELECT {_COLUMNS} FROM seawall_saga WHERE id = :saga_id AND writing = :writing")
LOAD: Final = Statement(f"SELECT {_COLUMNS} FROM seawall_saga WHERE {_FENCE}")
RENEW: Final = Statement(f"UPDATE seawall_saga SET lease_until = {{now}} + :lease WHERE {_FENCE} RETURNING id")

_WRITE: Final = (
    "UPDATE seawall_saga SET revision = revision + 1, writing = :writing, updated_at = {now}, state = :state, "
    "error = :error"
)
_WRITTEN: Final = f"WHERE {_FENCE} AND revision = :revision RETURNING {{now}}"
_FREE: Final = "owner = NULL, lease_until = 0"
KEEP: Final = Statement(f"{_WRITE}, blocked = NULL {_WRITTEN}")
LEAVE: Final = Statement(f"{_WRITE}, blocked = :blocked, wake_at = :wake_at, {_FREE} {_WRITTEN}")
END: Final = Statement(f"{_WRITE}, blocked = NULL, wake_at = NULL, ended_at = {{now}}, {_FREE} {_WRITTEN}")
PUT: Final = Statement(
    "INSERT INTO seawall_saga_step (saga_id, name, position, kind, state, attempts, undo_attempts, failures, wake_at, "
    "result, error, started_at, undo_at, ended_at) VALUES (:saga_id, :step, :position, :kind, :state, :attempts, "
    ":undo_attempts, :failures, :wake_at, :answer, :error, :started_at, :undo_at, :ended_at) "
    "ON CONFLICT (saga_id, name) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, "
    "undo_attempts = excluded.undo_attempts, failures = excluded.failures, wake_at = excluded.wake_at, "
    "result = excluded.result, error = excluded.error, undo_at = excluded.undo_at, ended_at = excluded.ended_at"
)


def claim(owner: str, lease: float, kinds: Sequence[str], limit: int) -> Script[list[Claim]]:
    """Takes sagas of these kinds that are due: new ones, those whose time has come, and those whose worker is gone."""
    mine = yield MINE, {"owner": owner}
    rows = [(row, False) for row in mine]  # of a first run of this script, whose end was not known
    if not rows:
        due = yield DUE, {"listed": json.dumps(kinds), "limit": limit}
        for saga_id, was_held in due:
            taken = yield TAKE, {"saga_id": saga_id, "owner": owner, "lease": lease}
            rows += [(row, bool(was_held)) for row in taken]
    claims = []
    for row, was_held in rows:
        claims.append((yield from _claim(owner, row, was_held)))
    return claims


def block(lease: float, kinds: Sequence[str], reason: str) -> Script[list[tuple[str, str, int]]]:
    """Marks, once, what has been due for longer than a takeover takes and is of no such kind; returns it.

    A worker that knows it takes it all the same, and takes the mark away.
    """
    rows = yield BLOCK, {"listed": json.dumps(kinds), "blocked": reason, "lease": lease + GRACE}
    return [(str(saga_id), str(type_), int(version)) for saga_id, type_, version in rows]


def claim_one(saga_id: str, owner: str, lease: float, kinds: Sequence[str]) -> Script[Claim | Seen | None]:
    """Takes one saga, if it is due and of these kinds; otherwise says how it stands. None: there is none of this id."""
    mine = yield MINE, {"owner": owner}
    if mine:
        return (yield from _claim(owner, mine[0], False))
    rows = yield LOOK, {"saga_id": saga_id}
    if not rows:
        return None
    holder, left, type_, version, due = rows[0]
    known = kind_of(type_, version) in kinds
    if known and due:
        taken = yield TAKE, {"saga_id": saga_id, "owner": owner, "lease": lease}
        if taken:
            return (yield from _claim(owner, taken[0], holder is not None))
    return Seen(kind_of(type_, version), known, max(0.0, float(left)) if holder is not None else 0.0)


def kind_of(type_: str, version: int) -> str:
    """Returns what a worker knows or does not know: a type of saga in one version."""
    return f"{type_}:{version}"


def renew(claim: Claim, lease: float) -> Script[bool]:
    """Puts the end of a lease forward; returns whether it still stood, or is just being given up by its holder."""
    rows = yield RENEW, {**_fence(claim), "lease": lease}
    return bool(rows) or claim.letting_go


def load(claim: Claim) -> Script[Progress]:
    """Reads a saga anew. Raises LeaseLostError where it is in other hands."""
    rows = yield LOAD, _fence(claim)
    if not rows:
        raise _lost(claim)
    return (yield from _progress(rows[0]))


def keep(claim: Claim, change: Change) -> Script[Progress | None]:
    """Writes a change, a message into the outbox with it, and keeps the saga; answers as `_write`."""
    return (yield from _write(KEEP, claim, change, {}))


def leave(claim: Claim, change: Change, wake_at: float | None, blocked: str | None = None) -> Script[Progress | None]:
    """Writes a change and lets go of the saga until `wake_at`; answers as `_write`."""
    return (yield from _write(LEAVE, claim, change, {"wake_at": wake_at, "blocked": blocked}))


def end(claim: Claim, change: Change) -> Script[Progress | None]:
    """Writes the last change of a saga and lets go of it for good; answers as `_write`."""
    return (yield from _write(END, claim, change, {}))


def _write(statement: Statement, claim: Claim, change: Change, more: dict[str, Any]) -> Script[Progress | None]:
    """Returns the saga as it is now, or None: somebody else wrote meanwhile, a reply or an operator.

    Raises LeaseLostError where it is in other hands.
    """
    values = {"revision": claim.progress.revision, "state": change.state, "error": change.error}
    rows = yield statement, {**_fence(claim), **values, "writing": change.writing, **more}
    if not rows:
        before = yield WRITTEN, {"saga_id": claim.progress.saga_id, "writing": change.writing}
        if before:  # by a first run of this script, whose end was not known
            return (yield from _progress(before[0]))
        held = yield LOAD, _fence(claim)
        if not held:
            raise _lost(claim)
        return None
    now = float(rows[0][0])
    row = None if change.row is None else change.row(now)
    if row is not None:
        yield PUT, _values(claim.progress.saga_id, row)
    if change.message is not None:
        yield from insert(change.message)
    return claim.progress.after(now, change, row)


def _claim(owner: str, row: Sequence[Any], was_held: bool) -> Script[Claim]:
    progress = yield from _progress(row)
    return Claim(owner, int(row[6]), progress, was_held)


def _progress(row: Sequence[Any]) -> Script[Progress]:
    saga_id, type_, version, state, data, revision, _, deadline, error, created_at, now = row
    steps = yield STEPS, {"saga_id": saga_id}
    found = {step[0]: StepRow(*step) for step in steps}
    return Progress(saga_id, type_, version, state, data, revision, deadline, error, created_at, float(now), found)


def _values(saga_id: str, row: StepRow) -> dict[str, Any]:
    return {
        "saga_id": saga_id,
        "step": row.name,
        "position": row.position,
        "kind": row.kind,
        "state": row.state,
        "attempts": row.attempts,
        "undo_attempts": row.undo_attempts,
        "failures": row.failures,
        "wake_at": row.wake_at,
        "answer": row.answer,
        "error": row.error,
        "started_at": row.started_at,
        "undo_at": row.undo_at,
        "ended_at": row.ended_at,
    }


def _fence(claim: Claim) -> dict[str, Any]:
    return {"saga_id": claim.progress.saga_id, "owner": claim.owner, "epoch": claim.epoch}


def _lost(claim: Claim) -> LeaseLostError:
    return LeaseLostError(
        f"saga {claim.progress.saga_id!r} is in other hands: its lease ran out here, or an operator resolved it"
    )
