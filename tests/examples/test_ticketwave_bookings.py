"""Bookings in TicketWave: once each, and in time, whatever payment does. Over real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from examples.ticketwave import booking, gateway, policies
from examples.ticketwave.audit import audit
from examples.ticketwave.booking import in_time
from examples.ticketwave.bookings import Bookings, DuplicateOrderError, InsufficientTicketsError
from examples.ticketwave.events import SEASON
from examples.ticketwave.frame import Frame
from examples.ticketwave.payments import Payment
from examples.ticketwave.policies import IN_EARNEST, Pace
from examples.ticketwave.settling import Settler
from examples.ticketwave.wire import Order
from seawall import BulkheadFullError, Retried
from seawall.testing import FakeClock, Recorder
from tests.examples.ticketwave import (
    Scripted,
    broken,
    charges,
    client,
    free_names,
    in_virtual_time,
    refused,
    shop,
    wish,
)


async def book(customer: httpx2.AsyncClient, key: str | None = None, **given: Any) -> tuple[int, dict[str, Any]]:
    """Book; return status and body."""
    headers = {} if key is None else {"Idempotency-Key": key}
    response = await customer.post("/api/bookings", json=wish(**given), headers=headers)
    return response.status_code, response.json()


def brief(body: dict[str, Any]) -> tuple[str, str | None, bool, str | None]:
    """Return status of a booking; provider, usedFallback and errorCode of its payment."""
    payment = body["payment"]
    return body["status"], payment["provider"], payment["usedFallback"], payment["errorCode"]


async def look(customer: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Return a booking as it stands now."""
    response = await customer.get(f"/api/bookings/{body['bookingId']}")
    shown: dict[str, Any] = response.json()
    return shown


@pytest.mark.parametrize("bare", [False, True])
def test_a_booking_is_confirmed_and_charged_once(bare: bool) -> None:
    """It can be looked at, it is the same when it is repeated, and the price is that of its tickets."""

    async def test() -> None:
        async with shop(bare=bare) as (system, customer):
            status, made = await book(customer)
            assert (201, ("confirmed", "stripe", False, None), True) == (
                status,
                brief(made),
                made["payment"]["success"],
            )
            assert ("order-1", "comedy-001", 2) == (made["orderId"], made["eventId"], made["tickets"])
            assert (made, (201, made)) == (await look(customer, made), await book(customer))
            (charge,) = system.providers["stripe"].ledger
            assert ("41.00", "EUR", "order-1") == (str(charge.amount), charge.currency, charge.reference)
            assert SEASON["comedy-001"].capacity - 2 == system.bookings.left("comedy-001")

    asyncio.run(test())


def test_refusals_are_told_apart() -> None:
    """What the customer did wrong, in one shape, with a code; nothing is retried, booked or charged."""

    async def test() -> None:
        async with shop() as (system, customer):
            with Recorder(Retried) as events:
                assert 201 == (await book(customer, key="key-1"))[0]
                for status, code, key, given in (
                    (404, "EVENT_NOT_FOUND", None, {"order_id": "order-2", "eventId": "opera-001"}),
                    (422, "IDEMPOTENCY_KEY_REUSED", "key-1", {"tickets": 3}),
                    (409, "DUPLICATE_ORDER", "key-2", {}),
                    (400, "VALIDATION_ERROR", None, {"order_id": "order-2", "tickets": 0}),
                    (400, "VALIDATION_ERROR", None, {"order_id": "order-2", "card": "4242424242424242"}),
                    (400, "VALIDATION_ERROR", None, {"order_id": "no such id!"}),
                    (400, "VALIDATION_ERROR", "two words", {}),
                ):
                    said = await book(customer, key=key, **given)
                    assert (status, code) == (said[0], said[1]["error"]["code"])
                unknown = await customer.get("/api/bookings/b-0")
                assert (404, "BOOKING_NOT_FOUND") == (unknown.status_code, unknown.json()["error"]["code"])
            assert ([], {("stripe", "order-1"): 1}) == (events.events, charges(system))

    asyncio.run(test())


def test_tickets_that_are_not_there_are_not_sold() -> None:
    """INSUFFICIENT_TICKETS is a 409 that is asked for once; a smaller order still fits."""

    async def test() -> None:
        async with shop() as (system, customer):
            for number in range(19):
                assert 201 == (await book(customer, order_id=f"order-{number}", eventId="comedy-004", tickets=10))[0]
            assert 201 == (await book(customer, order_id="order-19", eventId="comedy-004", tickets=7))[0]
            with Recorder(Retried) as events:
                status, body = await book(customer, order_id="order-20", eventId="comedy-004", tickets=4)
            assert (409, "INSUFFICIENT_TICKETS", []) == (status, body["error"]["code"], events.events)
            assert 201 == (await book(customer, order_id="order-21", eventId="comedy-004", tickets=3))[0]
            assert (0, 21) == (system.bookings.left("comedy-004"), len(charges(system)))

    asyncio.run(test())


