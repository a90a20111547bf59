"""What is said over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CustomerId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._:@-]+$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Amount = Annotated[Decimal, Field(gt=0, max_digits=15, decimal_places=2)]


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_with_zone)]


class Wire(BaseModel):
    """What every message has in common."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


def in_a_month() -> datetime:
    """Returns when an invoice is due unless it says else."""
    return datetime.now(UTC) + timedelta(days=30)


class NewInvoice(Wire):
    """An invoice as it is ordered."""

    customer_id: CustomerId
    amount: Amount
    currency: Currency
    due_date: Moment = Field(default_factory=in_a_month)


class InvoiceView(Wire):
    """An invoice."""

    id: str
    customer_id: str
    amount: Decimal
    currency: str
    due_date: datetime
    is_paid: bool
    created_at: datetime


class EntryView(Wire):
    """One side of a booking."""

    invoice_id: str
    side: Literal["debit", "credit"]
    amount: Decimal


class LedgerView(Wire):
    """The ledger: the balance is debits less credits, and always 0."""

    entries: list[EntryView]
    balance: Decimal


class CommonEntryView(Wire):
    """What the Common service has booked of an invoice."""

    invoice_id: str
    amount: Decimal
    reversed: bool


class PaymentView(Wire):
    """A payment. Pending: the gateway may have taken the money, and will be asked until it has said yes or no."""

    id: str
    invoice_id: str
    amount: Decimal
    currency: str
    state: Literal["pending", "confirmed", "declined"]
    message: str


class NotificationView(Wire):
    """What a customer was told. Failed ones stay, and can be sent again."""

    id: str
    customer_id: str
    type: str
    text: str
    state: Literal["sent", "failed"]
    channel: Literal["email", "sms"] | None
    attempts: int
    error: str | None


class Conversion(Wire):
    """An amount in another currency, and where the rate is from: live, last_known, or the fixed one of 1.0."""

    amount: Decimal
    rate: Decimal
    source: Literal["live", "last_known", "fixed"]


class SagaView(Wire):
    """The saga of an invoice: what of it is done, and whether it was undone."""

    id: str
    invoice_id: str
    state: Literal["started", "ledger_updated", "completed", "compensating", "compensated", "stuck"]
    error: str | None


class ReportView(Wire):
    """A report, made by somebody else."""

    title: str
    lines: list[str]
