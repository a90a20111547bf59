"""Payments, notifications, rates and sagas of Dhanman when those who belong to others fail; its policies and spans."""

import asyncio
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from examples.dhanman import invoices
from examples.dhanman.system import POLICIES
from seawall import Backoff, Bulkhead, CircuitBreaker, Policies, Retry, Timeout
from tests.examples.dhanman.office import dhanman, ended, error_of, free_names, ordered

GENERAL = ["retry", "bulkhead", "breaker", "timeout"]
TABLE: dict[str, tuple[list[str], tuple[int, int] | None, int, tuple[int, int] | None, float]] = {
    "rates": (GENERAL, (5, 30), 30, (10, 20), 120),
    "email": (GENERAL, (5, 30), 30, (5, 10), 120),
    "sms": (GENERAL, (5, 30), 30, (5, 10), 120),
    "payments": (["retry", "breaker", "timeout"], (5, 60), 30, None, 120),
    "reports": (["timeout", "retry"], None, 300, None, 300),
}
"""Order; breaker: failures, seconds; time-out; bulkhead: at once, waiting; seconds in all."""


@pytest.mark.parametrize("name", TABLE)
def test_each_policy_has_the_figures_of_the_table(name: str) -> None:
    """3 retries after 2, 4, 8 s everywhere; the total time of each is written down."""
    free_names()
    policy = Policies(POLICIES, environ={})[name]
    order, breaking, seconds, bulkhead, in_all = TABLE[name]
    retry = policy.get(Retry)
    assert order == [strategy.word for strategy in policy.strategies]
    assert (4, in_all) == (retry.max_attempts, retry.max_elapsed)
    assert isinstance(retry.backoff, Backoff)
    assert [2, 4, 8] == [retry.backoff.longest(number) for number in (1, 2, 3)]
    assert seconds == policy.get(Timeout).seconds
    if breaking is not None:
        settings = policy.get(CircuitBreaker).settings()
        assert breaking == (settings["failures"], settings["open_for"])
    if bulkhead is not None:
        limit = policy.get(Bulkhead)
        assert bulkhead == (limit.max_concurrent, limit.max_waiting)


async def _converted(client: httpx2.AsyncClient, amount: str = "10.00") -> dict[str, Any]:
    answer = await client.get("/rates/convert", params={"amount": amount, "from": "USD", "to": "INR"})
    assert 200 == answer.status_code, answer.text
    conversion: dict[str, Any] = answer.json()
    return conversion


def test_a_rate_is_live_or_the_last_known_or_the_fixed_one_and_says_so() -> None:
    """F1: each branch gives amount x rate, marked, whatever the API does: errors, silence, an open breaker."""

    async def main() -> None:
        async with dhanman() as (system, client):
            api = system.others["rates"]
            for fault in ("error", "busy"):
                api.fault = fault
                assert {"amount": "10.00", "rate": "1.0", "source": "fixed"} == await _converted(client)
            for _ in range(3):  # the breaker is open by now
                assert "fixed" == (await _converted(client))["source"]
            api.fault = None
            await asyncio.sleep(0.5)  # until it closes
            live = await _converted(client)
            assert ("831.00", "live") == (live["amount"], live["source"])
            api.fault = "error"
            kept = await _converted(client, "20.00")
            assert ("1662.00", "last_known") == (kept["amount"], kept["source"])

    asyncio.run(main())


def test_a_customer_is_told_by_sms_where_e_mail_fails_and_later_where_both_do() -> None:
    """What no channel took stays, visible as failed, and is sent again when asked; once sent, it is not sent again."""

    async def main() -> None:
        async with dhanman() as (system, client):
            email, sms = system.others["email"], system.others["sms"]
            email.fault = "error"
            first = (await ordered(client, "1")).json()["id"]
            assert "completed" == (await ended(client, first))["state"]
            (told,) = (await client.get("/notifications")).json()
            assert ("sent", "sms", "InvoiceCreated") == (told["state"], told["channel"], told["type"])
            sms.fault = "error"
            second = (await ordered(client, "2")).json()["id"]
            shown = await ended(client, second)
            assert "compensated" == shown["state"]
            booked = {entry["invoice_id"]: entry["reversed"] for entry in (await client.get("/common/ledger")).json()}
            assert {first: False, second: True} == booked
            (failed,) = [each for each in (await client.get("/notifications")).json() if each["state"] == "failed"]
            assert failed["error"]
            email.fault = sms.fault = None
            await asyncio.sleep(0.5)
            url = f"/notifications/{failed['id']}/retries"
            for key in ("a", "b"):
                again = (await client.post(url, headers={"Idempotency-Key": key})).json()
                assert ("sent", "email", 2) == (again["state"], again["channel"], again["attempts"])
            assert 1 == len(email.done)

    asyncio.run(main())


def test_what_common_refuses_is_compensated_and_nothing_is_reversed() -> None:
    """W2: `ReverseLedger` only where the ledger was updated; the invoice and its own two entries stay."""

    async def main() -> None:
        async with dhanman() as (system, client):
            system.common.refusing = True
            invoice_id = (await ordered(client, "1")).json()["id"]
            shown = await ended(client, invoice_id)
            assert ("compensated", True) == (shown["state"], "books nothing" in (shown["error"] or ""))
            assert [] == (await client.get("/common/ledger")).json()
            assert [] == (await client.get("/notifications")).json()
            ledger = (await client.get("/ledger")).json()
            assert (2, "0.00") == (len(ledger["entries"]), ledger["balance"])

    asyncio.run(main())