def test_a_declined_card_gives_the_tickets_back() -> None:
    """Once, also when it is asked for again; the booking stays declined."""

    async def test() -> None:
        async with shop() as (system, customer):
            for _ in range(2):
                status, body = await book(customer, card="tok_declined")
                assert (201, ("payment_declined", "stripe", False, "CARD_DECLINED")) == (status, brief(body))
            assert SEASON["comedy-001"].capacity == system.bookings.left("comedy-001")
            assert ({}, 1) == (charges(system), len(system.providers["stripe"].asked))

    asyncio.run(test())


def test_a_hundred_equal_bookings_at_once_are_one() -> None:
    """One booking, one charge, a hundred equal answers."""

    async def test() -> None:
        async with shop(pace=IN_EARNEST) as (system, customer):
            said = await asyncio.gather(*(book(customer) for _ in range(100)))
            assert 1 == len({str(each) for each in said})
            assert ("confirmed", 1) == (said[0][1]["status"], len(list(system.bookings)))
            assert ({("stripe", "order-1"): 1}, 1) == (charges(system), len(system.providers["stripe"].asked))

    asyncio.run(test())


def test_a_repetition_without_an_order_id_is_one_too() -> None:
    """The same key is the same order; without a key each is an order of its own."""

    async def test() -> None:
        async with shop() as (_, customer):
            first, second = await book(customer, "key", order_id=None), await book(customer, "key", order_id=None)
            assert (201, first) == (first[0], second)
            others = [await book(customer, order_id=None) for _ in range(2)]
            assert 3 == len({body["orderId"] for _, body in (first, *others)})

    asyncio.run(test())


def test_stripe_away_is_paypal() -> None:
    """Refused connections: PayPal charges, and the answer says so."""

    async def test() -> None:
        async with shop() as (system, customer):
            await system.proxies["stripe"].strike("refuse")
            status, body = await book(customer)
            assert (201, ("confirmed", "paypal", True, None)) == (status, brief(body))
            assert {("paypal", "order-1"): 1} == charges(system)

    asyncio.run(test())


def test_a_payment_of_which_nothing_is_known_is_settled_later() -> None:
    """F5: the booking succeeds as payment_pending. Stripe gets the key again when it is back, and PayPal nothing."""

    async def test() -> None:
        async with shop(pace=Pace(20, 5000)) as (system, customer):
            system.settler.stop()  # it settles when the test wants it
            stripe, proxy = system.providers["stripe"], system.proxies["stripe"]
            settler = Settler(system.bookings, system.payer, 60.0)
            for fault in ("mute", "stall", "reset", "errors"):
                if fault == "errors":
                    stripe.trouble = "errors"
                else:
                    await proxy.strike(fault)  # type: ignore[arg-type]
                order = f"order-{fault}"
                status, body = await book(customer, order_id=order)
                assert (201, ("payment_pending", "stripe", False, "PROCESSING_ERROR")) == (status, brief(body)), fault
                assert body == await look(customer, body)
                await proxy.strike("refuse")
                await settler.settle()
                assert ("payment_pending", "stripe") == brief(await look(customer, body))[:2], fault
                stripe.trouble = None
                await proxy.lift()
                await settler.settle()
                settled = await look(customer, body)
                assert ("confirmed", "stripe", False, None) == brief(settled), fault
                assert (201, settled) == await book(customer, order_id=order)
                assert (1, {f"payment-{order}"}) == (charges(system)["stripe", order], {key for key, _ in stripe.asked})
                stripe.asked.clear()
            assert [] == list(system.providers["paypal"].asked)

    asyncio.run(test())


def test_a_booking_succeeds_while_payment_is_away() -> None:
    """F5, ALL_PROVIDERS_FAILED: pending, with its tickets; the settler asks by itself until somebody charges."""

    async def test() -> None:
        async with shop(pace=Pace(waits=60, breaks=1000)) as (system, customer):
            for name in ("stripe", "paypal"):
                await system.proxies[name].strike("refuse")
            status, body = await book(customer)
            assert (201, ("payment_pending", None, False, "ALL_PROVIDERS_FAILED")) == (status, brief(body))
            assert SEASON["comedy-001"].capacity - 2 == system.bookings.left("comedy-001")
            await system.proxies["paypal"].lift()
            while "payment_pending" == (await look(customer, body))["status"]:  # noqa: ASYNC110 - as customers do
                await asyncio.sleep(0.05)
            assert ("confirmed", "paypal", True, None) == brief(await look(customer, body))
            assert {("paypal", "order-1"): 1} == charges(system)

    asyncio.run(test())


