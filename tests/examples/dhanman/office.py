"""What the tests of Dhanman share: a system on free ports, customers, stand-ins that several processes ask, a look."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Self

import httpx2

from examples.dhanman.standins import StandIn
from examples.dhanman.system import OTHERS, System
from examples.serving.site import Site, listening
from seawall import snapshot
from tests.servers import Database

PATIENCE = 60.0
"""Seconds in which what must happen has happened, on the slowest machine."""
BRISK = {
    f"SEAWALL_POLICIES__{name}__{setting}": value
    for name in ("PAYMENTS", "RATES", "EMAIL", "SMS", "REPORTS")
    for setting, value in (("RETRY__BACKOFF__EXPONENTIAL", "0.01"), ("BREAKER__OPEN_FOR", "0.3"))
    if (name, setting) != ("REPORTS", "BREAKER__OPEN_FOR")
}
"""Policies whose waits are short enough for tests on real sockets."""
KEYS = {"code", "message", "timestamp", "correlationId", "details"}
INVOICE = {"customer_id": "c-1", "amount": "125.00", "currency": "INR"}
LEASED = {
    "seawall_idempotency": "lease_until > 0",
    "seawall_outbox": "owner IS NOT NULL",
    "seawall_outbox_key": "lease_until > 0",
    "seawall_saga": "owner IS NOT NULL",
}


def free_names() -> None:
    """Lets go of the pipelines of the test before: seawall warns of a name used twice."""
    for generation in range(3):
        if snapshot():
            gc.collect(generation)


def customer(url: str) -> httpx2.AsyncClient:
    """Returns a client of the gateway."""
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    return httpx2.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False, limits=limits)


@asynccontextmanager
async def dhanman(**given: Any) -> AsyncIterator[tuple[System, httpx2.AsyncClient]]:
    """Runs Dhanman; yields it and a customer's client."""
    free_names()
    system = System(**{"environ": BRISK, **given})
    async with system, customer(system.url) as client:
        yield system, client


async def ordered(client: httpx2.AsyncClient, key: str, **given: Any) -> httpx2.Response:
    """Orders an invoice."""
    return await client.post("/invoices", json={**INVOICE, **given}, headers={"Idempotency-Key": key})


async def until(true: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits until something is so."""
    end = time.monotonic() + PATIENCE
    while not await true():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


async def ended(client: httpx2.AsyncClient, invoice_id: str) -> dict[str, Any]:
    """Waits for the end of the saga of an invoice, and returns it."""
    shown: dict[str, Any] = {}

    async def over() -> bool:
        shown.update((await client.get(f"/invoices/{invoice_id}/saga")).json())
        return shown.get("state") in ("completed", "compensated", "stuck")

    await until(over, f"the saga did not end: {shown}")
    return shown


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """Returns the error in a response, which is in the format of all errors and has the id of its header."""
    error: dict[str, Any] = response.json()["error"]
    assert KEYS == set(error), response.text
    assert response.headers["X-Correlation-Id"] == error["correlationId"]
    return error


class Others:
    """The stand-ins, on a thread of their own, for processes that come and go."""

    def __init__(self) -> None:
        self.each = {name: StandIn(name) for name in OTHERS}
        self.urls: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        sites = {name: Site(other.application(), listening(0)) for name, other in self.each.items()}
        for site in sites.values():
            await site.ready()
        self.urls = {name: site.url for name, site in sites.items()}
        self._ready.set()
        await self._stop.wait()
        await asyncio.gather(*(site.stop() for site in sites.values()))

    def forget(self) -> None:
        """Begins anew."""
        for other in self.each.values():
            other.asked.clear()
            other.done.clear()


class Books:
    """The database of a Dhanman, seen from beside it.

    Args:
        place: a file of SQLite's, or a database of PostgreSQL.
    """

    def __init__(self, place: Path | Database) -> None:
        self._place = place

    @property
    def url(self) -> str:
        """For Dhanman."""
        return f"sqlite:///{self._place}" if isinstance(self._place, Path) else self._place.url

    def sql(self, text: str) -> list[tuple[str, ...]]:
        """Runs a statement; returns the rows as texts."""
        if isinstance(self._place, Path):
            with closing(sqlite3.connect(self._place, timeout=30)) as db, db:
                return [tuple(map(str, row)) for row in db.execute(text)]
        return [tuple(line.split("|")) for line in self._place.sql(text).splitlines() if line]

    def number(self, text: str) -> int:
        """Returns the one number that a query finds."""
        return int(float(self.sql(text)[0][0]))

    def fresh(self) -> None:
        """Empties every table there is."""
        if isinstance(self._place, Path):
            for file in self._place.parent.glob(f"{self._place.name}*"):
                file.unlink()
        else:
            self._place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def time_passes(self) -> None:
        """Lets every lease of a dead process run out."""
        try:
            for table, held in LEASED.items():
                self.sql(f"UPDATE {table} SET lease_until = lease_until - 3600 WHERE {held}")
        except Exception as error:  # killed before there were tables
            if "no such table" not in str(error) and "does not exist" not in str(error):
                raise

    def wrong(self, invoices: int) -> str | None:
        """Says what is wrong with the ledger; None: each of so many invoices has its two entries, and they balance."""
        found = (
            self.number("SELECT count(*) FROM invoice"),
            self.number("SELECT count(*) FROM ledger_entry"),
            self.number("SELECT count(*) FROM (SELECT 1 FROM ledger_entry GROUP BY invoice_id HAVING count(*) <> 2) x"),
            self.number(
                "SELECT coalesce(sum(CASE side WHEN 'debit' THEN amount ELSE -amount END), 0) FROM ledger_entry"
            ),
        )
        return None if found == (invoices, 2 * invoices, 0, 0) else f"invoices, entries, not two, balance: {found}"
