"""The tables of two services on one database: sales with its ledger, and Common with a ledger of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import DateTime, ForeignKey, MetaData, Numeric, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

CENT: Final = Decimal("0.01")


class Money(TypeDecorator[Decimal]):
    """An amount to the cent. SQLite has no exact fractions, so it is kept as whole cents everywhere."""

    impl = Numeric(20, 0)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> Decimal | None:
        return None if value is None else (value / CENT).to_integral_value()

    def process_result_value(self, value: Decimal | None, dialect: Any) -> Decimal | None:
        return None if value is None else (Decimal(value) * CENT).quantize(CENT)


class Moment(TypeDecorator[datetime]):
    """An instant in UTC, with its zone: SQLite keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Table(DeclarativeBase):
    """What all tables have in common."""

    metadata = MetaData()
    type_annotation_map = {Decimal: Money(), datetime: Moment()}  # noqa: RUF012 - SQLAlchemy's way


class Invoice(Table):
    """What a customer owes."""

    __tablename__ = "invoice"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(100))
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(String(3))
    due_date: Mapped[datetime] = mapped_column(index=True)
    is_paid: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class LedgerEntry(Table):
    """One side of a booking; each invoice has two, a debit and a credit."""

    __tablename__ = "ledger_entry"
    __table_args__ = (UniqueConstraint("invoice_id", "side"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoice.id"))
    side: Mapped[str] = mapped_column(String(6))
    amount: Mapped[Decimal]


class CommonLedgerEntry(Table):
    """What the Common service has booked of an invoice, and whether it was reversed."""

    __tablename__ = "common_ledger_entry"
    invoice_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    amount: Mapped[Decimal]
    reversed: Mapped[bool] = mapped_column(default=False)
    booked_at: Mapped[datetime]


class Payment(Table):
    """A payment of an invoice: pending until the gateway has said yes or no, under one key for all its life."""

    __tablename__ = "payment"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoice.id"), unique=True)
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[str] = mapped_column(String(10), index=True)
    message: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime]


class Notification(Table):
    """What a customer was told, or was to be told."""

    __tablename__ = "notification"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(100))
    type: Mapped[str] = mapped_column(String(50))
    text: Mapped[str] = mapped_column(String(500))
    state: Mapped[str] = mapped_column(String(10), index=True)
    channel: Mapped[str | None] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime]


class Rate(Table):
    """The last exchange rate that was known."""

    __tablename__ = "rate"
    pair: Mapped[str] = mapped_column(String(7), primary_key=True)
    value: Mapped[Decimal] = mapped_column(Numeric(24, 10))
    known_at: Mapped[datetime]
