"""The booking service: takes tickets and money, and says so in time."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response

from examples.ticketwave import policies, problems
from examples.ticketwave.bookings import (
    Booking,
    Bookings,
    DuplicateOrderError,
    InsufficientTicketsError,
    KeyReusedError,
    UnknownEventError,
)
from examples.ticketwave.frame import Limit
from examples.ticketwave.payments import Payer
from examples.ticketwave.policies import Pace
from examples.ticketwave.wire import BookingView, Id, Key, Order
from seawall import BulkheadFullError, DeadlineExceededError, correlation_id, remaining

MARGIN: Final = 0.2
"""Share of the time that a caller waits by which the answer is there before."""
REFUSALS: Final[dict[type[Exception], tuple[int, str, str]]] = {
    UnknownEventError: (404, "EVENT_NOT_FOUND", "There is no such event."),
    InsufficientTicketsError: (409, "INSUFFICIENT_TICKETS", "Not enough tickets available for this event."),
    DuplicateOrderError: (409, "DUPLICATE_ORDER", "This order has been booked already, under another Idempotency-Key."),
    KeyReusedError: (422, "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key belongs to another order."),
}


def in_time(pace: Pace) -> Limit:
    """Returns how long a request may take: so long that the answer, if only "pending", is there before nobody waits."""
    return lambda given: (1 - MARGIN) * (pace.attempt if given is None else min(given, pace.attempt))


class Desk:
    """Makes bookings.

    Args:
        bookings: where they are kept.
        payer: who takes the money.
    """

    def __init__(self, bookings: Bookings, payer: Payer) -> None:
        self.bookings, self._payer = bookings, payer
        self._slots = policies.bookings()
        self.working = 0
        """Bookings that are being made now."""

    async def book(self, key: str, order: Order) -> tuple[Booking, bool]:
        """Returns the booking that belongs to a key, and whether it was there before.

        However often and at however many places an order arrives, it is booked and paid for once.

        Raises:
            BulkheadFullError, DeadlineExceededError: too many bookings, or too little time. Nothing was booked.
            UnknownEventError, InsufficientTicketsError, DuplicateOrderError, KeyReusedError: nothing was booked.
        """
        booking = self.bookings.repeated(key, order)
        if booking is not None:
            await _first_answer(booking)
            return booking, True
        with self._slots.guard():  # it has no queue: nothing is awaited between `repeated` and `place`
            booking = self.bookings.place(key, order, correlation_id())
            self.working += 1
            try:
                await self._payer.pay(booking.payment)  # the deadline around the request bounds it
            finally:
                self.working -= 1
                self.bookings.conclude(booking)
                booking.answered.set()
        return booking, False


async def _first_answer(booking: Booking) -> None:
    """Waits until the request that made a booking has its answer, or there is no time left."""
    try:
        async with asyncio.timeout(remaining()):
            await booking.answered.wait()
    except TimeoutError:
        pass


router = APIRouter()
REPEATED = {"Idempotency-Replayed": "true"}


@router.post(
    "/api/bookings",
    status_code=201,
    response_model=BookingView,
    responses=problems.documented(404, 409, 422, 429, 504),
)
async def book(request: Request, order: Order, idempotency_key: Annotated[Key | None, Header()] = None) -> Response:
    """Books tickets and takes the money: once for a key, by default the order's id."""
    desk: Desk = request.app.state.desk
    try:
        booking, repeated = await desk.book(idempotency_key or order.order_id, order)
    except BulkheadFullError:
        # 429, not 503: a full house is no failure, so it must not open the caller's circuit.
        wait = {"Retry-After": "1"}
        raise problems.ProblemError(429, "TOO_MANY_BOOKINGS", "Too many bookings at once.", wait) from None
    except DeadlineExceededError:
        raise problems.ProblemError(504, "NO_TIME_LEFT", "Nothing was booked: no time was left.") from None
    except tuple(REFUSALS) as error:
        raise problems.ProblemError(*REFUSALS[type(error)]) from None
    return booking.view().as_response(201, REPEATED if repeated else None)


@router.get("/api/bookings", response_model=BookingView, responses=problems.documented(404))
async def find(request: Request, order_id: Annotated[Id, Query(alias="orderId")]) -> Response:
    """Shows the booking of an order as it stands now: for those whose answer got lost."""
    desk: Desk = request.app.state.desk
    return _shown(desk.bookings.of_order(order_id))


@router.get("/api/bookings/{booking_id}", response_model=BookingView, responses=problems.documented(404))
async def show(request: Request, booking_id: str) -> Response:
    """Shows a booking as it stands now."""
    desk: Desk = request.app.state.desk
    return _shown(desk.bookings.get(booking_id))


def _shown(booking: Booking | None) -> Response:
    if booking is None:
        raise problems.ProblemError(404, "BOOKING_NOT_FOUND", "There is no such booking.")
    return booking.view().as_response()


def application(desk: Desk) -> FastAPI:
    """Returns the booking service's HTTP interface."""
    app = FastAPI(title="TicketWave booking")
    app.state.desk = desk
    app.include_router(router)
    problems.install(app)
    return app