def test_a_booking_succeeds_while_payment_fails_slowly() -> None:
    """F5: every answer of Stripe takes 100 ms and is a 500."""

    async def test() -> None:
        async with shop() as (system, customer):
            system.providers["stripe"].work, system.providers["stripe"].trouble = 0.1, "errors"
            status, body = await book(customer)
            assert (201, "payment_pending") == (status, body["status"])

    asyncio.run(test())


def test_a_customer_in_a_hurry_is_told_in_time() -> None:
    """Stripe would be waited for for 3 s, the customer for 1.2: the answer is "pending", not a time-out."""

    async def test() -> None:
        async with shop(pace=Pace(waits=2)) as (system, customer):
            await system.proxies["stripe"].strike("mute")
            headers = {"X-Request-Timeout": "1.2"}
            response = await customer.post("/api/bookings", json=wish(), headers=headers)
            assert (201, "payment_pending") == (response.status_code, response.json()["status"])

    asyncio.run(test())


@pytest.mark.parametrize(("given", "expected"), [(None, 8.0), (60.0, 8.0), (9.0, 7.2), (1.0, 0.8), (0.0, 0.0)])
def test_the_booking_service_keeps_a_margin(given: float | None, expected: float) -> None:
    """A fifth of the time that its caller waits: that is 10 s an attempt at most."""
    assert pytest.approx(expected) == in_time(IN_EARNEST)(given)


def test_the_deadline_travels_on() -> None:
    """What is left of the customer's time, or of the attempt, whichever is less."""

    async def sent(given: str) -> float:
        server = Scripted(201)
        bookings = client("booking", server, policies.service(f"booking for {given} s", IN_EARNEST))
        app = Frame(gateway.application(gateway.Backends(None, bookings)), "gateway", gateway.as_asked(IN_EARNEST))  # type: ignore[arg-type]
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as customer:
            await customer.post("/api/bookings", json=wish(), headers={"X-Request-Timeout": given})
        return float(server.headers[0]["X-Request-Timeout"])

    async def test() -> None:
        assert 2.0 < await sent("3.0") <= 3.0
        assert 9.0 < await sent("60") <= 10.0

    asyncio.run(test())