def test_a_payment_of_unknown_outcome_is_settled_at_the_gateway_under_its_key() -> None:
    """The gateway has taken the money and failed to say so: pending, then confirmed; it was charged once."""

    async def main() -> None:
        async with dhanman() as (system, client):
            gateway = system.others["payments"]
            invoice_id = (await ordered(client, "1")).json()["id"]
            url = f"/invoices/{invoice_id}/payments"
            for fault in ("lost", "error", "busy"):
                gateway.fault = fault
                pending = await client.post(url, headers={"Idempotency-Key": f"p-{fault}"})
                assert (202, "pending") == (pending.status_code, pending.json()["state"])
            gateway.fault = None
            await system.parts.payments.settle()
            paid = await client.post(url, headers={"Idempotency-Key": "p-2"})
            assert (200, "confirmed", pending.json()["id"]) == (
                paid.status_code,
                paid.json()["state"],
                paid.json()["id"],
            )
            assert {paid.json()["id"]} == set(gateway.done)
            assert {paid.json()["id"]} == {key for key, _ in gateway.asked}
            assert (await client.get(f"/invoices/{invoice_id}")).json()["is_paid"]

    asyncio.run(main())


def test_a_declined_payment_leaves_the_invoice_unpaid() -> None:
    """An answer of no is an answer: declined at once, and another try is another payment."""

    async def main() -> None:
        async with dhanman() as (system, client):
            invoice_id = (await ordered(client, "1", amount="10.13")).json()["id"]
            url = f"/invoices/{invoice_id}/payments"
            tries = [(await client.post(url, headers={"Idempotency-Key": key})).json() for key in "ab"]
            assert ["declined"] * 2 == [each["state"] for each in tries]
            assert 2 == len({each["id"] for each in tries})
            assert not (await client.get(f"/invoices/{invoice_id}")).json()["is_paid"]
            assert {} == system.others["payments"].done

    asyncio.run(main())


def test_a_hundred_payments_at_once_are_one_charge() -> None:
    """Under a hundred keys: the invoice has one payment, and the gateway is asked under the key of that one."""

    async def main() -> None:
        async with dhanman() as (system, client):
            url = f"/invoices/{(await ordered(client, '1')).json()['id']}/payments"
            answers = await asyncio.gather(
                *(client.post(url, headers={"Idempotency-Key": f"p-{number}"}) for number in range(100))
            )
            assert {200} == {answer.status_code for answer in answers}
            assert 1 == len({answer.json()["id"] for answer in answers})
            assert 1 == len(system.others["payments"].done)

    asyncio.run(main())


def test_the_correlation_id_goes_all_the_way_to_the_providers() -> None:
    """E2: from the request that ordered the invoice, through outbox and saga, to the e-mail."""

    async def main() -> None:
        async with dhanman() as (system, client):
            headers = {"Idempotency-Key": "1", "X-Correlation-Id": "the-order"}
            answer = await client.post("/invoices", json={**ORDER}, headers=headers)
            assert "the-order" == answer.headers["X-Correlation-Id"]
            await ended(client, answer.json()["id"])
            assert {"the-order"} == {correlation for _, correlation in system.others["email"].asked}

    asyncio.run(main())


ORDER = {"customer_id": "c-9", "amount": "99.50", "currency": "INR"}


def test_creating_an_invoice_is_a_span_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """E3: with customer, amount and id; a failure is recorded in it."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(invoices, "TRACER", provider.get_tracer("Dhanman.Sales"))

    async def broken(*given: Any, **named: Any) -> None:
        raise RuntimeError("nothing leaves")

    async def main() -> None:
        async with dhanman() as (system, client):
            made = await ordered(client, "1", **ORDER)
            monkeypatch.setattr(system.outbox, "aadd", broken)
            failed = await ordered(client, "2")
            assert 500 == failed.status_code
            assert "nothing leaves" not in error_of(failed)["message"]
            good, bad = spans.get_finished_spans()
            wanted = {"invoice.customer_id": "c-9", "invoice.amount": 99.5, "invoice.id": made.json()["id"]}
            assert ("CreateInvoice", StatusCode.OK, wanted) == (good.name, good.status.status_code, good.attributes)
            assert StatusCode.ERROR == bad.status.status_code
            assert ["exception"] == [event.name for event in bad.events]
            assert 2 == len((await client.get("/ledger")).json()["entries"])

    asyncio.run(main())


def test_health_tells_of_the_database_the_rates_and_the_messages() -> None:
    """H1, H2: names and statuses; ready asks for the database alone, so rates that are away do not take us down."""

    async def main() -> None:
        async with dhanman() as (system, client):
            system.others["rates"].fault = "error"
            await system.monitor.arefresh()
            whole = await client.get("/health")
            named = {check["name"]: check["status"] for check in whole.json()["checks"]}
            assert {
                "database": "healthy",
                "external-api": "degraded",
                "custom-check": "healthy",
            }.items() <= named.items()
            assert (200, "degraded") == (whole.status_code, whole.json()["status"])
            ready = await client.get("/health/ready")
            assert (200, ["database"]) == (ready.status_code, [check["name"] for check in ready.json()["checks"]])
            assert {"/invoices", "/ledger", "/sagas/{id}"} <= set((await client.get("/openapi.json")).json()["paths"])

    asyncio.run(main())
