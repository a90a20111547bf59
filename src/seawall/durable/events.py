"""What happens in durable work, as frozen records; see `seawall.listen`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from seawall._core.events import _Record, brief


@dataclass(frozen=True, slots=True)
class Reaped(_Record):
    """What had ended long ago was deleted. `name` is the store's; `rows`: how many, by kind."""

    rows: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.name}: deleted " + ", ".join(f"{count} of {kind}" for kind, count in self.rows.items() if count)


@dataclass(frozen=True, slots=True)
class LeaseLost(_Record):
    """A lease was lost while its holder worked: what the holder still writes is refused. `name`: what was held."""

    level: ClassVar[int] = logging.WARNING
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: the lease was lost: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Operation(_Record):
    """Something about one idempotent operation. `name` is its namespace. Made only while somebody listens or logs."""

    level: ClassVar[int] = logging.DEBUG
    said: ClassVar[str]
    key: str

    def __str__(self) -> str:
        return f"{self.name!r}: operation {self.key!r} {self.said}"


@dataclass(frozen=True, slots=True)
class OperationStarted(_Operation):
    """An operation was claimed, and is executed."""

    said: ClassVar[str] = "is executed"


@dataclass(frozen=True, slots=True)
class OperationTakenOver(_Operation):
    """An operation is executed whose holder is gone, or too slow: its lease had run out. OperationStarted follows."""

    level: ClassVar[int] = logging.WARNING
    said: ClassVar[str] = "is taken over: the lease of its holder had run out"


@dataclass(frozen=True, slots=True)
class OperationEnded(_Operation):
    """An execution ended. `state`: done, or failed, which lets the next one with the key run."""

    said: ClassVar[str] = "has ended"
    state: str

    def __str__(self) -> str:
        return f"{self.name!r}: operation {self.key!r} {self.said}: {self.state}"


@dataclass(frozen=True, slots=True)
class OperationReplayed(_Operation):
    """An operation was done before: its stored result was given."""

    said: ClassVar[str] = "was done before; its result is given again"


@dataclass(frozen=True, slots=True)
class OperationInProgress(_Operation):
    """An operation was refused because an equal one is running."""

    level: ClassVar[int] = logging.INFO
    said: ClassVar[str] = "is running already; a repeat was refused"


@dataclass(frozen=True, slots=True)
class OperationMismatched(_Operation):
    """An operation was refused because its key is that of another one."""

    level: ClassVar[int] = logging.WARNING
    said: ClassVar[str] = "has the key of another request, and was refused"


@dataclass(frozen=True, slots=True)
class OperationUnknown(_Operation):
    """Whether an operation took place is not known any more; repeats are refused until somebody settles it."""

    level: ClassVar[int] = logging.ERROR
    said: ClassVar[str] = "may or may not have taken place, and is not repeated until that is settled"
    note: str

    def __str__(self) -> str:
        return f"{self.name!r}: operation {self.key!r} {self.said}: {self.note}"


@dataclass(frozen=True, slots=True)
class OperationSettled(_Operation):
    """What was unknown about an operation is known: `state` is done or failed, and `by` says who found out."""

    level: ClassVar[int] = logging.WARNING
    said: ClassVar[str] = "was unknown and is settled"
    state: str
    by: str

    def __str__(self) -> str:
        return f"{self.name!r}: operation {self.key!r} {self.said}: {self.state}, says {self.by}"


@dataclass(frozen=True, slots=True)
class SagaStarted(_Record):
    """A worker took a saga for the first time. `name` is its type."""

    saga_id: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: started"


@dataclass(frozen=True, slots=True)
class SagaStepFailed(_Record):
    """An attempt at a step, or at its undoing, failed. `again_in`: seconds until the next one; None: there is none."""

    level: ClassVar[int] = logging.WARNING
    saga_id: str
    step: str
    undo: bool
    attempt: int
    error: str
    again_in: float | None

    def __str__(self) -> str:
        what = f"undoing {self.step!r}" if self.undo else f"step {self.step!r}"
        then = "no other one is made" if self.again_in is None else f"again in {self.again_in:.3g} s"
        return f"saga {self.name!r} {self.saga_id}: {what}, attempt {self.attempt}, failed; {then}: {self.error}"


@dataclass(frozen=True, slots=True)
class SagaCompensating(_Record):
    """What a saga did is undone from now on. `step` is the one that failed; None: the saga's deadline passed."""

    level: ClassVar[int] = logging.WARNING
    saga_id: str
    step: str | None
    reason: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: is compensated: {self.reason}"


