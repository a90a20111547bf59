"""Stand-ins for the payment providers: they charge cards, once for each idempotency key, and keep a ledger."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Header, Request, Response

from examples.ticketwave import problems
from examples.ticketwave.wire import ChargeOrder, ChargeView, Id, Key
from seawall import correlation_id

DECLINED = "tok_declined"


class Provider:
    """A payment provider.

    Attributes:
        ledger: every successful charge, in order.
        asked: the last requests for a charge as (key, correlation id), whether they were served or not.
        trouble: set it to let the provider fail: "errors" charges and then answers 500, "busy" answers 429.
    """

    work = 0.015
    """Seconds that a charge takes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ledger: list[ChargeView] = []
        self.asked: deque[tuple[str | None, str | None]] = deque(maxlen=10_000)
        self.trouble: Literal["errors", "busy"] | None = None
        self._known: dict[str, tuple[ChargeOrder, ChargeView | None]] = {}

    async def charge(self, order: ChargeOrder, key: str | None) -> ChargeView:
        """Charges a card, or repeats what came of the same key before."""
        self.asked.append((key, correlation_id()))
        if self.trouble == "busy":
            raise problems.ProblemError(429, "BUSY", "Too many charges at once.", {"Retry-After": "1"})
        charged = self._charged(order, key)  # without an await: a repetition finds it, however soon it comes
        await asyncio.sleep(self.work)
        if self.trouble == "errors":
            raise _broken()
        if charged is None:
            raise problems.ProblemError(402, "CARD_DECLINED", "The card was declined.")
        return charged

    def _charged(self, order: ChargeOrder, key: str | None) -> ChargeView | None:
        if key in self._known:
            before, charged = self._known[key]
            if before != order:
                raise problems.ProblemError(422, "KEY_REUSED", "This key belongs to another charge.")
            return charged
        charged = None
        if order.card != DECLINED:
            charge_id = f"{self.name}-{len(self.ledger) + 1}"
            charged = ChargeView(**order.model_dump(), charge_id=charge_id, key=key)
            self.ledger.append(charged)
        if key is not None:
            self._known[key] = order, charged
        return charged


def _broken() -> problems.ProblemError:
    return problems.ProblemError(500, "PROVIDER_BROKEN", "Something went wrong on our side.")


router = APIRouter()


@router.post("/charges", status_code=201, response_model=ChargeView, responses=problems.documented(402, 422, 429))
async def charge(
    request: Request, order: ChargeOrder, idempotency_key: Annotated[Key | None, Header()] = None
) -> Response:
    """Charges a card: once for a key, however often it is asked."""
    provider: Provider = request.app.state.provider
    return (await provider.charge(order, idempotency_key)).as_response(201)


@router.get("/charges", responses=problems.documented())
async def charges(request: Request, reference: Id) -> list[ChargeView]:
    """Lists the successful charges of an order."""
    provider: Provider = request.app.state.provider
    if provider.trouble == "errors":
        raise _broken()
    return [each for each in provider.ledger if each.reference == reference]


def application(provider: Provider) -> FastAPI:
    """Returns the provider's HTTP interface."""
    app = FastAPI(title=f"Payment provider {provider.name}")
    app.state.provider = provider
    app.include_router(router)
    problems.install(app)
    return app
