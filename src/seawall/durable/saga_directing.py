"""What others than the holder of a saga say to the database: starters, those who reply, and operators.

Each of these scripts first updates the saga's row, so that they and the holder come one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from seawall.durable.codec import JsonCodec
from seawall.durable.errors import KeyMismatchError, SagaStateError, UnknownSagaError
from seawall.durable.saga_data import from_text
from seawall.durable.saga_report import SagaReport, StepReport
from seawall.durable.saga_rows import (
    BEGUN,
    BLOCKED,
    COMPENSATING,
    DONE,
    FAILED,
    REFUSED,
    RESOLVED,
    RUNNING,
    SENT,
    SKIPPED,
    STARTED,
    STUCK,
    UNDO_FAILED,
    UNDO_SENT,
    UNDOING,
    UNDONE,
    key_of,
)
from seawall.durable.script import Script, Statement

RETRIABLE: Final = "retriable"
_SHOWN: Final = (
    "id, type, version, state, owner, lease_until - {now}, wake_at, deadline, error, blocked, note, created_at, "
    "updated_at, ended_at, data"
)
INSERT: Final = Statement(
    "INSERT INTO seawall_saga (id, type, version, state, data, revision, epoch, lease_until, wake_at, deadline, "
    "created_at, updated_at) VALUES (:saga_id, :type, :version, :state, :data, 0, 0, 0, {now}, {now} + :delay, "
    "{now}, {now}) ON CONFLICT (id) DO NOTHING RETURNING id"
)
SAME: Final = Statement("SELECT type, data FROM seawall_saga WHERE id = :saga_id")
TOUCH: Final = Statement(
    "UPDATE seawall_saga SET revision = revision + 1, updated_at = {now}, "
    "wake_at = CASE WHEN state IN ('running', 'compensating') THEN {now} ELSE wake_at END "
    "WHERE id = :saga_id RETURNING type, state, ended_at, note, {now} - created_at"
)
STEP: Final = Statement(
    "SELECT state, result, error, note, kind FROM seawall_saga_step WHERE saga_id = :saga_id AND name = :step"
)
ANSWER: Final = Statement(
    "UPDATE seawall_saga_step SET state = :state, result = COALESCE(:answer, result), error = COALESCE(:error, error), "
    "wake_at = NULL, ended_at = {now} WHERE saga_id = :saga_id AND name = :step"
)
LATE: Final = Statement("UPDATE seawall_saga_step SET late = :late WHERE saga_id = :saga_id AND name = :step")
COMPENSATE: Final = Statement(
    "UPDATE seawall_saga SET state = :state, wake_at = {now} WHERE id = :saga_id AND state = 'stuck'"
)
AGAIN: Final = Statement(
    "UPDATE seawall_saga_step SET state = CASE WHEN state IN ('started', 'sent') THEN 'started' ELSE 'undoing' END, "
    "wake_at = NULL, undo_at = CASE WHEN undo_at IS NULL THEN NULL ELSE {now} END, failures = 0 "
    "WHERE saga_id = :saga_id AND state IN ('started', 'sent', 'undoing', 'undo_sent', 'undo_failed', 'stuck')"
)
SKIP: Final = Statement(
    "UPDATE seawall_saga_step SET state = :state, note = :note, wake_at = NULL, ended_at = {now} "
    "WHERE saga_id = :saga_id AND name = :step"
)
RESOLVE: Final = Statement(
    "UPDATE seawall_saga SET state = :state, note = :note, blocked = NULL, owner = NULL, epoch = epoch + 1, "
    "lease_until = 0, wake_at = NULL, ended_at = {now} WHERE id = :saga_id"
)
SHOW: Final = Statement(f"SELECT {_SHOWN} FROM seawall_saga WHERE id = :saga_id")
SHOW_STEPS: Final = Statement(
    "SELECT name, state, attempts, undo_attempts, result, error, note, late, wake_at, started_at, undo_at, ended_at "
    "FROM seawall_saga_step WHERE saga_id = :saga_id ORDER BY position"
)
LIST: Final = Statement(
    f"SELECT {_SHOWN} FROM seawall_saga WHERE (:state = '' OR :state = "
    "CASE WHEN blocked IS NOT NULL AND ended_at IS NULL THEN 'blocked' ELSE state END) "
    "AND (:type = '' OR type = :type) ORDER BY created_at DESC, id LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class Touched:
    """The row of a saga that a script has just locked by updating it; `age` in seconds."""

    type: str
    state: str
    ended: bool
    note: str | None
    age: float


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command ended, as texts: either the result or the error is one."""

    step: str
    undo: bool
    answer: str | None
    error: str | None
    refused: bool = False


def start(saga_id: str, type_: str, version: int, data: str, deadline: float | None) -> Script[None]:
    """Writes a new saga down; one that is there already, with equal data, is left as it is.

    Raises KeyMismatchError where its type or its data are others.
    """
    values = {"saga_id": saga_id, "type": type_, "version": version, "state": RUNNING, "data": data, "delay": deadline}
    if (yield INSERT, values):
        return
    ((other_type, other_data),) = yield SAME, {"saga_id": saga_id}
    if other_type != type_ or from_text(other_data) != from_text(data):
        raise KeyMismatchError(
            f"saga_id={saga_id!r} is that of another saga, a {other_type!r}"
            f"{'' if other_type != type_ else ' with other data'}; use an id that belongs to one command alone"
        )


