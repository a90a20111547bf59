"""Server-sent events: written for customers, read from providers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, Final, NamedTuple

from starlette.types import Scope

from examples.llmgateway.failures import StreamBrokenError
from examples.llmgateway.wire import Wire
from seawall.web import ExternalServiceError, ServiceError, error_body

LONGEST = 1_000_000
"""Characters of one event; a provider that sends more without an end is broken."""
STALLED: Final = "The answer stopped in the middle and did not go on in time."
BROKEN: Final = "The answer broke off in the middle."
INCOMPLETE: Final = "What came so far is not complete."


class ServerEvent(NamedTuple):
    """An event as it came."""

    event: str
    data: str


def written(event: str, said: Wire | dict[str, Any]) -> bytes:
    """Returns an event as it goes over the wire."""
    data = said.model_dump_json(by_alias=True) if isinstance(said, Wire) else json.dumps(said)
    return f"event: {event}\ndata: {data}\n\n".encode()


def error_event(scope: Scope, error: Exception) -> bytes:
    """Returns the end of a stream that broke, in the format of all errors."""
    if isinstance(error, ServiceError):
        broken = ExternalServiceError(f"{error.message} {INCOMPLETE}", code=error.code)
    elif isinstance(error, TimeoutError):
        broken = ExternalServiceError(f"{STALLED} {INCOMPLETE}", code="STREAM_STALLED")
    else:
        broken = ExternalServiceError(f"{BROKEN} {INCOMPLETE}", code="STREAM_BROKEN")
    return written("error", error_body(scope, broken))


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