@dataclass(frozen=True, slots=True)
class SagaEnded(_Record):
    """A saga has ended: completed, compensated, or resolved by an operator. `seconds` since it was started."""

    saga_id: str
    state: str
    seconds: float

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: {self.state} after {self.seconds:.3g} s"


@dataclass(frozen=True, slots=True)
class SagaStuck(_Record):
    """The undoing of some steps was given up: somebody must look (`seawall saga retry`, `skip` or `resolve`)."""

    level: ClassVar[int] = logging.ERROR
    saga_id: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: stuck, not undone: {', '.join(self.steps)}; somebody must look"


@dataclass(frozen=True, slots=True)
class SagaBlocked(_Record):
    """No worker goes on with a saga, because none has the definition that it was begun with. It is left as it is."""

    level: ClassVar[int] = logging.ERROR
    saga_id: str
    version: int
    reason: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id} of version {self.version}: blocked: {self.reason}"


@dataclass(frozen=True, slots=True)
class SagaTakenOver(_Record):
    """A saga goes on whose worker was gone: its lease had run out."""

    level: ClassVar[int] = logging.WARNING
    saga_id: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: taken over, the lease of its worker had run out"


@dataclass(frozen=True, slots=True)
class SagaInterrupted(_Record):
    """A worker could not go on with a saga; it is taken up again, at the latest when its lease has run out."""

    level: ClassVar[int] = logging.WARNING
    saga_id: str
    error: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: interrupted, and taken up again later: {self.error}"


@dataclass(frozen=True, slots=True)
class SagaReplyLate(_Record):
    """A reply came when nobody waited for it any more: it is shown with the step, and changes nothing."""

    level: ClassVar[int] = logging.WARNING
    saga_id: str
    step: str

    def __str__(self) -> str:
        return f"saga {self.name!r} {self.saga_id}: the reply to step {self.step!r} came late, and is only recorded"


@dataclass(frozen=True, slots=True)
class OutboxSent(_Record):
    """A relay sent a message, and wrote that down. `name` is the relay's; `age`: seconds since it was added."""

    level: ClassVar[int] = logging.DEBUG
    message_id: str
    destination: str
    age: float

    def __str__(self) -> str:
        return f"{self.name!r}: sent {self.message_id} to {self.destination!r} after {self.age:.3g} s"


@dataclass(frozen=True, slots=True)
class OutboxFailed(_Record):
    """An attempt to send a message failed, the `attempts`-th; the next one follows after `again_in` seconds."""

    level: ClassVar[int] = logging.WARNING
    message_id: str
    destination: str
    attempts: int
    again_in: float
    error: str

    def __str__(self) -> str:
        return (
            f"{self.name!r}: attempt {self.attempts} to send {self.message_id} to {self.destination!r} failed; "
            f"again in {self.again_in:.3g} s: {self.error}"
        )


@dataclass(frozen=True, slots=True)
class OutboxStuck(_Record):
    """A message failed too often, and holds up its key: somebody must look (`seawall outbox retry`, `drop`)."""

    level: ClassVar[int] = logging.ERROR
    message_id: str
    destination: str
    ordering_key: str | None
    attempts: int
    error: str

    def __str__(self) -> str:
        return (
            f"{self.name!r}: {self.message_id} to {self.destination!r} is stuck after {self.attempts} attempts; "
            f"somebody must look: {self.error}"
        )


@dataclass(frozen=True, slots=True)
class RelayStalled(_Record):
    """A relay cannot reach its store; it tries again after `again_in` seconds. Messages wait meanwhile."""

    level: ClassVar[int] = logging.ERROR
    again_in: float
    error: str

    def __str__(self) -> str:
        return f"{self.name!r}: the store does not answer, next try in {self.again_in:.3g} s: {self.error}"


@dataclass(frozen=True, slots=True)
class CommitUnknown(_Record):
    """The connection of a transaction ended, or was silent, in its COMMIT. `name`: see `run_transaction`.

    `outcome` is what was found out by its `txn_id`: committed; undone, so that it may be made again; or unknown.
    """

    outcome: str
    failure: BaseException

    @property
    def level(self) -> int:  # type: ignore[override]
        """How loudly it is logged."""
        return logging.ERROR if self.outcome == "unknown" else logging.WARNING

    def __str__(self) -> str:
        found = "whether it was committed is unknown" if self.outcome == "unknown" else f"it was {self.outcome}"
        return f"{self.name!r}: the answer to COMMIT was lost; {found}: {brief(self.failure)}"
