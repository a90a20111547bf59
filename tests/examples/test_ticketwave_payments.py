"""Taking money in TicketWave: once, at one provider, under one key, whatever the providers do."""

import asyncio

import httpx2
import pytest

from examples.ticketwave.bare import BarePayer
from examples.ticketwave.bookings import Bookings
from examples.ticketwave.events import SEASON
from examples.ticketwave.payments import CarefulPayer, Payment
from examples.ticketwave.settling import Settler
from examples.ticketwave.wire import Order
from seawall import FellBack, deadline
from seawall.testing import FakeClock, Recorder
from tests.examples.ticketwave import Scripted, broken, in_virtual_time, outcome, payer, payment, refused, wish

HANGS = 3600.0
SETTLED_BY_STRIPE = ("confirmed", "stripe", False, None)
SETTLED_BY_PAYPAL = ("confirmed", "paypal", True, None)
PENDING_AT_STRIPE = ("pending", "stripe", False, "PROCESSING_ERROR")
PENDING_AT_PAYPAL = ("pending", "paypal", False, "PROCESSING_ERROR")
NOBODY = ("pending", None, False, "ALL_PROVIDERS_FAILED")


def test_stripe_is_asked_first() -> None:
    """It charges, and nobody else is asked."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(201), Scripted(201), payment()
        await payer(stripe, paypal).pay(paid)
        assert (SETTLED_BY_STRIPE, ["payment-order-1"], []) == (outcome(paid), stripe.keys, paypal.keys)

    in_virtual_time(test)


def test_a_declined_card_does_not_fall_back() -> None:
    """It is an answer, with the provider's own code and message."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(402), Scripted(201), payment()
        await payer(stripe, paypal).pay(paid)
        assert ("declined", "stripe", False, "CARD_DECLINED") == outcome(paid)
        assert ("No funds.", 1, 0) == (paid.message, len(stripe.keys), len(paypal.keys))

    in_virtual_time(test)


@pytest.mark.parametrize("failure", [refused(), httpx2.ConnectTimeout("no answer"), 429])
def test_paypal_is_asked_where_stripe_has_surely_not_charged(failure: object) -> None:
    """A connection that did not come about, or "too many": the result is marked, the key is the same."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(failure), Scripted(201), payment()
        with Recorder() as events:
            await payer(stripe, paypal).pay(paid)
        assert (SETTLED_BY_PAYPAL, stripe.keys) == (outcome(paid), paypal.keys)
        assert ["CarefulPayer.other_provider"] == [event.served_by for event in events.of(FellBack)]

    in_virtual_time(test)


@pytest.mark.parametrize(("failure", "asked"), [(500, 3), (503, 3), (408, 1), (broken(), 1), (HANGS, 1), (404, 1)])
def test_paypal_is_not_asked_where_stripe_may_have_charged(failure: object, asked: int) -> None:
    """After anything else it is not known, so the payment is pending at Stripe; retries carry the same key."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(failure), Scripted(201), payment()
        await payer(stripe, paypal).pay(paid)
        assert (PENDING_AT_STRIPE, []) == (outcome(paid), paypal.keys)
        assert ["payment-order-1"] * asked == stripe.keys

    in_virtual_time(test)


def test_a_later_attempt_that_is_refused_proves_nothing() -> None:
    """500, and then no connection, within one call: the first attempt may have charged."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(500, refused()), Scripted(201), payment()
        await payer(stripe, paypal).pay(paid)
        assert (PENDING_AT_STRIPE, 2, []) == (outcome(paid), len(stripe.keys), paypal.keys)

    in_virtual_time(test)


@pytest.mark.parametrize("later", [refused(), 429, HANGS, 500])
def test_a_later_call_that_is_refused_proves_nothing(later: object) -> None:
    """Settling asks Stripe alone, however surely it does not charge now, until it says what became of the payment."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(HANGS, later), Scripted(201), payment()
        careful = payer(stripe, paypal)
        await careful.pay(paid)
        for _ in range(2):
            await careful.pay(paid)
            assert (PENDING_AT_STRIPE, []) == (outcome(paid), paypal.keys)
        stripe.script = [201]
        clock.advance(120)
        await careful.pay(paid)
        assert (SETTLED_BY_STRIPE, []) == (outcome(paid), paypal.keys)
        assert {"payment-order-1"} == set(stripe.keys)

    in_virtual_time(test)


