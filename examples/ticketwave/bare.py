"""The same two callers as they are usually written by hand, without seawall: to compare with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import httpx2
from pydantic import ValidationError

from examples.ticketwave.lists import BadAnswerError, KeptLists, NothingKeptError, Query, ask_catalog
from examples.ticketwave.payments import DECLINED, NOBODY, Payment
from examples.ticketwave.wire import EventList, NoEvents

LOGGER = logging.getLogger("ticketwave")


class BareLists:
    """Asks the catalog; when that fails, serves what is kept.

    Args:
        catalog: a client with httpx2's own time-outs, 5 s.
        kept: the last good answers.
    """

    def __init__(self, catalog: httpx2.AsyncClient, kept: KeptLists) -> None:
        self._catalog, self._kept = catalog, kept

    async def find(self, query: Query) -> EventList | NoEvents:
        """Returns a list, fresh or kept, or says that there is none."""
        try:
            page = await ask_catalog(self._catalog, query)
        except (httpx2.HTTPError, BadAnswerError, ValidationError) as error:
            LOGGER.warning("catalog failed, serving what is kept: %r", error)
        else:
            self._kept.keep(query, page)
            return EventList(**dict(page))
        try:
            return self._kept.find(query)
        except NothingKeptError:
            return NoEvents()


class BarePayer:
    """Asks Stripe; when that fails, asks PayPal; when that fails too, gives up.

    Args:
        providers: clients with httpx2's own time-outs by name, in the order in which they are asked.
    """

    def __init__(self, providers: Mapping[str, httpx2.AsyncClient]) -> None:
        self._providers = providers

    async def pay(self, payment: Payment) -> None:
        """Asks for a payment."""
        for number, (provider, client) in enumerate(self._providers.items()):
            try:
                response = await client.post("/charges", json=payment.order())
            except httpx2.HTTPError as error:
                LOGGER.warning("payment failed with %s: %r", provider, error)
                continue
            if response.is_success:
                return payment.confirm(provider, fallback=number > 0)
            if response.status_code == DECLINED:
                return payment.decline(provider, "CARD_DECLINED", "The card was declined.")
            LOGGER.warning("payment failed with %s: status %d", provider, response.status_code)
        payment.decline(None, NOBODY, "Payment processing is temporarily unavailable.")
