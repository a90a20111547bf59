"""What the tests of TicketWave share: the shop on free ports, payers over scripted providers, the books."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2

from examples.ticketwave import policies
from examples.ticketwave.payments import CarefulPayer, Payment
from examples.ticketwave.policies import IN_EARNEST, Pace
from examples.ticketwave.system import PROVIDERS, System, tls
from seawall import Pipeline, snapshot
from seawall.integrations.httpx import protect
from seawall.testing import FakeClock

BRISK = Pace(waits=20, breaks=20)
"""An attempt has 0.5 s, a provider 0.3 s, circuits stay open for 1.5 and 6 s."""
STEP = Any  # of a script: a status, a text that is answered, an exception that is raised, seconds until 201


def in_virtual_time(test: Callable[[FakeClock], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function in an event loop whose time passes only while everybody waits."""

    async def driven() -> None:
        clock.drive(asyncio.get_running_loop())
        await test(clock)

    with FakeClock() as clock:
        asyncio.run(driven())


def free_names() -> None:
    """Let go of the pipelines of the test before, if they are still there: seawall warns of a name used twice."""
    for generation in range(3):  # a whole collection takes long, and is rarely needed
        if snapshot():
            gc.collect(generation)


@asynccontextmanager
async def shop(**given: Any) -> AsyncIterator[tuple[System, httpx2.AsyncClient]]:
    """Run all five services behind proxies; yield them, and a customer's client of the gateway."""
    free_names()
    system = System(**{"pace": BRISK, "proxied": True, **given})
    async with system:
        transport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False)
        async with httpx2.AsyncClient(transport=transport, base_url=system.urls["gateway"], timeout=30) as customer:
            yield system, customer
        # All at once: nothing is in flight. How the shop drains is tested where the program is.
        await asyncio.gather(*(site.stop() for site in system.sites.values()))


def wish(order_id: str | None = "order-1", **given: Any) -> dict[str, Any]:
    """Return what a customer sends to book two tickets of 20.50."""
    order = {} if order_id is None else {"orderId": order_id}
    return {**order, "eventId": "comedy-001", "tickets": 2, "card": "tok_visa", **given}


def charges(system: System) -> Counter[tuple[str, str]]:
    """Return how often each provider has charged for each order."""
    return Counter(
        (name, charge.reference) for name, provider in system.providers.items() for charge in provider.ledger
    )


class Scripted(httpx2.AsyncBaseTransport):
    """A provider, or another server, that does to one request after the other what its script says.

    Attributes:
        keys: the idempotency keys of the requests that reached it.
        times: when they did, on the event loop's clock.
    """

    def __init__(self, *script: STEP) -> None:
        self.script = list(script)
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.headers: list[httpx2.Headers] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Do what comes next; after the script's end its last line holds."""
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.keys.append(request.headers.get("Idempotency-Key"))
        self.times.append(asyncio.get_running_loop().time())
        self.headers.append(request.headers.copy())
        if isinstance(step, float):
            await asyncio.sleep(step)
            step = 201
        if isinstance(step, Exception):
            raise type(step)(*step.args)  # a new one: its traceback keeps pipelines alive
        if isinstance(step, str):
            return httpx2.Response(200, content=step, request=request)
        error = {"error": {"code": "CARD_DECLINED", "message": "No funds."}}
        return httpx2.Response(step, content=json.dumps(error if step == 402 else {}), request=request)


def refused() -> httpx2.ConnectError:
    """Return the failure of a connection that nobody accepted."""
    return httpx2.ConnectError("refused")


def broken() -> httpx2.ReadError:
    """Return the failure of a connection that broke after the request had been sent."""
    return httpx2.ReadError("reset by peer")


def client(name: str, transport: httpx2.AsyncBaseTransport, policy: Pipeline) -> httpx2.AsyncClient:
    """Return a client of a scripted server under a policy."""
    return protect(httpx2.AsyncClient(transport=transport, base_url=f"http://{name}", timeout=None), policy)


def payer(stripe: Scripted, paypal: Scripted, pace: Pace = IN_EARNEST) -> CarefulPayer:
    """Return a payer whose providers are scripted, under the policies of the shop."""
    free_names()
    shared = policies.external(pace)
    scripted = dict(zip(PROVIDERS, (stripe, paypal), strict=True))
    return CarefulPayer(
        {name: client(name, each, policies.provider(name, pace, shared)) for name, each in scripted.items()}
    )


def payment(reference: str = "order-1") -> Payment:
    """Return a payment of 125.00."""
    return Payment(f"payment-{reference}", reference, Decimal("125.00"), "EUR", "tok_visa")


def outcome(paid: Payment) -> tuple[str, str | None, bool, str | None]:
    """Return what is to be known of a payment: state, provider, whether it is the other one, error code."""
    return paid.state, paid.provider, paid.used_fallback, paid.error_code
