"""What counts as a failure for which policy; `seawall.toml` refers to these by name."""

from __future__ import annotations

import asyncio

import httpx2
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from seawall import CallTimeoutError, DeadlineExceededError, RejectedError
from seawall.integrations.httpx import StatusError, transient
from seawall.web import ExternalServiceError, ValidationError

TOO_MANY = 429
PASSING = ("08", "40001", "40P01", "53", "55P03", "57P0")
"""SQLSTATEs of what may pass: lost connections, serialisation, deadlock, no room, locks, a server shutting down."""

LOCKED = ("locked", "busy")
UNREADABLE = ("unable to open", "disk I/O", "interrupted")


class ProviderFailedError(ExternalServiceError):
    """A provider answered, and its answer is of no use: 5xx after all retries, or not what was agreed upon."""

    code = "PROVIDER_FAILED"
    message = "No provider gave an answer. Try again later."


class ProviderRefusedError(ValidationError):
    """A provider did not accept the request, and the other one would not either."""

    code = "REFUSED_BY_PROVIDER"
    message = "The provider did not accept the request."


class StreamBrokenError(ConnectionError):
    """A provider's stream has ended before its last event, or with an error."""


class DatabaseAwayError(ExternalServiceError):
    """The database did not answer, after all retries."""

    code = "DATABASE_UNAVAILABLE"
    message = "The database is not available. Try again later."


def provider_failed(error: Exception) -> bool:
    """Whether a provider's failure may pass: what `transient` says, and a stream that broke."""
    return transient(error) or isinstance(error, StreamBrokenError)


def rate_limited(error: Exception) -> bool:
    """Whether a provider is alive and wants to be left alone."""
    return isinstance(error, StatusError) and error.status == TOO_MANY


def nobody_waits(error: Exception) -> bool:
    """Whether the caller's time was up: then no further attempt is of use, and nothing is known of who was asked."""
    return isinstance(error, DeadlineExceededError) or (isinstance(error, CallTimeoutError) and error.by_deadline)


def provider_away(error: Exception) -> bool:
    """Whether the other provider may do better: not where the request is at fault, or nobody waits any more."""
    if nobody_waits(error):
        return False
    away = (httpx2.HTTPError, ProviderFailedError, StatusError, ConnectionError, RejectedError, TimeoutError)
    return isinstance(error, away)


def database_away(error: Exception) -> bool:
    """Whether a failure of the database may pass: no connection, a lost one, a lock, a deadlock, no time."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state is not None:
            return str(state).startswith(PASSING)
        if error.connection_invalidated or isinstance(error, InterfaceError):
            return True
        # SQLite says in words what went wrong; "no such table" and its like do not pass.
        return isinstance(error, OperationalError) and any(word in str(error.orig) for word in (*LOCKED, *UNREADABLE))
    return (
        isinstance(error, (OSError, TimeoutError)) and not isinstance(error, RejectedError) and not nobody_waits(error)
    )


def database_lost(error: Exception) -> bool:
    """Whether a failure that may pass is one of the connection: not of locks, or transactions in each other's way."""
    if not isinstance(error, DBAPIError):
        return database_away(error)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(("08", "57P0"))
    return database_away(error) and not any(word in str(error.orig) for word in LOCKED)


def queue_away(error: Exception) -> bool:
    """Whether publishing failed in a way that may pass: the broker away, a channel closed, no time, a full queue."""
    import aio_pika.exceptions as broker  # only who publishes needs it

    return isinstance(
        error,
        (OSError, TimeoutError, asyncio.QueueFull, broker.AMQPError, asyncio.InvalidStateError),
    ) and not isinstance(error, RejectedError)
