"""The events of the season: always the same ones, so that catalog and booking agree and runs can be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from examples.ticketwave.wire import Event

CATEGORIES: Final = ("concert", "theatre", "sport", "comedy")
EACH: Final = 60
"""Events in each category."""
VENUES: Final = (("Harbour Arena", 20_000), ("Old Exchange", 2_000), ("Pier Stadium", 60_000), ("Lighthouse Club", 200))
ACTS: Final = {
    "concert": ("The Breakers", "Ebb and Flow", "Low Tide Orchestra", "Marram", "Groyne"),
    "theatre": ("The Tempest", "Pericles", "The Lady from the Sea", "Twelfth Night", "Riders to the Sea"),
    "sport": ("Cup Semi-final", "Regatta Gala", "Ice Derby", "Night Athletics", "Cup Final"),
    "comedy": ("Salt and Vinegar", "Deckchairs", "Gulls", "Wet Weather Plan", "Last Ferry"),
}
OPENING: Final = date(2027, 5, 1)


@dataclass(frozen=True, slots=True)
class Listing:
    """An event, and how many tickets there are for it."""

    event: Event
    capacity: int


def _listing(category: str, number: int) -> Listing:
    venue, capacity = VENUES[number % len(VENUES)]
    act = ACTS[category][number % len(ACTS[category])]
    event = Event(
        event_id=f"{category}-{number + 1:03}",
        name=f"{act}, night {number // len(ACTS[category]) + 1}",
        category=category,
        venue=venue,
        date=(OPENING + timedelta(days=2 * number)).isoformat(),
        price=Decimal(20 + 15 * (number % 8)) + Decimal("0.50"),
        currency="EUR",
    )
    return Listing(event, capacity)


SEASON: Final = {
    listing.event.event_id: listing
    for listing in (_listing(category, number) for category in CATEGORIES for number in range(EACH))
}