def test_an_open_circuit_is_told_apart() -> None:
    """PROVIDER_UNAVAILABLE: where settling is refused, and where the other provider is asked instead."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal = Scripted(HANGS), Scripted(refused())
        careful, paid = payer(stripe, paypal), [payment(f"order-{number}") for number in range(4)]
        for each in paid[:3]:
            await careful.pay(each)
        asked = len(stripe.keys)
        await careful.pay(paid[0])
        assert ("pending", "stripe", False, "PROVIDER_UNAVAILABLE") == outcome(paid[0])
        await careful.pay(paid[3])
        assert (NOBODY, asked) == (outcome(paid[3]), len(stripe.keys))
        assert "(stripe: PROVIDER_UNAVAILABLE; paypal: PROCESSING_ERROR)" in paid[3].message

    in_virtual_time(test)


@pytest.mark.parametrize(("heals", "expected"), [("stripe", SETTLED_BY_STRIPE), ("paypal", SETTLED_BY_PAYPAL)])
def test_where_surely_nobody_charged_whoever_answers_may_settle(heals: str, expected: tuple[object, ...]) -> None:
    """ALL_PROVIDERS_FAILED, pending; then either of them, still under the same key."""

    async def test(clock: FakeClock) -> None:
        providers = {"stripe": Scripted(refused()), "paypal": Scripted(429)}
        careful, paid = payer(providers["stripe"], providers["paypal"]), payment()
        await careful.pay(paid)
        assert NOBODY == outcome(paid)
        providers[heals].script = [201]
        await careful.pay(paid)
        assert expected == outcome(paid)
        assert {"payment-order-1"} == {*providers["stripe"].keys, *providers["paypal"].keys}

    in_virtual_time(test)


def test_paypal_that_may_have_charged_is_not_followed_by_stripe() -> None:
    """Stripe refused, PayPal did not answer: it is PayPal's from then on, though Stripe would answer now."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(refused(), 201), Scripted(HANGS, refused(), 201), payment()
        careful = payer(stripe, paypal)
        for _ in range(2):
            await careful.pay(paid)
            assert (PENDING_AT_PAYPAL, 1) == (outcome(paid), len(stripe.keys))
        await careful.pay(paid)
        assert (SETTLED_BY_PAYPAL, 1, 3) == (outcome(paid), len(stripe.keys), len(paypal.keys))

    in_virtual_time(test)


def test_settling_may_end_in_a_declined_card() -> None:
    """It is final, too: nobody is asked again."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(HANGS, 402), Scripted(201), payment()
        careful = payer(stripe, paypal)
        for _ in range(3):
            await careful.pay(paid)
        assert ("declined", "stripe", False, "CARD_DECLINED") == outcome(paid)
        assert (2, 0) == (len(stripe.keys), len(paypal.keys))

    in_virtual_time(test)


@pytest.mark.parametrize("cut", ["cancelled", "deadline"])
def test_a_call_that_is_cut_may_have_charged(cut: str) -> None:
    """Whether the task was cancelled or the customer's time was up: pending at Stripe, and settled there."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(HANGS, refused(), 201), Scripted(201), payment()
        careful = payer(stripe, paypal)
        if cut == "deadline":
            async with deadline(2.0):
                await careful.pay(paid)
        else:
            task = asyncio.create_task(careful.pay(paid))
            await asyncio.sleep(2.0)
            task.cancel()
            await asyncio.wait([task])
        assert ("pending", "stripe") == outcome(paid)[:2]
        await careful.pay(paid)
        assert PENDING_AT_STRIPE == outcome(paid)
        await careful.pay(paid)
        assert (SETTLED_BY_STRIPE, []) == (outcome(paid), paypal.keys)

    in_virtual_time(test)


def test_without_time_nobody_is_asked() -> None:
    """The payment is pending at nobody, and can be settled by whoever answers."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(201), Scripted(201), payment()
        careful = payer(stripe, paypal)
        async with deadline(0):
            await careful.pay(paid)
        assert (NOBODY, [], []) == (outcome(paid), stripe.keys, paypal.keys)
        await careful.pay(paid)
        assert SETTLED_BY_STRIPE == outcome(paid)

    in_virtual_time(test)


def test_one_payment_is_asked_for_by_one_at_a_time() -> None:
    """The settler does not go to Stripe while the customer's request is on its way to PayPal."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal, paid = Scripted(refused(), 201), Scripted(5.0), payment()
        careful = payer(stripe, paypal)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(careful.pay(paid))
            await asyncio.sleep(1.0)
            tasks.create_task(careful.pay(paid))
        assert (SETTLED_BY_PAYPAL, 1, 1) == (outcome(paid), len(stripe.keys), len(paypal.keys))

    in_virtual_time(test)


