"""What befalls the dependencies in the storm, and which request is which: all of it follows from the seed."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from examples.ticketwave.events import CATEGORIES, SEASON
from examples.ticketwave.lists import Query
from seawall.chaos import Fault

PAYMENTS: Final = "payments"
"""The target that both providers are: what counts for a customer is when paying works as usual again."""
SEAM: Final = 0.002
"""Share of the run by which a fault outlasts the beginning of the next one, so that there is no gap between them."""
SHIFT: Final = 0.008
"""Share of the run by which a boundary may lie earlier or later, by the seed."""
PAGES: Final = 3
PAGE_SIZE: Final = 10


class Part(NamedTuple):
    """A part of an incident: what it begins with, as a share of the run."""

    begins: float
    kind: str
    says: str


CATALOG: Final = (
    Part(0.10, "refuse", "refuses every connection"),
    Part(0.155, "errors", "answers every request with 500"),
    Part(0.2, "stall", "accepts requests and never reads them"),
    Part(0.7, "reset", "resets every connection"),
    Part(0.75, "", ""),
)
STRIPE: Final = (
    Part(0.10, "stripe errors", "Stripe charges the card, then answers 500"),
    Part(0.17, "stripe mute", "Stripe charges the card, and its answers get lost"),
    Part(0.40, "stripe refuse", "Stripe refuses every connection"),
    Part(0.45, "", ""),
)
PAYPAL: Final = (
    Part(0.13, "paypal busy", "PayPal answers 429, try again later"),
    Part(0.165, "", ""),
)


def faults(seed: int) -> tuple[Fault, ...]:
    """Returns the fault script."""
    chance = random.Random(f"faults:{seed}")
    return (
        *_incident("catalog", CATALOG, chance),
        *_incident(PAYMENTS, STRIPE, chance),
        *_incident(PAYMENTS, PAYPAL, chance),
    )


def _incident(target: str, parts: tuple[Part, ...], chance: random.Random) -> list[Fault]:
    begins = [round(part.begins + chance.uniform(-SHIFT, SHIFT), 4) for part in parts]
    ends = [round(begin + SEAM, 4) for begin in begins[1:-1]] + begins[-1:]
    return [
        Fault(target, part.kind, begin, end, part.says) for part, begin, end in zip(parts, begins, ends, strict=False)
    ]


def struck(fault: Fault) -> dict[str, str]:
    """Returns who is struck by a fault and how, as `--control` wants it."""
    if fault.target == PAYMENTS:
        provider, _, kind = fault.kind.partition(" ")
        return {"target": provider, "kind": kind}
    return {"target": fault.target, "kind": fault.kind}


LISTS: Final = tuple(Query(category, page, PAGE_SIZE) for category in CATEGORIES for page in range(1, PAGES + 1))
"""Every list that is asked for."""

_BIG: Final = tuple(event_id for event_id, listing in SEASON.items() if listing.capacity >= 20_000)


def request(seed: int, number: int) -> Query | dict[str, str | int]:
    """Returns a request: half of them are for a list, half for tickets, as JSON, to an event that has enough."""
    chance = random.Random(f"request:{seed}:{number}")
    if chance.random() < 0.5:
        return chance.choice(LISTS)
    return {
        "orderId": f"storm-{seed}-{number}",
        "eventId": chance.choice(_BIG),
        "tickets": chance.randint(1, 4),
        "card": "tok_visa",
    }
