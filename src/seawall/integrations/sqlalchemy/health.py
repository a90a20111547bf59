"""A check of a database, on the application's own pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Unpack

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from seawall.health.check import Check, CheckOptions

TIMEOUT: Final = 3.0
_QUESTION: Final = "SELECT 1"
_FIGURES: Final = {"size": "size", "checkedout": "checkedOut", "checkedin": "checkedIn", "overflow": "overflow"}


def database_check(
    engine: Engine | AsyncEngine,
    *,
    name: str = "database",
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check that asks `SELECT 1` on a connection of an engine's own pool, within 3 seconds.

    So a pool that is used up is a failure, as it is for everybody else. A connection that broke while it was idle is
    replaced once, as with `pool_pre_ping`. The pool's figures are shown with every result: size, connections checked
    out and in, and the overflow.

    The engine's own time-outs still matter: a sync driver that waits for a silent server cannot be stopped from
    outside, and until it gives up, the check fails and is not run again. Give such an engine
    `connect_args={"connect_timeout": 3}` and, with psycopg on Linux, `tcp_user_timeout` (milliseconds).

    Args:
        engine: the application's engine. An AsyncEngine must belong to the monitor's event loop.
        name: default "database".
        **options: see `Check`; `timeout` is 3 seconds unless it says else.
    """
    options.setdefault("timeout", TIMEOUT)
    if isinstance(engine, AsyncEngine):
        return Check(name, _alook(engine), figures=lambda: _figures(engine.pool), **options)
    if isinstance(engine, Engine):
        return Check(name, _look(engine), figures=lambda: _figures(engine.pool), **options)
    raise TypeError(f"engine={engine!r} is no engine; use the one of create_engine() or create_async_engine()")


def _look(engine: Engine) -> Callable[[], None]:
    def ask() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(_QUESTION)

    def look() -> None:
        try:
            ask()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            ask()

    return look


def _alook(engine: AsyncEngine) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        async with engine.connect() as connection:
            try:
                await connection.exec_driver_sql(_QUESTION)
            except asyncio.CancelledError:
                await connection.invalidate()  # given back, it would ask a silent server for a rollback, and wait
                raise

    async def look() -> None:
        try:
            await ask()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await ask()

    return look


def _figures(pool: Any) -> dict[str, object]:
    found = {shown: getattr(pool, figure, None) for figure, shown in _FIGURES.items()}
    return {"pool": {shown: figure() for shown, figure in found.items() if callable(figure)}}
