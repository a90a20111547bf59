"""What goes wrong in durable work, by name."""

from __future__ import annotations

from typing import ClassVar

from seawall._core.errors import RejectedError, SeawallError


class LeaseLostError(SeawallError):
    """The lease ran out, or somebody else took over: what this holder still wrote was refused."""


class InProgressError(RejectedError):
    """An operation with this key is running; look again after `retry_after` seconds."""

    reason = "is running an operation with this key already"


class OutcomeUnknownError(SeawallError):
    """Whether the operation with this key took place is not known; it is not repeated until somebody settles it."""


class KeyMismatchError(SeawallError):
    """The key was used before for another request."""


class CommitUnknownError(SeawallError):
    """Whether a transaction was committed is not known: the connection ended, or was silent, in its COMMIT.

    No `Retry` repeats what raised it, whatever its `on` says: that might do everything twice.
    """

    repeatable: ClassVar[bool] = False


class LockTimeoutError(RejectedError):
    """The lock was not free within the time to wait for it."""

    reason = "was not free in time"


class UnknownSagaError(SeawallError):
    """There is no saga of this id in the store, or none of this name among the definitions."""


class StepRefusedError(SeawallError):
    """Raised by an action, or given to `Sagas.reply`: the step surely did nothing, so nothing of it is to be undone."""


class SagaStateError(SeawallError):
    """The saga, or its step, is in a state in which what was asked makes no sense."""
