"""The code of the demo that is worth copying: a call over HTTP, bare, and the same call through a seawall pipeline."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import httpx2

from seawall import (
    Backoff,
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    Fallback,
    Pipeline,
    RejectedError,
    Retry,
    Timeout,
)

# How an attempt ends when the server is at fault: no answer, a bad answer, or no answer in time.
FAILURES = (httpx2.HTTPError, CallTimeoutError)


@dataclass(frozen=True, slots=True)
class Price:
    """An answer. `fresh` is False for the last known one, so that the caller can tell."""

    cents: int
    fresh: bool = True


class BarePrices:
    """Asks the server and hopes for the best: what code without protection does."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def price(self, item: str) -> Price:
        """Returns the price that the server answers with, and raises httpx2.HTTPError when it is at fault."""
        response = await self._client.get(f"/prices/{item}")
        if response.is_server_error:
            response.raise_for_status()
        return Price(response.json()["cents"])


class ProtectedPrices:
    """The same, through a pipeline: first listed = outermost."""

    def __init__(self, client: httpx2.AsyncClient, *, open_for: float, seed: int) -> None:
        self._bare = BarePrices(client)
        self._known: dict[str, Price] = {}
        self.pipeline = Pipeline(
            "prices",
            # When all else fails, an old price, marked as such, is better than none.
            Fallback(self._last_known, on=(*FAILURES, RejectedError)),
            # A GET changes nothing on the server, so it may be repeated. A call that the breaker refuses is not.
            Retry(
                on=FAILURES, max_attempts=3, backoff=Backoff.exponential(0.05, jitter="full"), rng=random.Random(seed)
            ),
            # At most 20 calls at once and 20 in the queue: a slow server cannot take all our memory and connections.
            Bulkhead(20, max_waiting=20, max_wait=0.5),
            # When 6 in 10 of the last 20 calls failed, leave the server alone for a while, then try with one call.
            CircuitBreaker(failure_rate=0.6, window_calls=20, min_calls=20, open_for=open_for),
            # A good answer takes some 20 ms; nobody has to wait 5 s for a bad one.
            Timeout(0.3),
        )

    async def price(self, item: str) -> Price:
        """Returns a price: a fresh one, or the last known one when the server is at fault."""
        return await self.pipeline.acall(self._fetch, item)

    async def _fetch(self, item: str) -> Price:
        price = self._known[item] = await self._bare.price(item)
        return price

    def _last_known(self, failure: Exception, item: str) -> Price:
        if item not in self._known:
            raise failure
        return replace(self._known[item], fresh=False)
