"""What a saga does next, decided from what is written down alone: so any worker, after any crash, decides the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from seawall._core.arguments import Rng
from seawall.durable.saga import Saga, Step
from seawall.durable.saga_rows import (
    BEGUN,
    COMPENSATED,
    COMPENSATING,
    COMPLETED,
    DONE,
    FAILED,
    REFUSED,
    RUNNING,
    SENT,
    SKIPPED,
    STARTED,
    STUCK,
    UNDO_FAILED,
    UNDO_SENT,
    UNDOING,
    Progress,
    StepRow,
)


class Refusal(str):
    """How an action failed, in words, where it surely did nothing."""

    __slots__ = ()


Row: TypeAlias = Callable[[float], StepRow]
"""Makes a step's row, given the instant at which it is written."""


@dataclass(frozen=True, slots=True)
class Act:
    """Make an attempt at a step, or at its undoing."""

    step: Step[Any]
    undo: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Write down that an attempt at a step failed: a reply said so, or none came in time."""

    step: Step[Any]
    undo: bool
    error: str


@dataclass(frozen=True, slots=True)
class Compensate:
    """Turn around: undo what was begun. `reason` says why; `step` is the one that failed, None for the deadline."""

    step: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Put the saga aside until an instant of the database's clock; None: until somebody replies."""

    until: float | None


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do."""

    state: str


@dataclass(frozen=True, slots=True)
class Block:
    """The definition at hand is not the one that the saga was begun with."""

    reason: str


Move: TypeAlias = Act | Record | Compensate | Wait | End | Block


def decide(saga: Saga[Any], progress: Progress) -> Move:
    """Returns what is to be done now with a saga that is running or compensating."""
    names = [step.name for step in saga.steps]
    for row in progress.steps.values():
        if row.position >= len(names) or names[row.position] != row.name:
            return Block(f"its step {row.position + 1} was {row.name!r}, and is not so in the definition at hand")
    return _forward(saga, progress) if progress.state == RUNNING else _back(saga, progress)


def _forward(saga: Saga[Any], progress: Progress) -> Move:
    step = next((each for each in saga.steps if not _is_done(progress.steps.get(each.name))), None)
    if step is None:
        return End(COMPLETED)
    row = progress.steps.get(step.name)
    if row is not None and row.state in (FAILED, REFUSED):
        error = row.error or ""
        return Record(step, False, error) if step.kind == "retriable" else Compensate(step.name, error)
    may_turn = step.kind == "compensatable" or (step.kind == "pivot" and row is None)
    until = progress.deadline if may_turn else None
    if until is not None and until <= progress.now:
        return Compensate(None, "its deadline has passed")
    if row is None:
        return Act(step, undo=False)
    if row.wake_at is not None and row.wake_at > progress.now:
        return Wait(row.wake_at if until is None else min(row.wake_at, until))
    if row.state == STARTED:
        return Act(step, undo=False)
    return Wait(until) if row.wake_at is None else Record(step, False, _silence(step))


def _back(saga: Saga[Any], progress: Progress) -> Move:
    """Undoes in reverse order. One that has to wait does not hold up the others, and nor does one that was given up."""
    waits: list[float | None] = []
    for step, row in _to_undo(saga, progress):
        if row.state == UNDO_FAILED:
            return Record(step, True, row.error or "")
        if row.state in BEGUN:
            return Act(step, undo=True)
        if row.wake_at is not None and row.wake_at <= progress.now:
            return Act(step, undo=True) if row.state == UNDOING else Record(step, True, _silence(step))
        if row.wake_at is None and row.state == UNDOING:
            return Act(step, undo=True)
        waits.append(row.wake_at)
    if waits:
        return Wait(min((wait for wait in waits if wait is not None), default=None))
    given_up = any(row.state == STUCK for row in progress.steps.values())
    return End(STUCK if given_up else COMPENSATED)


def _to_undo(saga: Saga[Any], progress: Progress) -> Iterator[tuple[Step[Any], StepRow]]:
    for step in reversed(saga.steps):
        row = progress.steps.get(step.name)
        if row is not None and step.undoable and row.state in (*BEGUN, UNDOING, UNDO_SENT, UNDO_FAILED):
            yield step, row


def _is_done(row: StepRow | None) -> bool:
    return row is not None and row.state in (DONE, SKIPPED)


def _silence(step: Step[Any]) -> str:
    return f"no reply within {step.timeout:g} s"


# How the row of a step changes: each function returns one that makes the new row at the instant of its writing.


def begun(step: Step[Any], position: int, old: StepRow | None, *, undo: bool) -> Row:
    """Another attempt is about to be made, or its command to be sent."""

    def row(now: float) -> StepRow:
        base = StepRow(step.name, position, step.kind, STARTED, started_at=now) if old is None else old
        wake_at = None if step.timeout is None else now + step.timeout
        if not undo:
            sends = step.command is not None
            attempts = base.attempts + 1
            return replace(
                base, state=SENT if sends else STARTED, attempts=attempts, wake_at=wake_at if sends else None
            )
        first = base.undo_at is None
        return replace(
            base,
            state=UNDO_SENT if step.undo_command else UNDOING,
            undo_attempts=base.undo_attempts + 1,
            undo_at=now if first else base.undo_at,
            failures=0 if first else base.failures,
            wake_at=wake_at if step.undo_command else None,
            ended_at=None,
        )

    return row


def done(old: StepRow, state: str, answer: str | None) -> Row:
    """It was done, or undone. `answer`: the result of an action as JSON; None leaves what was there."""
    return lambda now: replace(
        old, state=state, answer=old.answer if answer is None else answer, wake_at=None, ended_at=now
    )


def later(old: StepRow, seconds: float) -> Row:
    """It asked to be called again."""
    return lambda now: replace(old, wake_at=now + seconds)


def failed(step: Step[Any], old: StepRow, error: str, *, undo: bool, rng: Rng) -> Row:
    """An attempt failed: it will be made again, or not: a step is compensated, an undoing given up after its time."""

    def row(now: float) -> StepRow:
        failures = old.failures + 1
        base = replace(old, failures=failures, error=error, wake_at=None)
        if undo:
            if now - (now if old.undo_at is None else old.undo_at) >= step.undo_for:
                return replace(base, state=STUCK, ended_at=now)
            return replace(base, state=UNDOING, wake_at=now + step.undo_backoff.delay(failures, None, rng))
        if step.kind == "retriable":
            return replace(base, state=STARTED, wake_at=now + step.backoff.delay(failures, None, rng))
        return replace(base, state=REFUSED if isinstance(error, Refusal) else FAILED, ended_at=now)

    return row


def given_up(progress: Progress) -> tuple[str, ...]:
    """Returns the steps whose undoing was given up."""
    return tuple(row.name for row in progress.steps.values() if row.state == STUCK)


def is_under_way(progress: Progress) -> bool:
    """Whether a worker has something to do with it, now or later."""
    return progress.state in (RUNNING, COMPENSATING)