def reply(saga_id: str, said: Reply) -> Script[tuple[str, bool]]:
    """Records how a command ended; returns the saga's type, and whether somebody waited for that.

    A repeat of the reply that was taken changes nothing, and counts as waited for.
    """
    saga = yield from _touch(saga_id)
    state, answer, error, _, _ = yield from _step(saga_id, said.step)
    expected, good, bad = (UNDO_SENT, UNDONE, UNDO_FAILED) if said.undo else (SENT, DONE, FAILED)
    if said.refused and not said.undo:
        bad = REFUSED
    to = good if said.error is None else bad
    values = {"saga_id": saga_id, "step": said.step}
    if state == expected and saga.state in (RUNNING, COMPENSATING):
        kept = None if said.undo else said.answer
        yield ANSWER, {**values, "state": to, "answer": kept, "error": said.error}
        return saga.type, True
    if state == to and (said.undo or answer == said.answer) and (said.error is None or error == said.error):
        return saga.type, True
    late: dict[str, Any] = {"undo": said.undo}
    late |= {"result": from_text(said.answer)} if said.error is None else {"error": said.error}
    yield LATE, {**values, "late": JsonCodec().dumps(late).decode()}
    return saga.type, False


def retry(saga_id: str) -> Script[None]:
    """Lets every step that waits, or was given up, be tried now, with all its time before it."""
    saga = yield from _touch(saga_id)
    _refuse_ended(saga_id, saga)
    yield AGAIN, {"saga_id": saga_id}
    yield COMPENSATE, {"saga_id": saga_id, "state": COMPENSATING}


def skip(saga_id: str, step: str, note: str) -> Script[None]:
    """Passes over the undoing of a step, or over a step of those in `forward` that is tried again and again."""
    saga = yield from _touch(saga_id)
    state, _, _, said, kind = yield from _step(saga_id, step)
    if state == SKIPPED and said == note:
        return
    _refuse_ended(saga_id, saga)
    undoing = saga.state in (COMPENSATING, STUCK) and state in (*BEGUN, UNDOING, UNDO_SENT, UNDO_FAILED, STUCK)
    if not undoing and not (kind == RETRIABLE and state in (STARTED, SENT, FAILED, REFUSED)):
        raise SagaStateError(
            f"step {step!r} of saga {saga_id!r} is {state} in a saga that is {saga.state}, and cannot be skipped; "
            "a step's undoing can, and a retriable step that is not done"
        )
    yield SKIP, {"saga_id": saga_id, "step": step, "note": note, "state": SKIPPED}
    yield COMPENSATE, {"saga_id": saga_id, "state": COMPENSATING}


def resolve(saga_id: str, note: str) -> Script[tuple[str, float] | None]:
    """Ends a saga by an operator's word, whoever holds it; returns its type and age, None where it was so before."""
    saga = yield from _touch(saga_id)
    if saga.state == RESOLVED and saga.note == note:
        return None
    _refuse_ended(saga_id, saga)
    yield RESOLVE, {"saga_id": saga_id, "state": RESOLVED, "note": note}
    return saga.type, saga.age


def show(saga_id: str) -> Script[SagaReport]:
    """Returns a saga with its steps."""
    rows = yield SHOW, {"saga_id": saga_id}
    if not rows:
        raise unknown(saga_id)
    steps = yield SHOW_STEPS, {"saga_id": saga_id}
    return _report(rows[0], tuple(_step_report(saga_id, step) for step in steps))


def listed(state: str, type_: str, limit: int) -> Script[tuple[SagaReport, ...]]:
    """Returns sagas without their steps, the youngest first; an empty text stands for all."""
    rows = yield LIST, {"state": state, "type": type_, "limit": limit}
    return tuple(_report(row, ()) for row in rows)


def unknown(saga_id: str) -> UnknownSagaError:
    """Returns the error for an id that there is no saga of."""
    return UnknownSagaError(
        f"there is no saga {saga_id!r}; it was never started, its start was rolled back, or it ended long ago"
    )


def _touch(saga_id: str) -> Script[Touched]:
    rows = yield TOUCH, {"saga_id": saga_id}
    if not rows:
        raise unknown(saga_id)
    type_, state, ended_at, note, age = rows[0]
    return Touched(type_, state, ended_at is not None, note, float(age))


def _step(saga_id: str, step: str) -> Script[Any]:
    rows = yield STEP, {"saga_id": saga_id, "step": step}
    if not rows:
        raise SagaStateError(f"saga {saga_id!r} has begun no step {step!r}; look with `seawall saga show`")
    return rows[0]


def _refuse_ended(saga_id: str, saga: Touched) -> None:
    if saga.ended:
        raise SagaStateError(f"saga {saga_id!r} has ended: it is {saga.state}, and nothing is left to do")


def _report(row: Any, steps: tuple[StepReport, ...]) -> SagaReport:
    saga_id, type_, version, state, owner, left, *facts, created_at, updated_at, ended_at, data = row
    wake_at, deadline, error, blocked, note = facts
    return SagaReport(
        saga_id,
        type_,
        version,
        BLOCKED if blocked is not None and ended_at is None else state,
        owner is not None and left > 0,
        wake_at,
        deadline,
        error,
        blocked,
        note,
        created_at,
        updated_at,
        ended_at,
        from_text(data),
        steps,
    )


def _step_report(saga_id: str, row: Any) -> StepReport:
    name, state, attempts, undo_attempts, answer, error, note, late, *instants = row
    texts = (from_text(answer), error, note, from_text(late))
    return StepReport(name, state, key_of(saga_id, name), attempts, undo_attempts, *texts, *instants)
