"""Exchange rates: the live one, the last that was known, 1.0; whoever asks is told which."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import httpx2
from sqlalchemy.ext.asyncio import AsyncSession

from examples.dhanman.database import Database
from examples.dhanman.tables import Rate
from examples.dhanman.wire import Conversion
from seawall import Fallback, Pipeline
from seawall.integrations.httpx import transient

LOGGER = logging.getLogger("dhanman")
Source = Literal["live", "last_known", "fixed"]
Found = tuple[Decimal, Source]
FIXED = Decimal("1.0")


class NoRateKnownError(Exception):
    """No rate of this pair was ever known."""


class Rates:
    """Converts amounts. A cache in front of the live rates comes with the caching of seawall.

    Args:
        database: where the last known rates are.
        client: of the exchange rate API, protected.
    """

    def __init__(self, database: Database, client: httpx2.AsyncClient) -> None:
        self._database, self._client = database, client
        self._rates = Pipeline("conversion", Fallback(self._last_known, self._fixed, on=self._away))

    async def convert(self, amount: Decimal, source: str, target: str) -> Conversion:
        """Returns an amount times the best rate there is."""
        rate, origin = await self._rates.acall(self._live, source, target)
        return Conversion(amount=(amount * rate).quantize(Decimal("0.01")), rate=rate, source=origin)

    @staticmethod
    def _away(error: Exception) -> bool:
        return isinstance(error, httpx2.HTTPError | NoRateKnownError | ValueError) or transient(error)

    async def _live(self, source: str, target: str) -> Found:
        response = await self._client.get("/rates", params={"from": source, "to": target})
        response.raise_for_status()
        rate = Decimal(str(response.json()["rate"]))
        if not rate.is_finite() or rate <= 0:
            raise ValueError(f"the exchange rate API answered {rate}, which is no rate")
        await self._remember(source, target, rate)
        return rate, "live"

    async def _remember(self, source: str, target: str, rate: Decimal) -> None:
        """Keeps a rate for when the API is away; the conversion goes on where that fails."""

        async def body(session: AsyncSession) -> None:
            await session.merge(Rate(pair=f"{source}/{target}", value=rate, known_at=datetime.now(UTC)))

        try:
            await self._database.run(body, attempts=1, name="rates")
        except Exception:
            LOGGER.warning("the rate %s/%s could not be kept", source, target, exc_info=True)

    async def _last_known(self, failure: Exception, source: str, target: str) -> Found:
        async def body(session: AsyncSession) -> Decimal | None:
            kept = await session.get(Rate, f"{source}/{target}")
            return None if kept is None else kept.value

        try:
            rate = await self._database.read(body)
        except Exception as error:
            raise NoRateKnownError("the database is away") from error
        if rate is None:
            raise NoRateKnownError(f"no rate of {source}/{target} was ever known")
        LOGGER.warning("using the last known rate of %s/%s: %s", source, target, failure)
        return rate.normalize(), "last_known"

    async def _fixed(self, failure: Exception, source: str, target: str) -> Found:
        LOGGER.warning("using the fixed rate 1.0 for %s/%s: %s", source, target, failure)
        return FIXED, "fixed"
