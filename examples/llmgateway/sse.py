"""Server-sent events: written for customers, read from providers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from examples.llmgateway.failures import StreamBrokenError
from examples.llmgateway.wire import Wire
from seawall import correlation_id
from seawall.web import ServiceError

LONGEST = 1_000_000
"""Characters of one event; a provider that sends more without an end is broken."""


class ServerEvent(NamedTuple):
    """An event as it came."""

    event: str
    data: str


def written(event: str, said: Wire | dict[str, Any]) -> bytes:
    """Returns an event as it goes over the wire."""
    data = said.model_dump_json(by_alias=True) if isinstance(said, Wire) else json.dumps(said)
    return f"event: {event}\ndata: {data}\n\n".encode()


def error_event(error: Exception) -> bytes:
    """Returns the end of a stream that broke, in the format of all errors."""
    if isinstance(error, ServiceError):
        code, message = error.code, error.message
    elif isinstance(error, TimeoutError):
        code, message = "STREAM_STALLED", "The answer stopped in the middle and did not go on in time."
    else:
        code, message = "STREAM_BROKEN", "The answer broke off in the middle."
    body: dict[str, Any] = {
        "code": code,
        "message": f"{message} What came so far is not complete.",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "correlationId": correlation_id(),
        "details": [],
    }
    return written("error", {"error": body})


async def events(lines: AsyncIterable[str]) -> AsyncGenerator[ServerEvent, None]:
    """Returns the events in the lines of a response. One that is cut in the middle is no event."""
    event, data = "message", list[str]()
    async for line in lines:
        if line == "":
            if data:
                yield ServerEvent(event, "\n".join(data))
            event, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            event = value
        elif field == "data":
            data.append(value)
            if sum(map(len, data)) > LONGEST:
                raise StreamBrokenError("an event of a provider is longer than any that could be meant")