class Held:
    """A payer that waits until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = Counter[str]()

    async def pay(self, payment: Payment) -> None:
        """Confirm, once let go."""
        self.asked[payment.reference] += 1
        await self.go.wait()
        payment.confirm("stripe", fallback=False)


def an_order(number: int) -> Order:
    """Return an order."""
    return Order(**wish(f"order-{number}"))


def test_the_hundred_and_first_booking_at_once_is_turned_away() -> None:
    """429 with a time to come back; a repetition of one that is being made still waits for it; then all is well."""

    async def test() -> None:
        free_names()
        payer = Held()
        desk = booking.Desk(Bookings(SEASON), payer)
        async with asyncio.TaskGroup() as tasks:
            making = [tasks.create_task(desk.book(f"key-{number}", an_order(number))) for number in range(100)]
            await asyncio.sleep(0)
            with pytest.raises(BulkheadFullError):
                await desk.book("key-100", an_order(100))
            transport = httpx2.ASGITransport(Frame(booking.application(desk), "booking"))
            async with httpx2.AsyncClient(transport=transport, base_url="http://booking") as caller:
                full = await caller.post("/api/bookings", json=wish("order-100"))
            assert (429, "1") == (full.status_code, full.headers["Retry-After"])
            again = tasks.create_task(desk.book("key-0", an_order(0)))
            await asyncio.sleep(0)
            payer.go.set()
        assert (making[0].result()[0], True) == again.result()
        assert (100, 1) == (len(list(desk.bookings)), payer.asked["order-0"])
        assert "confirmed" == (await desk.book("key-100", an_order(100)))[0].status

    asyncio.run(test())


def test_a_mistake_in_the_payer_leaves_the_booking_pending() -> None:
    """The customer gets a 500, and whoever asks again the booking; it is not made twice."""

    class Faulty:
        async def pay(self, payment: Payment) -> None:
            raise RuntimeError("a mistake of ours")

    async def test() -> None:
        free_names()
        desk = booking.Desk(Bookings(SEASON), Faulty())
        with pytest.raises(RuntimeError):
            await desk.book("key", an_order(1))
        made, repeated = await desk.book("key", an_order(1))
        assert ("payment_pending", True, 0) == (made.status, repeated, desk.working)

    asyncio.run(test())


def test_the_store_keeps_its_books() -> None:
    """Refused bookings take no tickets; declined ones give them back once; only pending ones are pending."""
    store = Bookings(SEASON)
    made = store.place("key-1", Order(**wish("order-1", eventId="comedy-004", tickets=10)), None)
    with pytest.raises(DuplicateOrderError):
        store.place("key-2", Order(**wish("order-1", eventId="comedy-004")), None)
    for number in range(2, 21):
        store.place(f"key-{number}", Order(**wish(f"order-{number}", eventId="comedy-004", tickets=10)), None)
    with pytest.raises(InsufficientTicketsError):
        store.place("key-21", Order(**wish("order-21", eventId="comedy-004", tickets=1)), None)
    made.payment.decline("stripe", "CARD_DECLINED", "No.")
    for _ in range(2):
        store.conclude(made)

    assert (10, 19) == (store.left("comedy-004"), len(store.pending()))


def test_the_audit_finds_what_must_not_be() -> None:
    """Orders charged twice, and orders that were charged and have no confirmed booking, or are pending."""

    async def test() -> dict[str, Any]:
        async with shop() as (system, customer):
            for order in ("order-1", "order-2"):
                await book(customer, order_id=order)
            stolen = system.providers["stripe"].ledger[0]
            system.providers["paypal"].ledger.append(stolen)
            system.providers["paypal"].ledger.append(stolen.model_copy(update={"reference": "nobody's"}))
            system.bookings.place("key", Order(**wish("order-3")), None)
            system.settler.stop()
            return audit(system.bookings, [provider.ledger for provider in system.providers.values()])

    assert {"double_charges": 1, "unsettled": 2, "pending": ["order-3"]} == asyncio.run(test())


@asynccontextmanager
async def behind(booking_service: Scripted, name: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a customer of a gateway whose booking service is scripted."""
    bookings = client("booking", booking_service, policies.service(name, IN_EARNEST))
    app = Frame(gateway.application(gateway.Backends(None, bookings)), "gateway", gateway.as_asked(IN_EARNEST))  # type: ignore[arg-type]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as customer:
        yield customer


def test_the_booking_service_away_is_told_apart_from_silent() -> None:
    """503 where surely nothing was booked; 504 where that is not known, with what to repeat it by."""

    async def test(clock: FakeClock) -> None:
        async with behind(Scripted(refused()), "booking away") as customer:
            status, body = await book(customer, key="key-1")
            shown = await customer.get("/api/bookings/b-0")
        assert (503, "BOOKING_UNAVAILABLE") == (status, body["error"]["code"])
        assert "Nothing was booked" in body["error"]["message"]
        assert 503 == shown.status_code
        for found in (404, 500, broken()):
            async with behind(Scripted(*[broken()] * 4, found), f"booking silent, then {found!r}") as customer:
                status, body = await book(customer, key="key-1")
            assert (504, "BOOKING_UNKNOWN") == (status, body["error"]["code"])
            assert "orderId order-1 and Idempotency-Key key-1" in body["error"]["message"]

    in_virtual_time(test)


def test_an_answer_that_got_lost_is_looked_for() -> None:
    """Four attempts under one key brought no answer; the booking is there, and the customer gets it."""

    async def test(clock: FakeClock) -> None:
        service = Scripted(*[broken()] * 4, '{"bookingId": "b-1"}')
        async with behind(service, "booking lost") as customer:
            assert (201, {"bookingId": "b-1"}) == await book(customer, key="key-1")
        assert (["key-1"] * 4 + [None], 14.0) == (service.keys, clock.now())

    in_virtual_time(test)


def test_the_booking_of_an_order_can_be_looked_for() -> None:
    """At the booking service itself, by the order's id."""

    async def test() -> None:
        async with shop() as (system, customer):
            _, made = await book(customer)
            async with httpx2.AsyncClient(base_url=system.urls["booking"]) as gateway_itself:
                found = await gateway_itself.get("/api/bookings", params={"orderId": "order-1"})
                none = await gateway_itself.get("/api/bookings", params={"orderId": "order-2"})
            assert ((200, made), 404) == ((found.status_code, found.json()), none.status_code)

    asyncio.run(test())
