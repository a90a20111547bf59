"""What travels between the services, as JSON with camelCase names."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.responses import Response

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Key = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]
Amount = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]
Status = Literal["confirmed", "payment_pending", "payment_declined"]


class Wire(BaseModel):
    """snake_case in Python, camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def as_response(self, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Returns it as an answer. FastAPI would check it once more before."""
        return Response(self.model_dump_json(by_alias=True), status, headers, "application/json")


class Event(Wire):
    """Something that tickets are sold for; `price` is that of one ticket."""

    event_id: Id
    name: str
    category: str
    venue: str
    date: str
    price: Amount
    currency: str


class EventPage(Wire):
    """One page of the events of a category; `total` counts those of all pages."""

    events: tuple[Event, ...]
    page: int
    page_size: int
    total: int


class EventList(EventPage):
    """A page as customers get it: fresh, or an older one while the catalog is away."""

    is_from_cache: bool = False
    is_fallback: bool = False


class NoEvents(Wire):
    """The last resort: the catalog is away, and nothing is kept of what was asked for."""

    events: tuple[Event, ...] = ()
    message: str = "Event catalog is temporarily unavailable. Please try again later."
    is_from_cache: bool = False
    is_fallback: bool = True


class Wish(Wire):
    """What a customer wants to book. An order without an id gets one."""

    order_id: Id | None = None
    event_id: Id
    tickets: int = Field(ge=1, le=10)
    card: str = Field(pattern=r"^tok_[A-Za-z0-9_]{1,60}$", examples=["tok_visa"])


class Order(Wish):
    """What the gateway asks the booking service for."""

    order_id: Id


class PaymentView(Wire):
    """What became of a payment. `provider` is who charged, or declined, or may have charged."""

    success: bool
    provider: str | None
    used_fallback: bool
    error_code: str | None
    message: str


class BookingView(Wire):
    """A booking; `payment_pending` becomes `confirmed` or `payment_declined` by itself."""

    booking_id: str
    order_id: str
    event_id: str
    tickets: int
    status: Status
    payment: PaymentView


class ChargeOrder(Wire):
    """What a payment provider is asked for; `reference` is the order's id."""

    amount: Amount
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    card: str
    reference: Id


class ChargeView(ChargeOrder):
    """A successful charge."""

    charge_id: str
    key: str | None
