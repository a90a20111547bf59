"""The verbs of claims: what each says to a database; every one is one short transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seawall.durable.claims import (
    EXPIRED,
    FAILED_FOR,
    Answer,
    ClaimRecord,
    Done,
    Held,
    New,
    Running,
    Unknown,
    Verb,
    answer_of,
)
from seawall.durable.script import Script, Statement

_ONE: Final = "namespace = :namespace AND key = :key"
_HELD: Final = f"{_ONE} AND owner = :owner AND epoch = :epoch"
_OPEN: Final = "state IN ('running', 'unknown')"

_TAKE: Final = Statement("""
    INSERT INTO seawall_idempotency AS held (namespace, key, fingerprint, state, owner, epoch, lease_until, takeover,
        result_type, created_at, updated_at, expires_at)
    VALUES (:namespace, :key, :fingerprint, 'running', :owner, 1, {now} + :lease, :takeover, :result_type, {now}, {now},
        {now} + :ttl)
    ON CONFLICT (namespace, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, state = 'running', owner = excluded.owner,
        epoch = CASE WHEN held.owner = excluded.owner THEN held.epoch ELSE held.epoch + 1 END,
        lease_until = {now} + :lease, takeover = excluded.takeover, result = NULL,
        result_type = excluded.result_type,
        note = CASE WHEN held.state <> 'running' THEN NULL WHEN held.owner = excluded.owner THEN held.note
            ELSE 'taken over' END,
        created_at = CASE WHEN held.state = 'running' THEN held.created_at ELSE {now} END,
        updated_at = {now}, expires_at = {now} + :ttl
    WHERE held.state = 'failed' OR (held.state = 'done' AND held.expires_at <= {now})
        OR (held.state = 'running' AND held.fingerprint = excluded.fingerprint
            AND (held.owner = excluded.owner OR (held.takeover = 1 AND held.lease_until <= {now})))
    RETURNING epoch, note""")
_FIELDS: Final = """namespace, key, state, fingerprint, owner, epoch, takeover, lease_until - {now}, result,
        result_type, note, {now} - created_at, {now} - updated_at, expires_at - {now}"""
_LOOK: Final = Statement(f"SELECT {_FIELDS} FROM seawall_idempotency WHERE {_ONE}")
_LIST: Final = Statement(f"""
    SELECT {_FIELDS} FROM seawall_idempotency WHERE (namespace = :namespace OR :namespace = '')
        AND (state = 'unknown' OR (state = 'running' AND takeover = 0 AND lease_until <= {{now}}))
    ORDER BY updated_at LIMIT :limit""")
_EXPIRE: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = 'unknown', note = :note, updated_at = {{now}}
    WHERE {_HELD} AND state = 'running'""")
_RENEW: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = 'running', lease_until = {{now}} + :lease, updated_at = {{now}}
    WHERE {_HELD} AND {_OPEN} RETURNING epoch""")
_COMPLETE: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = 'done', result = :result, result_type = :result_type, note = NULL,
        lease_until = {{now}}, updated_at = {{now}}, expires_at = {{now}} + :ttl
    WHERE {_HELD} AND {_OPEN} RETURNING epoch""")
_RELEASE: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = 'failed', note = :note, lease_until = {{now}}, updated_at = {{now}},
        expires_at = {{now}} + :ttl
    WHERE {_ONE} AND owner = :owner AND {_OPEN} RETURNING epoch""")
_DOUBT: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = 'unknown', note = :note, epoch = epoch + 1, updated_at = {{now}}
    WHERE {_HELD} AND {_OPEN} RETURNING epoch""")
_FENCE: Final = Statement(f"""
    UPDATE seawall_idempotency SET epoch = epoch + 1, lease_until = {{now}} + :lease, updated_at = {{now}}
    WHERE {_HELD} AND state = 'running' RETURNING epoch""")
_SETTLE: Final = Statement(f"""
    UPDATE seawall_idempotency SET state = :state, result = :result, result_type = :result_type, note = :note,
        owner = :owner, epoch = epoch + 1, updated_at = {{now}}, expires_at = {{now}} + :ttl
    WHERE {_ONE} AND (state = 'unknown' OR (state = 'running' AND lease_until <= {{now}}))
        AND (owner = :of OR :of = '') RETURNING epoch""")


@dataclass(frozen=True, slots=True)
class Look(Verb[ClaimRecord | None]):
    """Reads a claim; None where there is none, or where its record has expired."""

    namespace: str
    key: str

    def _script(self) -> Script[ClaimRecord | None]:
        rows = yield _LOOK, {"namespace": self.namespace, "key": self.key}
        record = _record(rows[0]) if rows else None
        return None if record is None or record.gone else record


