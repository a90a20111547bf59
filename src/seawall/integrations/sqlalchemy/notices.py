"""PostgreSQL's notifications: told in a transaction, delivered by its commit, heard on a connection of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import Connection, Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from seawall._core.backoff import Backoff
from seawall._core.events import LOGGER, brief
from seawall.integrations.sqlalchemy.leaving import cut
from seawall.integrations.sqlalchemy.watchdog import Bounded

NAME: Final = "seawall"
"""The channel of PostgreSQL's that all of ours share; the payload is ours."""
TELL: Final = text(f"SELECT pg_notify('{NAME}', :channel)")
AGAIN: Final = Backoff.exponential(0.5, cap=30.0, jitter="equal")
QUIET: Final = 30.0
"""Seconds without a word after which the connection is tried: one that a firewall forgot stays silent for ever."""
ANSWER: Final = 5.0
"""Seconds that the server has for its answer then."""

Heard: TypeAlias = Callable[[str | None], None]
"""Told of a channel; of None where it may have been any of them."""


def notify(connection: Connection, channels: Iterable[str]) -> None:
    """Tells channels of the transaction's commit; nobody hears of it if it is rolled back."""
    for channel in channels:
        connection.execute(TELL, {"channel": channel})


class Hearing(Protocol):
    """Listens, until it is ended."""

    def end(self) -> None:
        """Ends it, and its connection, in a moment."""
        ...


def hearing(engine: Engine | AsyncEngine, heard: Heard) -> Hearing | None:
    """Listens on a connection that is taken out of the engine's pool, and on another one when that is lost.

    Returns None where nothing can: for drivers other than psycopg and asyncpg, and for an AsyncEngine outside of its
    event loop.

    Args:
        engine: a PostgreSQL engine.
        heard: called with each channel that is told of; with None after a connection was made, when others may have
            been told of before.
    """
    driver = engine.dialect.driver
    if isinstance(engine, Engine):
        return _Thread(engine, heard) if driver == "psycopg" else None
    if asyncio._get_running_loop() is None or driver not in _HEAR:
        return None
    return _Task(engine, heard)


class _Thread:
    """Hears by psycopg on a daemon thread."""

    def __init__(self, engine: Engine, heard: Heard) -> None:
        self._engine, self._heard = engine, heard
        self._over = False
        self._look, self._wake = os.pipe()
        threading.Thread(target=self._run, name="seawall-notices", daemon=True).start()

    def end(self) -> None:
        self._over = True
        os.write(self._wake, b".")

    def _run(self) -> None:
        failures = 0
        while not self._over:
            try:
                failures = self._hear()
            except Exception as error:
                failures += 1
                _complain(failures, error)
                select.select([self._look], [], [], AGAIN.delay(failures, None, random.random))
        os.close(self._look)
        os.close(self._wake)

    def _hear(self) -> int:
        """Hears until it is over, and returns 0, or until the connection is lost, which raises."""
        proxied = self._engine.raw_connection()
        driver: Any = proxied.driver_connection
        proxied.detach()
        try:
            driver.autocommit = True
            driver.execute(f"LISTEN {NAME}")
            self._heard(None)
            while not self._over:
                ready, _, _ = select.select([self._look, driver], [], [], QUIET)
                if not ready:
                    with Bounded(ANSWER, lambda: cut(driver)):
                        driver.execute("SELECT 1")
                for notice in driver.notifies(timeout=0):
                    self._heard(notice.payload)
        finally:
            driver.close()
        return 0


class _Task:
    """Hears in a task of the event loop."""

    def __init__(self, engine: AsyncEngine, heard: Heard) -> None:
        self._engine, self._heard = engine, heard
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def end(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._hear()
            except Exception as error:
                failures += 1
                _complain(failures, error)
                await asyncio.sleep(AGAIN.delay(failures, None, random.random))

    async def _hear(self) -> None:
        """Hears until the connection is lost, which raises."""
        proxied = await self._engine.raw_connection()
        driver: Any = proxied.driver_connection
        proxied.detach()
        try:
            await _HEAR[self._engine.dialect.driver](driver, self._heard)
        finally:
            cut(driver)
            await driver.close()


async def _hear_by_asyncpg(driver: Any, heard: Heard) -> None:
    lost = asyncio.Event()
    driver.add_termination_listener(lambda _: lost.set())
    await driver.add_listener(NAME, lambda _connection, _pid, _name, channel: heard(channel))
    heard(None)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET):
                await lost.wait()
        await driver.execute("SELECT 1", timeout=ANSWER)


async def _hear_by_psycopg(driver: Any, heard: Heard) -> None:
    await driver.set_autocommit(True)
    await driver.execute(f"LISTEN {NAME}")
    heard(None)
    while True:
        async for notice in driver.notifies(timeout=QUIET):
            heard(notice.payload)
        async with asyncio.timeout(ANSWER):
            await driver.execute("SELECT 1")


_HEAR: Final = {"asyncpg": _hear_by_asyncpg, "psycopg": _hear_by_psycopg}


def _complain(failures: int, error: Exception) -> None:
    """Logs the first of a row of failures: that others are told of nothing is no harm, as everybody looks besides."""
    if failures == 1:
        LOGGER.warning("PostgreSQL's notifications cannot be heard, it is tried again: %s", brief(error))
