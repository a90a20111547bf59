"""What surrounds every request of a service: its correlation id, the deadline under which it runs, its log line."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.ticketwave import problems
from seawall import correlation, deadline

LOGGER = logging.getLogger("ticketwave")
Limit = Callable[[float | None], float]
"""From the seconds that a caller says it will wait (None: it does not say) to those that a request may take."""


def patient(given: float | None) -> float:
    """No limit but the caller's: for services that do nothing that could take long."""
    return math.inf if given is None else given


class Frame:
    """Wraps a finished ASGI application, so that its error answers are framed too.

    Args:
        app: the application.
        service: its name in the log.
        limit: says how long a request may take.
    """

    def __init__(self, app: ASGIApp, service: str, limit: Limit = patient) -> None:
        self._app, self._service, self._limit = app, service, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers, began, status = Headers(scope=scope), perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Correlation-Id"] = named.id
            await send(message)

        with _named(headers.get("x-correlation-id")) as named:
            try:
                seconds = _seconds(headers.get("x-request-timeout"))
            except ValueError as error:
                await problems.answer(400, "VALIDATION_ERROR", str(error))(scope, receive, send_named)
            else:
                with deadline(self._limit(seconds)):
                    await self._app(scope, receive, send_named)
            LOGGER.debug(
                "%s: %s %s %d, %.0f ms",
                self._service,
                scope["method"],
                scope["path"],
                status,
                1000 * (perf_counter() - began),
            )


def _named(given: str | None) -> correlation:
    try:
        return correlation(given)
    except ValueError:
        return correlation()  # what a stranger sent is not repeated in logs and headers


def _seconds(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError("X-Request-Timeout must be the seconds that you will wait, such as 2.5")
    return seconds
