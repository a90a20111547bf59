"""The database restarted, its connections terminated, replies to COMMIT dropped: no invoice is lost, none doubled."""

import asyncio
import os
import random
from collections.abc import Iterator
from typing import Final

import httpx2
import pytest

from tests.examples.dhanman.office import Books, dhanman, ended, ordered
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy, Strike
from tests.servers import Database, PostgreSQL

INVOICES = 10_000 if os.environ.get("SEAWALL_SOAK") else 150
"""Each costs a tenth of a second of a core, most of it in the proxy: a tenth of them would take minutes."""
AT_ONCE = 20
OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
TERMINATE = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}"
STRIKES: Final[list[Strike]] = ["cut", "cut", "cut", "lost", "lost", "mute"]
"""A mute one holds up its request for 5 seconds."""


@pytest.fixture
def proxy(postgresql_server: PostgreSQL) -> Iterator[CommitProxy]:
    """Between Dhanman and the server."""
    proxy = CommitProxy(int(httpx2.URL(postgresql_server.url).port or 5432))
    yield proxy
    proxy.close()


async def patiently(client: httpx2.AsyncClient, key: str) -> tuple[str, int]:
    """Orders an invoice, with the same key until it has an answer; returns its id and how often it asked."""
    for attempt in range(1, 200):
        try:
            answer = await ordered(client, key)
        except httpx2.TransportError:
            continue
        if answer.status_code == 201:
            return answer.json()["id"], attempt
        assert answer.status_code in (409, 500, 503, 504), answer.text
        await asyncio.sleep(0.1)
    raise AssertionError(f"{key} has no answer")


@pytest.mark.soak
def test_no_invoice_is_lost_or_doubled_while_the_database_is_in_trouble(
    postgresql_server: PostgreSQL, postgresql_database: Database, proxy: CommitProxy
) -> None:
    """Every customer who repeats the order until it is answered has one invoice, the one that the answer names."""
    books = Books(postgresql_database)
    direct = httpx2.URL(books.url)
    trouble = {"restarts": 0, "terminations": 0, "strikes": 0}

    async def strike() -> None:
        dice = random.Random(7)
        while True:
            for number in range(1, 21):
                await asyncio.sleep(0.3)
                proxy.plan(dice.choice(STRIKES))
                trouble["strikes"] += 1
                if number % 7 == 0:
                    await asyncio.to_thread(books.sql, TERMINATE)
                    trouble["terminations"] += 1
            await asyncio.to_thread(postgresql_server.stop)
            await asyncio.to_thread(postgresql_server.start)
            trouble["restarts"] += 1

    async def main() -> None:
        url = str(direct.copy_with(port=proxy.port))
        async with dhanman(database=url, lease=2.0) as (_, client):
            limit, taken = asyncio.Semaphore(AT_ONCE), {}

            async def one(number: int) -> None:
                async with limit:
                    taken[f"key-{number}"] = await patiently(client, f"key-{number}")

            striking = asyncio.create_task(strike())
            try:
                await asyncio.gather(*map(one, range(INVOICES)))
            finally:
                striking.cancel()
                await asyncio.wait([striking])
                proxy.plan()
                await asyncio.to_thread(postgresql_server.recover)
            ids = {invoice_id for invoice_id, _ in taken.values()}
            assert INVOICES == len(ids)
            assert books.wrong(invoices=INVOICES) is None
            assert ids == {row[0] for row in books.sql("SELECT id FROM invoice")}
            for invoice_id in ids:
                assert "completed" == (await ended(client, invoice_id))["state"]
            repeats = sum(attempts - 1 for _, attempts in taken.values())
            print(f"{INVOICES} invoices, {repeats} repeats, {trouble}, {proxy.commits} commits")
        assert INVOICES == books.number("SELECT count(*) FROM common_ledger_entry WHERE NOT reversed")
        assert INVOICES == books.number("SELECT count(*) FROM notification WHERE state = 'sent'")
        assert trouble["strikes"]

    asyncio.run(main())
