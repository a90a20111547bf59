"""What must never happen with money, counted from the books of both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from examples.ticketwave.bookings import Bookings
from examples.ticketwave.wire import ChargeView


def audit(bookings: Bookings, ledgers: Iterable[Sequence[ChargeView]]) -> dict[str, Any]:
    """Compares the bookings with the ledgers of all providers.

    Returns:
        double_charges: orders that were charged more than once.
        unsettled: orders whose booking is pending, or that were charged and have no confirmed booking.
        pending: the orders of the pending bookings.
    """
    charges = Counter(charge.reference for ledger in ledgers for charge in ledger)
    confirmed = {booking.order.order_id for booking in bookings if booking.status == "confirmed"}
    pending = {booking.order.order_id for booking in bookings.pending()}
    return {
        "double_charges": sum(count > 1 for count in charges.values()),
        "unsettled": len(pending | (charges.keys() - confirmed)),
        "pending": sorted(pending),
    }
