"""A store by its URL, on an engine that is its own."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from seawall.durable.store import StoreError
from seawall.integrations.sqlalchemy.store import SqlStore

DEFAULTS: Final = {"pool_pre_ping": True, "hide_parameters": True}
ASYNC: Final = frozenset({"postgresql+asyncpg", "postgresql+psycopg_async"})


def open_url(url: str, **options: Any) -> SqlStore:
    """Returns a store on an engine of its own; see `seawall.durable.open_store`. The options are the engine's."""
    try:
        place = make_url(url)
    except (ArgumentError, ValueError):
        scheme = url.partition("://")[0]
        raise StoreError(
            f"{scheme}:// is followed by no address of a database; use {scheme}://user@host/database"
        ) from None  # what was raised shows the URL, and there may be a password in it
    if place.drivername == "postgresql":
        place = place.set(drivername="postgresql+psycopg")
    make = create_async_engine if place.drivername in ASYNC else create_engine
    return _Owner(make(place, **{**DEFAULTS, **options}))


class _Owner(SqlStore):
    """A store that closes its engine."""

    def close(self) -> None:
        if isinstance(self.engine, AsyncEngine):
            raise TypeError(f"{self.name} is on an async engine; use await aclose()")
        super().close()
        self.engine.dispose()

    async def aclose(self) -> None:
        await super().aclose()
        await (self.engine.dispose() if isinstance(self.engine, AsyncEngine) else asyncio.to_thread(self.close))
