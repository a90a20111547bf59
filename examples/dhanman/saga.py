"""The invoice-payment saga: book a new invoice in the Common ledger, then tell the customer; or undo the booking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from examples.dhanman.wire import SagaView
from seawall.durable import Outbox, Saga, SagaReport, Sagas, Step, StepContext, Store, UnknownSagaError
from seawall.web import NotFoundError

NAME = "invoice-payment"
UPDATE, REVERSE, NOTIFY = "common.update_ledger", "common.reverse_ledger", "notifications.send"
"""Destinations of the saga's commands."""


class SagaNotFoundError(NotFoundError):
    """There is no saga of this id."""

    code = "SAGA_NOT_FOUND"
    message = "There is no such saga."


@dataclass(frozen=True)
class InvoicePayment:
    """What the saga is started with."""

    invoice_id: str
    customer_id: str
    amount: str
    correlation_id: str | None = None
    """Of the request that ordered the invoice: every command carries it on."""


Context = StepContext[InvoicePayment]


def _said(ctx: Context) -> dict[str, Any]:
    return {"invoice_id": ctx.data.invoice_id, "correlation_id": ctx.data.correlation_id}


def _update_ledger(ctx: Context) -> tuple[str, Any, str]:
    return UPDATE, {**_said(ctx), "amount": ctx.data.amount}, ctx.data.invoice_id


def _reverse_ledger(ctx: Context) -> tuple[str, Any, str]:
    return REVERSE, _said(ctx), ctx.data.invoice_id


def _send_notification(ctx: Context) -> tuple[str, Any, str]:
    said = {**_said(ctx), "customer_id": ctx.data.customer_id, "type": "InvoiceCreated"}
    return NOTIFY, said, ctx.data.invoice_id


def definition() -> Saga[InvoicePayment]:
    """Returns the saga. `ReverseLedger` does nothing where `UpdateLedger` was refused."""
    return Saga(
        NAME,
        Step("UpdateLedger", command=_update_ledger, undo_command=_reverse_ledger),
        Step("SendNotification", command=_send_notification, kind="pivot"),
        data=InvoicePayment,
    )


def sagas_of(store: Store, outbox: Outbox, *, lease: float, heartbeat: float) -> Sagas:
    """Returns the sagas of a store."""
    return Sagas(store, [definition()], outbox=outbox, lease=lease, heartbeat=heartbeat)


def id_of(invoice_id: str) -> str:
    """Returns the id of an invoice's saga: a second `InvoiceCreated` starts no second one."""
    return f"{NAME}:{invoice_id}"


async def shown(sagas: Sagas, saga_id: str) -> SagaView:
    """Returns how a saga stands. Raises SagaNotFoundError."""
    try:
        report = await sagas.ashow(saga_id)
    except UnknownSagaError as error:
        raise SagaNotFoundError from error
    return SagaView(id=saga_id, invoice_id=saga_id.removeprefix(f"{NAME}:"), state=_state(report), error=report.error)


def _state(report: SagaReport) -> Any:
    """The states of Dhanman's document: a running saga is started, or has its ledger updated."""
    if report.state != "running":
        return report.state
    booked = any(step.name == "UpdateLedger" and step.state == "done" for step in report.steps)
    return "ledger_updated" if booked else "started"
