"""Payments of invoices at the payment gateway.

Whoever may have taken the money is asked again, under the same key, until the answer is yes or no: so a payment is
written down before the gateway is asked, and one of unknown outcome stays pending until the settler knows.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx2
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman.database import Database
from examples.dhanman.invoices import InvoiceNotFoundError
from examples.dhanman.tables import Invoice, Payment
from examples.dhanman.wire import PaymentView

LOGGER = logging.getLogger("dhanman")
DECLINED = 402
CONFIRMED = "The payment is confirmed."
PENDING = "It is not known yet whether the payment was taken. It will be settled."


class Payments:
    """Takes payments, one for each invoice.

    Args:
        database: where they are.
        client: of the payment gateway, protected.
        every: seconds between two rounds of settling.
    """

    def __init__(self, database: Database, client: httpx2.AsyncClient, *, every: float = 60.0) -> None:
        self._database, self._client, self._every = database, client, every
        self._settling: asyncio.Task[None] | None = None

    async def pay(self, invoice_id: str) -> PaymentView:
        """Pays an invoice; a second call finds the payment of the first. Raises InvoiceNotFoundError."""
        payment = await self._database.run(lambda session: self._begun(session, invoice_id), name="payments")
        return payment if payment.state != "pending" else await self._ask(payment)

    async def _begun(self, session: AsyncSession, invoice_id: str) -> PaymentView:
        invoice = await session.get(Invoice, invoice_id, with_for_update=True)
        if invoice is None:
            raise InvoiceNotFoundError
        payment = await session.scalar(select(Payment).where(Payment.invoice_id == invoice_id))
        if payment is None or payment.state == "declined":
            if payment is not None:
                await session.delete(payment)  # a declined one took nothing; another try is another payment
                await session.flush()
            payment = Payment(
                id=str(uuid.uuid4()),
                invoice_id=invoice_id,
                amount=invoice.amount,
                currency=invoice.currency,
                state="pending",
                message=PENDING,
                created_at=datetime.now(UTC),
            )
            session.add(payment)
            await session.flush()
        return _view(payment)

    async def _ask(self, payment: PaymentView) -> PaymentView:
        order = {"amount": str(payment.amount), "currency": payment.currency, "reference": payment.invoice_id}
        try:
            response = await self._client.post("/charges", json=order, headers={"Idempotency-Key": payment.id})
        except httpx2.HTTPError as error:
            LOGGER.warning("payment %s stays pending: %s: %s", payment.id, type(error).__name__, error)
            return payment
        if response.is_success:
            return await self._concluded(payment.id, "confirmed", CONFIRMED)
        if response.status_code == DECLINED:
            return await self._concluded(payment.id, "declined", "The payment was declined.")
        LOGGER.warning("payment %s stays pending: status %d", payment.id, response.status_code)
        return payment

    async def _concluded(self, payment_id: str, state: str, message: str) -> PaymentView:
        async def body(session: AsyncSession) -> PaymentView:
            payment = await session.get_one(Payment, payment_id, with_for_update=True)
            if payment.state == "pending":
                payment.state, payment.message = state, message
                if state == "confirmed":
                    invoice = await session.get_one(Invoice, payment.invoice_id)
                    invoice.is_paid = True
                await session.flush()
            return _view(payment)

        return await self._database.run(body, name="payments")

    async def start(self) -> None:
        """Begins to settle pending payments."""
        self._settling = asyncio.create_task(self._settle_for_ever())

    async def stop(self) -> None:
        """Ends that."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])

    async def _settle_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.settle()
            except Exception:
                LOGGER.exception("pending payments could not be settled now")

    async def settle(self) -> None:
        """Asks once for every pending payment, at the same gateway, under the same key."""

        async def body(session: AsyncSession) -> list[PaymentView]:
            found = await session.scalars(select(Payment).where(Payment.state == "pending").limit(100))
            return [_view(payment) for payment in found]

        for payment in await self._database.read(body):
            await self._ask(payment)


def _view(payment: Payment) -> PaymentView:
    fields: dict[str, Any] = {name: getattr(payment, name) for name in PaymentView.model_fields}
    return PaymentView(**fields)
