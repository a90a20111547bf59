"""Invoices: one for each key, with both entries or not at all, whoever asks how often and whatever is killed."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.examples.dhanman.office import Books, customer, dhanman, ended, error_of, ordered
from tests.examples.dhanman.program import ROOT, Program


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Books:
    """A database of each kind."""
    if request.param == "sqlite":
        return Books(tmp_path / "dhanman.sqlite3")
    return Books(request.getfixturevalue("postgresql_database"))


def test_a_hundred_equal_orders_at_once_make_one_invoice(books: Books) -> None:
    """Each is answered with the one invoice, or told that the order is being worked on."""

    async def main() -> None:
        async with dhanman(database=books.url) as (_, client):
            answers = await asyncio.gather(*(ordered(client, "the-key") for _ in range(100)))
            assert {answer.status_code for answer in answers} <= {201, 409}
            assert 1 == len({answer.text for answer in answers if answer.status_code == 201})
            for answer in answers:
                if answer.status_code == 409:
                    assert "Retry-After" in answer.headers
            again = await ordered(client, "the-key")
            assert next(answer.text for answer in answers if answer.status_code == 201) == again.text
            assert "completed" == (await ended(client, again.json()["id"]))["state"]
        assert books.wrong(invoices=1) is None

    asyncio.run(main())


def test_a_repeat_gets_the_answer_of_a_server_killed_before_it_answered(books: Books) -> None:
    """Between commit and answer: the repeat, at another process, gets the stored answer, and there is one invoice."""

    async def main() -> None:
        # The 1st commit of these is that of the invoice: what is read and written before has other points.
        with Program(books.url, SEAWALL_CRASH_AT="transaction.commit.after:1") as first:
            async with customer(first.url) as client:
                with pytest.raises(httpx2.TransportError):
                    await ordered(client, "the-key")
            assert -signal.SIGKILL == first.process.wait(timeout=30)
        assert books.wrong(invoices=1) is None
        (stored,) = books.sql("SELECT id FROM invoice")
        with Program(books.url) as second:
            async with customer(second.url) as client:
                answers = [await ordered(client, "the-key") for _ in range(2)]
                assert [(201, "true")] * 2 == [
                    (answer.status_code, answer.headers.get("Idempotency-Replayed")) for answer in answers
                ]
                assert stored == (answers[0].json()["id"],)
                assert "completed" == (await ended(client, stored[0]))["state"]
        assert books.wrong(invoices=1) is None

    asyncio.run(main())


def test_another_process_goes_on_with_what_a_killed_one_had_to_do(books: Books) -> None:
    """Saga and messages of a process killed -9 are ended by another on the same database, once its lease is over."""

    async def main() -> None:
        with Program(books.url, "--lease", "1") as one, Program(books.url, "--lease", "1") as other:
            async with customer(one.url) as client:
                answers = await asyncio.gather(*(ordered(client, f"key-{number}") for number in range(20)))
            one.process.kill()
            ids = [answer.json()["id"] for answer in answers]
            async with customer(other.url) as client:
                for each in ids:
                    assert "completed" == (await ended(client, each))["state"]
        assert books.wrong(invoices=20) is None
        assert 20 == books.number("SELECT count(*) FROM common_ledger_entry")
        assert 20 == books.number("SELECT count(*) FROM notification WHERE state = 'sent'")

    asyncio.run(main())


def test_the_ledger_balances_at_every_moment(books: Books) -> None:
    """A reader beside the writers sees debits equal credits, and two entries of each invoice, all the time."""

    async def main() -> None:
        async with dhanman(database=books.url) as (_, client):
            writing = asyncio.create_task(order_many(client))
            looks = 0
            while not writing.done():
                ledger = (await client.get("/ledger")).json()
                assert 0 == float(ledger["balance"])
                found: dict[str, list[str]] = {}
                for entry in ledger["entries"]:
                    found.setdefault(entry["invoice_id"], []).append(entry["side"])
                assert all(sorted(sides) == ["credit", "debit"] for sides in found.values())
                looks += 1
            assert {201} == {answer.status_code for answer in await writing}
            assert looks > 1
        assert books.wrong(invoices=60) is None

    async def order_many(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        answers = []
        for start in range(0, 60, 10):
            keys = [f"key-{start + number}" for number in range(10)]
            answers += await asyncio.gather(*(ordered(client, key, amount=f"{start}.25") for key in keys if start))
            answers += await asyncio.gather(*(ordered(client, key) for key in keys if not start))
        return answers

    asyncio.run(main())


def test_what_is_asked_wrongly_is_said_in_the_one_format_of_errors(tmp_path: Path) -> None:
    """E1, I1: each error has its code, its status, the id of the request; and nothing is written."""
    books = Books(tmp_path / "dhanman.sqlite3")

    async def main() -> None:
        async with dhanman(database=books.url) as (_, client):
            keyless = await client.post("/invoices", json={"customer_id": "c-1", "amount": "1.00", "currency": "INR"})
            wrong_amounts = [
                await ordered(client, f"k{each}", amount=each) for each in ("-1", "0", "1.001", "much", "NaN")
            ]
            unknown = await client.get("/invoices/none")
            unpaid = await client.post("/invoices/none/payments", headers={"Idempotency-Key": "p"})
            first = await ordered(client, "once")
            reused = await ordered(client, "once", amount="126.00")
            assert 201 == first.status_code
            for answer, status, code in [
                (keyless, 400, None),
                *((each, 400, "VALIDATION_ERROR") for each in wrong_amounts),
                (unknown, 404, "INVOICE_NOT_FOUND"),
                (unpaid, 404, "INVOICE_NOT_FOUND"),
                (await client.get("/sagas/none"), 404, "SAGA_NOT_FOUND"),
                (await client.post("/notifications/none/retries", headers={"Idempotency-Key": "n"}), 404, None),
                (await client.get("/rates/convert?amount=1&from=usd&to=INR"), 400, "VALIDATION_ERROR"),
                (reused, 422, None),
            ]:
                assert status == answer.status_code, answer.text
                assert code in (None, error_of(answer)["code"])
        assert books.wrong(invoices=1) is None

    asyncio.run(main())


def test_what_is_due_is_listed(tmp_path: Path) -> None:
    """Unpaid invoices whose day has passed, the oldest first; a paid one no more."""

    async def main() -> None:
        async with dhanman(database=f"sqlite:///{tmp_path}/d.sqlite3") as (_, client):
            late = await ordered(client, "1", due_date="2020-01-02T00:00:00Z")
            later = await ordered(client, "2", due_date="2020-01-01T00:00:00+05:30")
            await ordered(client, "3")
            listed = (await client.get("/invoices", params={"overdue": True})).json()
            assert [later.json()["id"], late.json()["id"]] == [each["id"] for each in listed]
            paid = await client.post(f"/invoices/{late.json()['id']}/payments", headers={"Idempotency-Key": "p"})
            assert (200, "confirmed") == (paid.status_code, paid.json()["state"])
            listed = (await client.get("/invoices", params={"overdue": True})).json()
            assert [later.json()["id"]] == [each["id"] for each in listed]

    asyncio.run(main())


def test_a_database_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    """Exit code 1 and a word, the last one, after the log; nothing goes on listening."""
    command = [sys.executable, "-m", "examples.dhanman", "--database", f"sqlite:///{tmp_path}/none/here.sqlite3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    last = done.stderr.splitlines()[-1]
    assert (True, True) == (last.startswith("dhanman: "), last.endswith("did not start"))


def test_sigterm_drains_and_ends_with_0(tmp_path: Path) -> None:
    """What was ordered before it is on disk, and is there again in the next process."""
    books = Books(tmp_path / "dhanman.sqlite3")

    async def main() -> None:
        with Program(books.url) as program:
            assert f"listening on {program.url}" == program.lines[-1]
            async with customer(program.url) as client:
                assert 201 == (await ordered(client, "1")).status_code
            program.process.terminate()
            assert 0 == program.process.wait(timeout=60)
        assert books.wrong(invoices=1) is None

    asyncio.run(main())
