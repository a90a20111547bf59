"""Counts, as the storm reports them: calls that brought nothing, and what seawall did."""

from __future__ import annotations

from collections import Counter

import httpx2

from seawall import CircuitChanged, Event, Retried

BUSY_OR_LATE = (408, 429)


class Tally:
    """What happened since it was made. Give it to `seawall.listen`, and to `Counting`."""

    def __init__(self) -> None:
        self.wasted: Counter[str] = Counter()  # by dependency
        self.events: Counter[type[Event]] = Counter()

    def __call__(self, event: Event) -> None:
        """Hears of an event of seawall."""
        if not isinstance(event, CircuitChanged) or event.new == "open":
            self.events[type(event)] += 1

    def as_dict(self) -> dict[str, int]:
        """Returns the figures by the storm's names."""
        return {
            "wasted_calls": self.wasted.total(),
            "retries": self.events[Retried],
            "breaker_openings": self.events[CircuitChanged],
        }


class Counting(httpx2.AsyncBaseTransport):
    """Around the transport of a client, below everything else: counts attempts that brought no usable answer.

    That is one that failed, was cancelled, or was answered with 5xx, 408 or 429. Reads the whole answer, so that one
    which breaks off counts too.

    Args:
        inner: the transport.
        name: of the dependency.
        tally: where it is counted.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, name: str, tally: Tally) -> None:
        self._inner, self._name, self._tally = inner, name, tally

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request."""
        try:
            response = await self._inner.handle_async_request(request)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            body = b"".join([chunk async for chunk in response.stream])
            await response.stream.aclose()
        except httpx2.PoolTimeout:
            raise  # waited for a connection and never called
        except BaseException:
            self._tally.wasted[self._name] += 1
            raise
        if response.status_code >= 500 or response.status_code in BUSY_OR_LATE:
            self._tally.wasted[self._name] += 1
        response.stream = httpx2.ByteStream(body)
        return response

    async def aclose(self) -> None:
        """Closes the transport inside."""
        await self._inner.aclose()
