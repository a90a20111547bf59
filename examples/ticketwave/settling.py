"""The settler: asks again for every pending payment until it is confirmed or declined."""

from __future__ import annotations

import asyncio
import logging

from examples.ticketwave.bookings import Booking, Bookings
from examples.ticketwave.payments import Payer
from seawall import correlation

LOGGER = logging.getLogger("ticketwave")


class Settler:
    """Works in rounds. It remembers nothing: what it needs to know stands in the payments.

    Args:
        bookings: where pending payments are found.
        payer: who asks for them.
        every: seconds between two rounds.
    """

    def __init__(self, bookings: Bookings, payer: Payer, every: float) -> None:
        self._bookings, self._payer, self._every = bookings, payer, every
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Settles until it is stopped."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()
            except TimeoutError:
                await self.settle()

    def stop(self) -> None:
        """Lets `run` end, after the payment at hand."""
        self._stopping.set()

    async def settle(self) -> None:
        """Asks once for every payment that is pending, one after the other: who recovers is not to be run over."""
        for booking in self._bookings.pending():
            if self._stopping.is_set():
                return
            try:
                await self._settle(booking)
            except Exception:
                LOGGER.exception("%s: could not be settled now", booking.order.order_id)  # the others still can

    async def _settle(self, booking: Booking) -> None:
        with correlation(booking.correlation):
            await self._payer.pay(booking.payment)
            self._bookings.conclude(booking)
            if booking.status != "payment_pending":
                LOGGER.info("%s: settled, %s by %s", booking.order.order_id, booking.status, booking.payment.provider)
