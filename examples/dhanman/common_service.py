"""The Common service: a ledger of its own, kept on command. Each invoice is booked once, whatever is repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman.database import Database
from examples.dhanman.tables import CommonLedgerEntry
from examples.dhanman.wire import CommonEntryView


class BookingRefusedError(Exception):
    """The Common service does not book this invoice, and will not."""


class Common:
    """Takes `UpdateLedger` and `ReverseLedger`.

    Args:
        database: where its ledger is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refusing = False
        """Set it to let the service refuse every booking, to see sagas compensate."""

    async def update(self, session: AsyncSession, body: dict[str, Any]) -> dict[str, Any]:
        """Books an invoice. Raises BookingRefusedError."""
        if self.refusing:
            raise BookingRefusedError("the Common service books nothing now")
        entry = await session.get(CommonLedgerEntry, body["invoice_id"])
        if entry is None:
            amount = Decimal(body["amount"])
            entry = CommonLedgerEntry(
                invoice_id=body["invoice_id"], amount=amount, reversed=False, booked_at=datetime.now(UTC)
            )
            session.add(entry)
        return {"booked": str(entry.amount)}

    async def reverse(self, session: AsyncSession, body: dict[str, Any]) -> dict[str, Any]:
        """Reverses a booking. What was never booked needs none: commands come in their order."""
        entry = await session.get(CommonLedgerEntry, body["invoice_id"])
        if entry is None:
            return {"reversed": None}
        entry.reversed = True
        return {"reversed": str(entry.amount)}

    async def entries(self) -> list[CommonEntryView]:
        """Returns what is booked."""

        async def body(session: AsyncSession) -> list[CommonEntryView]:
            found = await session.scalars(select(CommonLedgerEntry).order_by(CommonLedgerEntry.booked_at))
            return [
                CommonEntryView(invoice_id=each.invoice_id, amount=each.amount, reversed=each.reversed)
                for each in found
            ]

        return await self._database.read(body)