def booked(careful: CarefulPayer, *orders: str) -> tuple[Bookings, Settler]:
    """Return bookings whose payments are pending, and their settler, at the pace of every day."""
    bookings = Bookings(SEASON)
    for order in orders:
        bookings.place(order, Order(**wish(order)), f"correlation-{order}")
    return bookings, Settler(bookings, careful, 30.0)


def test_the_settler_asks_every_thirty_seconds_until_it_knows() -> None:
    """Each payment by itself; then the bookings are settled, under their customers' correlation ids."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal = Scripted(refused(), refused(), 201), Scripted(refused())
        bookings, settler = booked(payer(stripe, paypal), "order-1", "order-2")
        running = asyncio.create_task(settler.run())
        await asyncio.sleep(61)
        assert ([30.0, 30.0, 60.0, 60.0], []) == (stripe.times, bookings.pending())
        assert ["confirmed"] * 2 == [booking.status for booking in bookings]
        sent = [headers["X-Correlation-Id"] for headers in stripe.headers[2:]]
        assert ["correlation-order-1", "correlation-order-2"] == sent
        settler.stop()
        await running

    in_virtual_time(test)


def test_the_settler_remembers_nothing_that_a_restart_could_lose() -> None:
    """Stopped in the middle of a call to PayPal and started anew, it asks PayPal and not Stripe."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal = Scripted(refused(), 201), Scripted(HANGS, 201)
        bookings, settler = booked(payer(stripe, paypal), "order-1")
        running = asyncio.create_task(settler.run())
        await asyncio.sleep(31)
        running.cancel()
        await asyncio.wait([running])
        await settler.settle()
        (booking,) = bookings
        assert (SETTLED_BY_PAYPAL, 1, 2) == (outcome(booking.payment), len(stripe.keys), len(paypal.keys))

    in_virtual_time(test)


def test_the_settler_stops_after_the_payment_at_hand() -> None:
    """It does not leave one half asked for, and does not begin another."""

    async def test(clock: FakeClock) -> None:
        stripe, paypal = Scripted(3.0), Scripted(201)
        bookings, settler = booked(payer(stripe, paypal), "order-1", "order-2")
        running = asyncio.create_task(settler.run())
        await asyncio.sleep(31)
        settler.stop()
        await running
        assert (33.0, ["confirmed", "payment_pending"]) == (clock.now(), [booking.status for booking in bookings])

    in_virtual_time(test)


def test_a_payment_that_breaks_the_settler_does_not_stop_it() -> None:
    """The others are settled all the same."""

    class Faulty:
        async def pay(self, payment: Payment) -> None:
            if payment.reference == "order-1":
                raise RuntimeError("a mistake of ours")
            payment.confirm("stripe", fallback=False)

    async def test() -> None:
        bookings, _ = booked(payer(Scripted(201), Scripted(201)), "order-1", "order-2")
        await Settler(bookings, Faulty(), 30.0).settle()
        assert ["payment_pending", "confirmed"] == [booking.status for booking in bookings]

    asyncio.run(test())


def bare(stripe: Scripted, paypal: Scripted) -> BarePayer:
    """Return the payer without seawall."""
    scripted = {"stripe": stripe, "paypal": paypal}
    return BarePayer(
        {name: httpx2.AsyncClient(transport=each, base_url=f"http://{name}") for name, each in scripted.items()}
    )


@pytest.mark.parametrize(
    ("stripe", "paypal", "expected"),
    [
        (201, 201, SETTLED_BY_STRIPE),
        (402, 201, ("declined", "stripe", False, "CARD_DECLINED")),
        (500, 201, SETTLED_BY_PAYPAL),
        (refused(), 201, SETTLED_BY_PAYPAL),
        (500, 402, ("declined", "paypal", False, "CARD_DECLINED")),
        (500, refused(), ("declined", None, False, "ALL_PROVIDERS_FAILED")),
    ],
)
def test_the_bare_payer_does_as_the_document_says(stripe: object, paypal: object, expected: tuple[object, ...]) -> None:
    """It is no straw man: the same providers, in the same order, with the same answers, and without a key."""

    async def test() -> None:
        first, paid = Scripted(stripe), payment()
        await bare(first, Scripted(paypal)).pay(paid)
        assert (expected, [None]) == (outcome(paid), first.keys)

    asyncio.run(test())
