"""Sagas as they are shown: to operators, tests and programs that wait for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

SagaState: TypeAlias = Literal["running", "compensating", "completed", "compensated", "stuck", "resolved", "blocked"]


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step that was begun. Instants are seconds since 1970.

    Attributes:
        name: the step.
        state: started, sent (its command has left), done, failed, refused (failed, and surely did nothing); undoing,
            undo_sent, undo_failed, undone; stuck (its undoing was given up), skipped.
        key: its idempotency key.
        attempts: calls of its action, or commands sent.
        undo_attempts: the same for its undoing.
        result: what the action returned.
        error: how the last attempt failed.
        note: why an operator skipped it.
        late: a reply that came when nobody waited for it: {"result": ...} or {"error": ...}, with "undo".
        wake_at: when it is tried again, or a reply is waited for no longer.
        started_at: before it acted for the first time.
        undo_at: before its undoing began.
        ended_at: when it was done, undone or given up.
    """

    name: str
    state: str
    key: str
    attempts: int
    undo_attempts: int
    result: Any
    error: str | None
    note: str | None
    late: dict[str, Any] | None
    wake_at: float | None
    started_at: float
    undo_at: float | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class SagaReport:
    """A saga at one moment. Instants are seconds since 1970.

    Attributes:
        saga_id: the saga.
        name: its type.
        version: of the definition that it was begun with.
        state: running, compensating, completed, compensated, stuck (an undoing was given up: somebody must look),
            resolved (by an operator); blocked: no worker knows its definition.
        held: whether a worker has it now.
        wake_at: when a worker looks at it next; None: when a reply or an operator comes, or never.
        deadline: from then on it is compensated, unless it only goes forward.
        error: why it is, or was, compensated.
        blocked: why no worker goes on with it.
        note: why an operator resolved it.
        created_at: its start.
        updated_at: the last change.
        ended_at: its end.
        data: what it was started with; those of a dataclass as a dict.
        steps: those that were begun, in order; empty in a list.
    """

    saga_id: str
    name: str
    version: int
    state: SagaState
    held: bool
    wake_at: float | None
    deadline: float | None
    error: str | None
    blocked: str | None
    note: str | None
    created_at: float
    updated_at: float
    ended_at: float | None
    data: Any
    steps: tuple[StepReport, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it is over: completed, compensated or resolved."""
        return self.ended_at is not None
