"""From the events of durable work to instruments. They are known by name: durable is a sibling of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seawall.observe.collection import Instruments
from seawall.observe.instruments import Counter, Histogram


class DurableRecording:
    """Takes note of what operations, outboxes, sagas and transactions tell.

    Args:
        instruments: those of the table.
    """

    def __init__(self, instruments: Instruments) -> None:
        get = instruments.get
        self._operations = get("seawall.idempotency.operations", Counter)
        self._messages = get("seawall.outbox.messages", Counter)
        self._age = get("seawall.outbox.age", Histogram)
        self._sagas = get("seawall.saga.ended", Counter)
        self._duration = get("seawall.saga.duration", Histogram)
        self._failures = get("seawall.saga.step.failures", Counter)
        self._stuck = get("seawall.saga.stuck", Counter)
        self._unknown = get("seawall.transaction.commit_unknown", Counter)
        self._lost = get("seawall.lease.lost", Counter)
        self.by_name: Mapping[str, Callable[[Any], None]] = {
            "OperationStarted": self._operation("executed"),
            "OperationReplayed": self._operation("replayed"),
            "OperationInProgress": self._operation("in_progress"),
            "OperationMismatched": self._operation("mismatched"),
            "OperationTakenOver": self._operation("taken_over"),
            "OperationUnknown": self._operation("unknown"),
            "OperationSettled": self._operation("settled"),
            "OutboxSent": self._sent,
            "OutboxFailed": self._message("failed"),
            "OutboxStuck": self._message("stuck"),
            "SagaEnded": self._ended,
            "SagaStepFailed": self._step_failed,
            "SagaStuck": self._saga_stuck,
            "CommitUnknown": self._commit_unknown,
            "LeaseLost": self._lease_lost,
        }

    def _operation(self, result: str) -> Callable[[Any], None]:
        return lambda event: self._operations.labels(event.name, result).add()

    def _message(self, result: str) -> Callable[[Any], None]:
        return lambda event: self._messages.labels(event.name, result).add()

    def _sent(self, event: Any) -> None:
        self._messages.labels(event.name, "sent").add()
        self._age.labels(event.name).observe(event.age)

    def _ended(self, event: Any) -> None:
        self._sagas.labels(event.name, event.state).add()
        self._duration.labels(event.name, event.state).observe(event.seconds)

    def _step_failed(self, event: Any) -> None:
        self._failures.labels(event.name, event.step, "undo" if event.undo else "action").add()

    def _saga_stuck(self, event: Any) -> None:
        self._stuck.labels(event.name).add()

    def _commit_unknown(self, event: Any) -> None:
        self._unknown.labels(event.name, event.outcome).add()

    def _lease_lost(self, event: Any) -> None:
        self._lost.labels().add()