def _record(row: Sequence[Any]) -> ClaimRecord:
    namespace, key, state, fingerprint, owner, epoch, takeover, left, result, kind, note, age, changed, kept = row
    return ClaimRecord(
        namespace, key, state, fingerprint, owner, epoch, bool(takeover), left,
        None if result is None else bytes(result), kind or "", note or "", max(0.0, age), max(0.0, changed), kept,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListUnknown(Verb[list[ClaimRecord]]):
    """Reads claims of unknown outcome, also those that nobody has asked for since their lease ran out, oldest first.

    `namespace` may be empty: of all.
    """

    namespace: str
    limit: int

    def _script(self) -> Script[list[ClaimRecord]]:
        rows = yield _LIST, {"namespace": self.namespace, "limit": self.limit}
        return [_record(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Take(Verb[Answer]):
    """Claims a key. `takeover`: whether the claim, once its lease has run out, may be taken over.

    `result_type` names the codec that its result will have.
    """

    namespace: str
    key: str
    fingerprint: str
    owner: str
    lease: float
    ttl: float
    takeover: bool
    result_type: str

    def _script(self) -> Script[Answer]:
        one = {"namespace": self.namespace, "key": self.key}
        taken = yield (
            _TAKE,
            {
                **one,
                "fingerprint": self.fingerprint,
                "owner": self.owner,
                "lease": self.lease,
                "ttl": self.ttl,
                "takeover": int(self.takeover),
                "result_type": self.result_type,
            },
        )
        if taken:
            return New(taken[0][0], taken[0][1] is not None)
        row = yield from Look(self.namespace, self.key)()
        if row is None:  # it has expired between the two
            return Running(0.0, 0.0)
        answer = answer_of(row, self.fingerprint)
        if isinstance(answer, Unknown) and answer.fresh:
            yield _EXPIRE, {**one, "owner": row.owner, "epoch": row.epoch, "note": EXPIRED}
        return answer


@dataclass(frozen=True, slots=True)
class Renew(Verb[bool]):
    """Puts the end of the lease forward, even after it has run out where nobody took over; False: it is lost."""

    held: Held
    lease: float

    def _script(self) -> Script[bool]:
        return bool((yield _RENEW, {**self.held.values(), "lease": self.lease}))


@dataclass(frozen=True, slots=True)
class Complete(Verb[bool]):
    """Stores the result; False: the claim was lost, and nothing is stored."""

    held: Held
    result: bytes
    result_type: str
    ttl: float

    def _script(self) -> Script[bool]:
        values = {**self.held.values(), "result": self.result, "result_type": self.result_type, "ttl": self.ttl}
        return bool((yield _COMPLETE, values)) or (yield from _is(self.held, "done", self.held.epoch))


@dataclass(frozen=True, slots=True)
class Release(Verb[bool]):
    """Gives the claim back, since nothing took place; False: it was not ours any more. Only the owner counts."""

    held: Held
    note: str

    def _script(self) -> Script[bool]:
        one = {"namespace": self.held.namespace, "key": self.held.key, "owner": self.held.owner}
        released = yield _RELEASE, {**one, "note": self.note, "ttl": FAILED_FOR}
        return bool(released) or (yield from _is(self.held, "failed", None))


@dataclass(frozen=True, slots=True)
class Doubt(Verb[bool]):
    """Says that nobody knows whether it took place; False: the claim was not ours any more."""

    held: Held
    note: str

    def _script(self) -> Script[bool]:
        doubted = yield _DOUBT, {**self.held.values(), "note": self.note}
        return bool(doubted) or (yield from _is(self.held, "unknown", self.held.epoch + 1))


@dataclass(frozen=True, slots=True)
class Fence(Verb[Done | int | None]):
    """After a COMMIT of unknown end that completes this claim: waits for its end, and says what it was.

    The row is locked by the transaction in doubt for as long as that may still commit. `Done`: it did. A number: it did
    not, cannot any more, and that is the epoch under which the claim is held on. None: the claim was lost.
    """

    held: Held
    lease: float

    def _script(self) -> Script[Done | int | None]:
        fenced = yield _FENCE, {**self.held.values(), "lease": self.lease}
        if fenced:
            return int(fenced[0][0])
        row = yield from Look(self.held.namespace, self.held.key)()
        if row is None or row.owner != self.held.owner:
            return None
        if row.state == "done" and row.epoch == self.held.epoch:
            return Done(row.result or b"", row.result_type)
        return row.epoch if row.state == "running" and row.epoch == self.held.epoch + 1 else None


@dataclass(frozen=True, slots=True)
class Settle(Verb[bool]):
    """Ends what is unknown: `state` is done, with a result, or failed. False: there was nothing to settle.

    `owner` is the settler's own; `of` is whose claim it must be, or empty.
    """

    namespace: str
    key: str
    owner: str
    of: str
    state: str
    result: bytes | None
    result_type: str
    note: str
    ttl: float

    def _script(self) -> Script[bool]:
        values: Mapping[str, Any] = {
            "namespace": self.namespace,
            "key": self.key,
            "owner": self.owner,
            "of": self.of,
            "state": self.state,
            "result": self.result,
            "result_type": self.result_type,
            "note": self.note,
            "ttl": self.ttl,
        }
        if (yield _SETTLE, values):
            return True
        row = yield from Look(self.namespace, self.key)()
        return row is not None and row.owner == self.owner


def _is(held: Held, state: str, epoch: int | None) -> Script[bool]:
    """Whether an earlier run of the same script did it."""
    row = yield from Look(held.namespace, held.key)()
    return row is not None and row.state == state and row.owner == held.owner and epoch in (None, row.epoch)
