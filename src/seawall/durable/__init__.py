"""Commands that run once, whatever crashes: stores, idempotency, inbox and outbox, sagas, locks, counters."""

from seawall.durable.claims import ClaimRecord
from seawall.durable.codec import Codec, CodecError, JsonCodec
from seawall.durable.counters import Counter
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import (
    CommitUnknownError,
    InProgressError,
    KeyMismatchError,
    LeaseLostError,
    LockTimeoutError,
    OutcomeUnknownError,
    SagaStateError,
    StepRefusedError,
    UnknownSagaError,
)
from seawall.durable.events import (
    CommitUnknown,
    LeaseLost,
    OperationEnded,
    OperationInProgress,
    OperationMismatched,
    OperationReplayed,
    OperationSettled,
    OperationStarted,
    OperationTakenOver,
    OperationUnknown,
    OutboxFailed,
    OutboxSent,
    OutboxStuck,
    Reaped,
    RelayStalled,
    SagaBlocked,
    SagaCompensating,
    SagaEnded,
    SagaInterrupted,
    SagaReplyLate,
    SagaStarted,
    SagaStepFailed,
    SagaStuck,
    SagaTakenOver,
)
from seawall.durable.idempotency import Idempotency
from seawall.durable.idempotency_claim import NOT_DONE, STILL_UNKNOWN, Claim, OperationOutcome, Replay
from seawall.durable.idempotency_function import idempotent
from seawall.durable.inbox import Inbox
from seawall.durable.keys import content_key
from seawall.durable.locks import Lock
from seawall.durable.migrations import StoreStatus, astatus, aupgrade, status, upgrade
from seawall.durable.opening import open_store
from seawall.durable.outbox import Outbox
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.relay import Relay
from seawall.durable.retention import Reaper, Retention, areap, reap
from seawall.durable.saga import Later, Saga, Step, StepContext
from seawall.durable.saga_report import SagaReport, StepReport
from seawall.durable.sagas import Sagas
from seawall.durable.store import Store, StoreError

__all__ = [
    "NOT_DONE",
    "STILL_UNKNOWN",
    "Claim",
    "ClaimRecord",
    "Codec",
    "CodecError",
    "CommitUnknown",
    "CommitUnknownError",
    "Counter",
    "EmbeddedStore",
    "Idempotency",
    "InProgressError",
    "Inbox",
    "JsonCodec",
    "KeyMismatchError",
    "Later",
    "LeaseLost",
    "LeaseLostError",
    "Lock",
    "LockTimeoutError",
    "OperationEnded",
    "OperationInProgress",
    "OperationMismatched",
    "OperationOutcome",
    "OperationReplayed",
    "OperationSettled",
    "OperationStarted",
    "OperationTakenOver",
    "OperationUnknown",
    "Outbox",
    "OutboxFailed",
    "OutboxMessage",
    "OutboxSent",
    "OutboxStuck",
    "OutcomeUnknownError",
    "Reaped",
    "Reaper",
    "Relay",
    "RelayStalled",
    "Replay",
    "Retention",
    "Saga",
    "SagaBlocked",
    "SagaCompensating",
    "SagaEnded",
    "SagaInterrupted",
    "SagaReplyLate",
    "SagaReport",
    "SagaStarted",
    "SagaStateError",
    "SagaStepFailed",
    "SagaStuck",
    "SagaTakenOver",
    "Sagas",
    "Step",
    "StepContext",
    "StepRefusedError",
    "StepReport",
    "Store",
    "StoreError",
    "StoreStatus",
    "UnknownSagaError",
    "areap",
    "astatus",
    "aupgrade",
    "content_key",
    "idempotent",
    "open_store",
    "reap",
    "status",
    "upgrade",
]
