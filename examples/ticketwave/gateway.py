"""The gateway: what customers talk to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

import httpx2
from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi import Path as InPath

from examples.ticketwave import problems
from examples.ticketwave.catalog import Category, Page, PageSize
from examples.ticketwave.frame import Limit
from examples.ticketwave.lists import Lists, Query
from examples.ticketwave.policies import Pace
from examples.ticketwave.wire import BookingView, EventList, Key, NoEvents, Order, Wish
from seawall.integrations.httpx import unprocessed

ABOUT = """\
Events to see, and tickets for them.

Every answer carries `X-Correlation-Id`: yours, if you send one of at most 128 letters, digits, `.`, `_` and `-`, else a
new one. `X-Request-Timeout` says how many seconds you will wait, such as `2.5`; without it 20 are assumed.
"""
NOTHING: dict[int | str, dict[str, Any]] = {503: {"model": NoEvents, "description": "Nothing to show"}}
PASSED_ON = ("Retry-After", "Idempotency-Replayed")
CorrelationId = Annotated[str | None, Header(alias="X-Correlation-Id", description="Names this request in every log.")]
RequestTimeout = Annotated[str | None, Header(alias="X-Request-Timeout", description="Seconds that you will wait.")]


def as_asked(pace: Pace) -> Limit:
    """Returns how long a request may take: as long as the customer says, or the default."""
    return lambda given: pace.default_deadline if given is None else given


@dataclass(frozen=True, slots=True)
class Backends:
    """What the gateway asks: `lists` finds events, `bookings` is a client of the booking service."""

    lists: Lists
    bookings: httpx2.AsyncClient


def _at(request: Request) -> Backends:
    backends: Backends = request.app.state.backends
    return backends


router = APIRouter()


@router.get("/api/events", response_model=EventList, responses=problems.documented() | NOTHING)
async def events(
    request: Request,
    category: Category = None,
    page: Page = 1,
    page_size: PageSize = 20,
    correlation: CorrelationId = None,
    timeout: RequestTimeout = None,
) -> Response:
    """Lists events. While the catalog is away you get the last list of the same kind, marked `isFromCache`."""
    found = await _at(request).lists.find(Query(category, page, page_size))
    return found.as_response(503 if isinstance(found, NoEvents) else 200)


@router.post(
    "/api/bookings",
    status_code=201,
    response_model=BookingView,
    responses=problems.documented(404, 409, 422, 429, 503, 504),
)
async def book(
    request: Request,
    wish: Wish,
    idempotency_key: Annotated[Key | None, Header(description="Default: the order's id.")] = None,
    correlation: CorrelationId = None,
    timeout: RequestTimeout = None,
) -> Response:
    """Books tickets. Repeat it under the same key as often as you like: you get the same booking.

    `payment_pending`: you have your tickets, and the payment is settled by itself. Ask for the booking later.
    """
    order = Order(**{**dict(wish), "order_id": wish.order_id or _order_id(idempotency_key)})
    key = idempotency_key or order.order_id
    bookings = _at(request).bookings
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    try:
        response = await bookings.post("/api/bookings", content=order.model_dump_json(by_alias=True), headers=headers)
    except httpx2.HTTPError as error:
        if unprocessed(error):
            raise _unavailable() from error
        booked = await _booked(bookings, order)
        if booked is None:
            said = (
                f"There was no answer in time. Send it again with orderId {order.order_id} and Idempotency-Key {key}: "
            )
            raise problems.ProblemError(
                504, "BOOKING_UNKNOWN", f"{said}nothing is booked or paid for twice."
            ) from error
        return Response(booked.content, 201, media_type="application/json")
    return _passed_on(response)


async def _booked(bookings: httpx2.AsyncClient, order: Order) -> httpx2.Response | None:
    """Looks for the booking of an order whose answer got lost; None where there is none, or no answer again."""
    try:
        response = await bookings.get("/api/bookings", params={"orderId": order.order_id})
    except httpx2.HTTPError:
        return None
    return response if response.is_success else None


@router.get("/api/bookings/{booking_id}", response_model=BookingView, responses=problems.documented(404, 503))
async def show(
    request: Request,
    booking_id: Annotated[str, InPath(pattern=r"^[A-Za-z0-9-]{1,40}$")],
    correlation: CorrelationId = None,
    timeout: RequestTimeout = None,
) -> Response:
    """Shows a booking as it stands now."""
    try:
        return _passed_on(await _at(request).bookings.get(f"/api/bookings/{booking_id}"))
    except httpx2.HTTPError as error:
        raise _unavailable() from error


def application(backends: Backends) -> FastAPI:
    """Returns the gateway's HTTP interface."""
    app = FastAPI(title="TicketWave", description=ABOUT, version="1.0")
    app.state.backends = backends
    app.include_router(router)
    problems.install(app)
    return app


def _order_id(key: str | None) -> str:
    """Returns an id for an order that has none: the same for the same key, so that a repetition is one."""
    return f"o-{uuid.uuid4().hex[:16]}" if key is None else f"o-{sha256(key.encode()).hexdigest()[:16]}"


def _unavailable() -> problems.ProblemError:
    said = "Booking is temporarily unavailable. Nothing was booked. Please try again later."
    return problems.ProblemError(503, "BOOKING_UNAVAILABLE", said)


def _passed_on(response: httpx2.Response) -> Response:
    """Returns the booking service's answer as ours."""
    headers = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
    return Response(response.content, response.status_code, headers, "application/json")
