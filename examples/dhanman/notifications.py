"""Notifications: by e-mail, by SMS where that fails; those that failed altogether stay and can be sent again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import httpx2
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman.database import Database
from examples.dhanman.tables import Notification
from examples.dhanman.wire import NotificationView
from seawall import Fallback, Pipeline
from seawall.web import NotFoundError

LOGGER = logging.getLogger("dhanman")
Channel = Literal["email", "sms"]


class NotificationNotFoundError(NotFoundError):
    """There is no notification of this id."""

    code = "NOTIFICATION_NOT_FOUND"
    message = "There is no such notification."


class NotificationFailedError(Exception):
    """Neither channel took it."""


class Notifications:
    """Sends notifications and keeps what became of them.

    Args:
        database: where they are kept.
        email, sms: the protected clients of the two providers.
    """

    def __init__(self, database: Database, email: httpx2.AsyncClient, sms: httpx2.AsyncClient) -> None:
        self._database, self._email, self._sms = database, email, sms
        self._channels = Pipeline("notifications", Fallback(self._by_sms, on=httpx2.HTTPError))

    async def send(self, notification_id: str, customer_id: str, kind: str, text: str) -> NotificationView:
        """Sends, under a key that makes a repeat no second message, and keeps what came of it; failed ones too."""
        channel, error = await self._deliver(notification_id, customer_id, text)

        async def body(session: AsyncSession) -> NotificationView:
            kept = await session.get(Notification, notification_id)
            if kept is None:
                kept = Notification(
                    id=notification_id,
                    customer_id=customer_id,
                    type=kind,
                    text=text,
                    attempts=0,
                    created_at=datetime.now(UTC),
                )
                session.add(kept)
            kept.attempts += 1
            if kept.state != "sent":
                kept.state = "sent" if error is None else "failed"
                kept.channel, kept.error = channel, error
            await session.flush()
            return _view(kept)

        return await self._database.run(body, name="notifications")

    async def again(self, notification_id: str) -> NotificationView:
        """Sends one again that failed. Raises NotificationNotFoundError."""

        async def body(session: AsyncSession) -> NotificationView:
            kept = await session.get(Notification, notification_id)
            if kept is None:
                raise NotificationNotFoundError
            return _view(kept)

        kept = await self._database.read(body)
        return kept if kept.state == "sent" else await self.send(kept.id, kept.customer_id, kept.type, kept.text)

    async def listed(self) -> list[NotificationView]:
        """Returns the last thousand, the newest first."""

        async def body(session: AsyncSession) -> list[NotificationView]:
            found = await session.scalars(select(Notification).order_by(Notification.created_at.desc()).limit(1000))
            return [_view(each) for each in found]

        return await self._database.read(body)

    async def _deliver(self, key: str, customer_id: str, text: str) -> tuple[Channel | None, str | None]:
        try:
            return await self._channels.acall(self._by_email, key, customer_id, text), None
        except httpx2.HTTPError as error:
            LOGGER.warning("notification %s was sent by no channel: %s", key, error)
            return None, f"{type(error).__name__}: {error}"[:500]

    async def _by_email(self, key: str, customer_id: str, text: str) -> Channel:
        await _post(self._email, key, customer_id, text)
        return "email"

    async def _by_sms(self, failure: Exception, key: str, customer_id: str, text: str) -> Channel:
        LOGGER.warning("e-mail failed, falling back to SMS: %s", failure)
        await _post(self._sms, key, customer_id, text)
        return "sms"


async def _post(client: httpx2.AsyncClient, key: str, customer_id: str, text: str) -> None:
    headers = {"Idempotency-Key": key}
    response = await client.post("/messages", json={"to": customer_id, "text": text}, headers=headers)
    response.raise_for_status()


def _view(kept: Notification) -> NotificationView:
    fields: dict[str, Any] = {name: getattr(kept, name) for name in NotificationView.model_fields}
    return NotificationView(**fields)
