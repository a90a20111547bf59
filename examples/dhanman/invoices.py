"""Invoices and their ledger: an invoice and both its entries are committed together, or not at all."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal

from fastapi import Response
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman.database import Database
from examples.dhanman.tables import Invoice, LedgerEntry
from examples.dhanman.wire import EntryView, InvoiceView, LedgerView, NewInvoice
from seawall.durable import Outbox
from seawall.web import NotFoundError, current_request_claim

TRACER = trace.get_tracer("Dhanman.Sales")
CREATED = "invoices.created"
"""The destination of the message that tells of a new invoice."""


class InvoiceNotFoundError(NotFoundError):
    """There is no invoice of this id."""

    code = "INVOICE_NOT_FOUND"
    message = "There is no such invoice."


class Invoices:
    """The invoices of the sales service.

    Args:
        database: where they are.
        outbox: in the same database; messages leave by it.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database, self._outbox = database, outbox

    async def create(self, order: NewInvoice) -> Response:
        """Writes an invoice, its entries, the message that tells of it, and the answer to the client: one commit."""
        with TRACER.start_as_current_span("CreateInvoice") as span:
            span.set_attribute("invoice.customer_id", order.customer_id)
            span.set_attribute("invoice.amount", float(order.amount))
            claim = current_request_claim()

            async def body(session: AsyncSession) -> Response:
                invoice = await self._write(session, order)
                span.set_attribute("invoice.id", invoice.id)
                view = InvoiceView.model_validate(invoice)
                answer = Response(view.model_dump_json(), 201, {"location": f"/invoices/{invoice.id}"}, JSON)
                await claim.aanswer(answer, session=session)
                return answer

            answer = await self._database.run(body, name="invoices")
            span.set_status(Status(StatusCode.OK))
            return answer

    async def _write(self, session: AsyncSession, order: NewInvoice) -> Invoice:
        now = datetime.now(UTC)
        invoice = Invoice(id=str(uuid.uuid4()), is_paid=False, created_at=now, **order.model_dump())
        session.add(invoice)
        await session.flush()
        session.add_all(LedgerEntry(invoice_id=invoice.id, side=side, amount=order.amount) for side in SIDES)
        await session.flush()
        told = {"invoice_id": invoice.id, "customer_id": invoice.customer_id, "amount": str(invoice.amount)}
        await self._outbox.aadd(CREATED, told, ordering_key=invoice.id, session=session)
        return invoice

    async def get(self, invoice_id: str) -> InvoiceView:
        """Returns an invoice. Raises InvoiceNotFoundError."""

        async def body(session: AsyncSession) -> InvoiceView:
            invoice = await session.get(Invoice, invoice_id)
            if invoice is None:
                raise InvoiceNotFoundError
            return _view(invoice)

        return await self._database.read(body)

    async def overdue(self) -> list[InvoiceView]:
        """Returns what should have been paid by now, within the query time-out of 30 s; the oldest first."""

        async def body(session: AsyncSession) -> list[InvoiceView]:
            late = Invoice.due_date < datetime.now(UTC)
            found = await session.scalars(
                select(Invoice).where(late, Invoice.is_paid.is_(False)).order_by(Invoice.due_date).limit(1000)
            )
            return [_view(invoice) for invoice in found]

        return await self._database.read(body)

    async def ledger(self) -> LedgerView:
        """Returns all entries with their balance, as they were at one moment."""

        async def body(session: AsyncSession) -> LedgerView:
            found = await session.scalars(select(LedgerEntry).order_by(LedgerEntry.id))
            entries = [EntryView.model_validate(entry, from_attributes=True, extra="ignore") for entry in found]
            balance = sum((entry.amount * (1 if entry.side == "debit" else -1) for entry in entries), Decimal(0))
            return LedgerView(entries=entries, balance=balance)

        return await self._database.read(body)


JSON = "application/json"
SIDES = ("debit", "credit")


def _view(invoice: Invoice) -> InvoiceView:
    return InvoiceView.model_validate(invoice)
