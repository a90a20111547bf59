"""The storm of TicketWave: `seawall storm examples.ticketwave.storm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self

import httpx2

from examples.ticketwave import storm_script
from examples.ticketwave.child import Child
from examples.ticketwave.control import finishing
from examples.ticketwave.lists import Query
from examples.ticketwave.policies import Pace
from seawall.chaos import Answer, Conditions, Counts, Fault, Scenario, Variant

WAITS: Final = 20.0
"""Waits and time-outs are so many times shorter than in earnest."""
FULL_LENGTH: Final = 300.0
"""Seconds of a run in which breaks last as long as in earnest."""
PATIENCE: Final = 1.5
"""Seconds that a customer says they will wait."""
SAYS: Final = (
    "A ticket shop: customers list events and book tickets, which are paid for with Stripe, else with PayPal. The same "
    "application twice: bare, with try/except and httpx2's time-outs, and protected, with seawall's pipelines."
)


def pace(conditions: Conditions) -> Pace:
    """Returns how much faster than in earnest the system runs."""
    return Pace(WAITS, FULL_LENGTH / conditions.seconds)


class Side(Variant):
    """One variant: its process, and the customers.

    Args:
        conditions: of the storm.
        arguments: that make its process this variant.
    """

    def __init__(self, conditions: Conditions, *arguments: str) -> None:
        self._seed = conditions.seed
        self._substitutes = 0  # counted here, since the bare variant has them too and no events that tell of them
        ours = pace(conditions)
        self._child = Child("--pace", f"{ours.waits!r}:{ours.breaks!r}", *arguments)
        self._customers = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(trust_env=False, limits=httpx2.Limits(max_connections=None)),
            headers={"X-Request-Timeout": str(PATIENCE)},
            timeout=None,  # the storm gives up what takes too long
        )

    async def __aenter__(self) -> Self:
        await self._child.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._customers.aclose()
        await self._child.__aexit__(*exc)

    async def warm(self) -> None:
        """Asks for every list once and books once, so that connections are open and every list is kept."""
        for query in storm_script.LISTS:
            await self._listed(query)
        first = storm_script.LISTS[0].category
        await self._booked({"orderId": "storm-warm", "eventId": f"{first}-001", "tickets": 1, "card": "tok_visa"})

    async def strike(self, fault: Fault) -> None:
        """Begins a fault."""
        await self._child.ask("strike", **storm_script.struck(fault))

    async def lift(self, fault: Fault) -> None:
        """Ends a fault."""
        await self._child.ask("lift", **storm_script.struck(fault))

    async def send(self, number: int) -> Answer:
        """Sends a customer's request."""
        request = storm_script.request(self._seed, number)
        answer = await (self._listed(request) if isinstance(request, Query) else self._booked(request))
        self._substitutes += answer.outcome in ("cached", "fallback")
        return answer

    async def counts(self) -> Counts:
        """Returns the counts as of now."""
        return self._counts(await self._child.ask("counts"))

    async def finish(self) -> Counts:
        """Lets pending payments be settled, and returns the counts."""
        return self._counts(await self._child.ask("finish"))

    def _counts(self, said: Mapping[str, Any]) -> Counts:
        counts = dict(said["counts"])
        pending = frozenset(counts.pop("pending"))
        further = {name: counts.pop(name) for name in ("double_charges", "unsettled")}
        return Counts(**counts, fallbacks=self._substitutes, further=further, unsettled=pending)

    async def _listed(self, query: Query) -> Answer:
        url = f"{self._child.urls['gateway']}/api/events"
        response = await self._customers.get(url, params=query.parameters())
        if response.status_code != 200:
            return Answer("failed")
        return Answer("cached") if response.json()["isFromCache"] else Answer("fresh", "catalog")

    async def _booked(self, wish: dict[str, str | int]) -> Answer:
        response = await self._customers.post(f"{self._child.urls['gateway']}/api/bookings", json=wish)
        if response.status_code != 201:
            return Answer("failed")
        booking = response.json()
        match booking["status"], booking["payment"]["usedFallback"]:
            case "confirmed", True:
                return Answer("fallback")
            case "confirmed", False:
                return Answer("fresh", storm_script.PAYMENTS)
            case "payment_pending", _:
                return Answer("pending", reference=booking["orderId"])
            case _:
                return Answer("failed")


class TicketWave(Scenario):
    """The catalog is away for most of the run, and Stripe for a third of it, in the nastiest ways there are."""

    name = "TicketWave"
    says = SAYS
    rate = 40.0

    def faults(self, conditions: Conditions) -> Sequence[Fault]:
        """Returns the fault script."""
        return storm_script.faults(conditions.seed)

    def notes(self, conditions: Conditions) -> Sequence[str]:
        """Says what is not as in earnest."""
        ours = pace(conditions)
        return (
            f"In the protected variant waits and time-outs are {WAITS:g} times shorter than in earnest: an attempt has "
            f"{ours.attempt:.2f} s instead of 10 s, retries come after {ours.wait(2):.2f}, {ours.wait(4):.2f} and "
            f"{ours.wait(8):.2f} s instead of 2, 4 and 8 s. The bare one waits 5 s, httpx2's default.",
            f"Breaks of circuits are scaled to the run, by seconds / {FULL_LENGTH:g}: {ours.rest(30):.3g} s instead of "
            f"30 s for the catalog, {ours.rest(120):.3g} s instead of 120 s for Stripe and PayPal.",
            f"Pending payments are asked for every {ours.settling:.2g} s instead of every 30 s; at the end at most "
            f"{finishing(ours):.3g} s are waited for them.",
            f"Customers say that they will wait {PATIENCE:g} s; the protected variant keeps to it.",
            "double_charges: orders that were charged more than once. unsettled: orders that at the end are neither "
            "confirmed nor declined, or that were charged and not confirmed: money taken, no ticket.",
        )

    def variants(self, conditions: Conditions) -> Mapping[str, AbstractAsyncContextManager[Variant]]:
        """Returns the bare and the protected variant."""
        return {"bare": Side(conditions, "--bare"), "protected": Side(conditions)}


scenario: Final = TicketWave()
