"""The bookings, and the tickets that are left: in memory, behind a class of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from examples.ticketwave.events import Listing
from examples.ticketwave.payments import Payment
from examples.ticketwave.wire import BookingView, Order, PaymentView, Status


class UnknownEventError(Exception):
    """There is no such event."""


class InsufficientTicketsError(Exception):
    """Fewer tickets are left than were asked for."""


class DuplicateOrderError(Exception):
    """The order has been booked already, under another key."""


class KeyReusedError(Exception):
    """The key belongs to another order."""


@dataclass(slots=True, eq=False)
class Booking:
    """A booking: what was ordered, and its payment.

    Attributes:
        answered: set when whoever made the booking has an answer; a repetition waits for it.
        correlation: the correlation id of the request that made it; settling goes on under it.
        holds_tickets: False once they have been given back.
    """

    booking_id: str
    key: str
    order: Order
    payment: Payment
    correlation: str | None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    holds_tickets: bool = True

    @property
    def status(self) -> Status:
        """How it stands: what its payment says."""
        match self.payment.state:
            case "confirmed":
                return "confirmed"
            case "declined":
                return "payment_declined"
            case "pending":
                return "payment_pending"

    def view(self) -> BookingView:
        """Returns it as others see it."""
        payment = self.payment
        return BookingView(
            booking_id=self.booking_id,
            order_id=self.order.order_id,
            event_id=self.order.event_id,
            tickets=self.order.tickets,
            status=self.status,
            payment=PaymentView(
                success=payment.state == "confirmed",
                provider=payment.provider,
                used_fallback=payment.used_fallback,
                error_code=payment.error_code,
                message=payment.message,
            ),
        )


class Bookings:
    """Every booking, by its id, its key and its order, and how many tickets are left. No method waits.

    Args:
        season: the events that tickets are sold for.
    """

    def __init__(self, season: Mapping[str, Listing]) -> None:
        self._season = season
        self._left = {event_id: listing.capacity for event_id, listing in season.items()}
        self._by_id: dict[str, Booking] = {}
        self._by_key: dict[str, Booking] = {}
        self._by_order: dict[str, Booking] = {}
        self._open: dict[str, Booking] = {}

    def __iter__(self) -> Iterator[Booking]:
        return iter(list(self._by_id.values()))

    def get(self, booking_id: str) -> Booking | None:
        """Returns a booking by its id."""
        return self._by_id.get(booking_id)

    def of_order(self, order_id: str) -> Booking | None:
        """Returns the booking of an order."""
        return self._by_order.get(order_id)

    def left(self, event_id: str) -> int:
        """Returns how many tickets are left for an event."""
        return self._left[event_id]

    def repeated(self, key: str, order: Order) -> Booking | None:
        """Returns the booking that was made under a key. Raises KeyReusedError where it was for another order."""
        known = self._by_key.get(key)
        if known is not None and known.order != order:
            raise KeyReusedError(key)
        return known

    def place(self, key: str, order: Order, correlation: str | None) -> Booking:
        """Takes the tickets and keeps a booking whose payment is pending.

        Raises:
            UnknownEventError, InsufficientTicketsError, DuplicateOrderError: nothing was booked.
        """
        listing = self._season.get(order.event_id)
        if listing is None:
            raise UnknownEventError(order.event_id)
        if order.order_id in self._by_order:
            raise DuplicateOrderError(order.order_id)
        if self._left[order.event_id] < order.tickets:
            raise InsufficientTicketsError(order.event_id)
        self._left[order.event_id] -= order.tickets
        event = listing.event
        # One key for the payment of an order, for good: over attempts, providers, and settling.
        payment = Payment(
            f"payment-{order.order_id}", order.order_id, event.price * order.tickets, event.currency, order.card
        )
        booking = Booking(f"b-{uuid.uuid4().hex[:12]}", key, order, payment, correlation)
        self._by_id[booking.booking_id] = self._by_key[key] = self._by_order[order.order_id] = booking
        self._open[booking.booking_id] = booking
        return booking

    def conclude(self, booking: Booking) -> None:
        """Takes note of what became of a payment; gives the tickets back where it was declined. May be repeated."""
        if booking.status == "payment_pending":
            return
        self._open.pop(booking.booking_id, None)
        if booking.status == "payment_declined" and booking.holds_tickets:
            booking.holds_tickets = False
            self._left[booking.order.event_id] += booking.order.tickets

    def pending(self) -> list[Booking]:
        """Returns the bookings whose payment is neither confirmed nor declined, the oldest first."""
        return list(self._open.values())
