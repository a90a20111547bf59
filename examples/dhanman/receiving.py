"""The in-process receiver: takes what the relay sends, each message once, and answers the saga's commands.

A broker takes its place when there is one: then `deliver` publishes, and what is here handles what a consumer gets.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman import saga
from examples.dhanman.common_service import BookingRefusedError, Common
from examples.dhanman.database import Database
from examples.dhanman.invoices import CREATED
from examples.dhanman.notifications import Notifications
from seawall import correlation, correlation_id
from seawall.durable import Inbox, OutboxMessage, Sagas, StepRefusedError
from seawall.integrations.opentelemetry import Traced

LOGGER = logging.getLogger("dhanman")
SAGA, STEP, UNDO = "seawall-saga", "seawall-step", "seawall-undo"
Booking = Callable[[AsyncSession, dict[str, Any]], Awaitable[dict[str, Any]]]


class UnknownDestinationError(Exception):
    """Nobody takes messages of this destination."""


class Receiver:
    """Handles every message that leaves the outbox.

    What a message does to the database is committed together with its id in the inbox, and with the answer to the saga:
    so a repeat does nothing.

    Args:
        database: where the effects are.
        sagas: whose commands are answered.
        common: keeps its ledger.
        notifications: tells customers.
    """

    def __init__(self, database: Database, sagas: Sagas, common: Common, notifications: Notifications) -> None:
        self._database, self._sagas, self._notifications = database, sagas, notifications
        self._inbox = Inbox(database.store, "dhanman")
        self._bookings: Final[dict[str, Booking]] = {saga.UPDATE: common.update, saga.REVERSE: common.reverse}

    @Traced("message")
    async def deliver(self, message: OutboxMessage) -> None:
        """Handles one message; for the relay. What it raises has the message sent again later."""
        # A saga's worker sends its commands long after the request, and outside of its correlation id.
        with correlation(correlation_id() or message.json().get("correlation_id")):
            await self._handled(message)

    async def _handled(self, message: OutboxMessage) -> None:
        match message.destination:
            case destination if destination == CREATED:
                await self._once(message, self._created)
            case destination if destination in self._bookings:
                await self._once(message, self._booked)
            case saga.NOTIFY:
                await self._notify(message)
            case other:
                raise UnknownDestinationError(f"nobody takes messages to {other!r}")

    async def _once(
        self, message: OutboxMessage, handle: Callable[[AsyncSession, OutboxMessage], Awaitable[None]]
    ) -> None:
        async def body(session: AsyncSession) -> None:
            if await self._inbox.afirst(message.message_id, session=session):
                await handle(session, message)

        await self._database.run(body, name="messages")

    async def _created(self, session: AsyncSession, message: OutboxMessage) -> None:
        """A new invoice: its saga begins."""
        data = saga.InvoicePayment(**message.json(), correlation_id=correlation_id())
        await self._sagas.astart(saga.NAME, data, saga_id=saga.id_of(data.invoice_id), session=session)

    async def _booked(self, session: AsyncSession, message: OutboxMessage) -> None:
        """A command to the Common ledger. What it refuses is its answer too."""
        try:
            result = await self._bookings[message.destination](session, message.json())
        except BookingRefusedError as error:
            await self._answer(session, message, error=StepRefusedError(str(error)))
        else:
            await self._answer(session, message, result=result)

    async def _notify(self, message: OutboxMessage) -> None:
        """A customer is told. That is no row of ours, so it may be done again: under the id of the message."""
        if await self._inbox.aseen(message.message_id):
            return
        body = message.json()
        text = f"Your invoice {body['invoice_id']} was created."
        sent = await self._notifications.send(message.message_id, body["customer_id"], body["type"], text)

        async def answer(session: AsyncSession, message: OutboxMessage) -> None:
            error = None if sent.state == "sent" else f"the customer could not be told: {sent.error}"
            await self._answer(session, message, result={"channel": sent.channel}, error=error)

        await self._once(message, answer)

    async def _answer(
        self, session: AsyncSession, message: OutboxMessage, *, result: Any = None, error: Exception | str | None = None
    ) -> None:
        headers = message.headers
        undo = headers.get(UNDO) == "true"
        await self._sagas.areply(headers[SAGA], headers[STEP], result=result, error=error, undo=undo, session=session)
