"""What is written down of a saga: its row, and one for each step that was begun."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from seawall.durable.outbox_scripts import Addition

RUNNING: Final = "running"
COMPENSATING: Final = "compensating"
COMPLETED: Final = "completed"
COMPENSATED: Final = "compensated"
STUCK: Final = "stuck"
RESOLVED: Final = "resolved"
BLOCKED: Final = "blocked"
"""Shown in place of the state while no worker can go on with a saga; the state itself is left alone."""
STATES: Final = (RUNNING, COMPENSATING, COMPLETED, COMPENSATED, STUCK, RESOLVED, BLOCKED)

STARTED: Final = "started"  # its action is running, will be tried again at `wake_at`, or was running in a crash
SENT: Final = "sent"  # its command has left; until the reply, or `wake_at`
DONE: Final = "done"
FAILED: Final = "failed"  # not yet undone
REFUSED: Final = "refused"  # failed, and surely without an effect: never undone
UNDOING: Final = "undoing"  # as started
UNDO_SENT: Final = "undo_sent"  # as sent
UNDO_FAILED: Final = "undo_failed"  # so said a reply that no worker has looked at yet
UNDONE: Final = "undone"
SKIPPED: Final = "skipped"  # by an operator: a retriable step, or an undoing
BEGUN: Final = frozenset((STARTED, SENT, DONE, FAILED))
"""States of a step that is undone when its saga is. A step whose undoing was given up is STUCK."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that was begun. `failures` are those of its present direction, since the last operator's retry."""

    name: str
    position: int
    kind: str
    state: str
    attempts: int = 0
    undo_attempts: int = 0
    failures: int = 0
    wake_at: float | None = None
    answer: str | None = None
    error: str | None = None
    started_at: float = 0.0
    undo_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A saga as of an instant of the database's clock, `now`."""

    saga_id: str
    type: str
    version: int
    state: str
    data: str
    revision: int
    deadline: float | None
    error: str | None
    created_at: float
    now: float
    steps: dict[str, StepRow] = field(default_factory=dict)

    def after(self, now: float, change: Change, row: StepRow | None) -> Progress:
        """Returns what it is once a change has been written at `now`, with the row that it made."""
        steps = self.steps if row is None else {**self.steps, row.name: row}
        revision = self.revision + 1
        return replace(self, state=change.state, error=change.error, revision=revision, now=now, steps=steps)


@dataclass(frozen=True, slots=True)
class Change:
    """What the holder of a saga writes in one transaction.

    Attributes:
        state: the saga's, from now on.
        error: why it is compensated.
        row: makes the row of one step, given the instant of the writing.
        message: what leaves through the outbox.
        writing: marks the write, so that a script that is run again finds what it has committed before.
    """

    state: str
    error: str | None
    row: Callable[[float], StepRow] | None = None
    message: Addition | None = None
    writing: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(slots=True)
class Claim:
    """A saga in the hands of one worker, until its lease ends. `letting_go`: its release is on its way."""

    owner: str
    epoch: int
    progress: Progress
    taken_over: bool
    letting_go: bool = False


def key_of(saga_id: str, step: str) -> str:
    """Returns the idempotency key of a step: the same for each attempt and for its undoing, in whatever process."""
    text = f"{len(saga_id)}:{saga_id}{len(step)}:{step}"
    return hashlib.sha256(text.encode()).hexdigest()
