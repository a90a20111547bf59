"""The HTTP interface of Dhanman."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import httpx2
from fastapi import Depends, FastAPI, Header, Query, Request, Response

from examples.dhanman import saga
from examples.dhanman.common_service import Common
from examples.dhanman.invoices import Invoices
from examples.dhanman.notifications import Notifications
from examples.dhanman.payments import Payments
from examples.dhanman.rates import Rates
from examples.dhanman.wire import (
    CommonEntryView,
    Conversion,
    Currency,
    InvoiceView,
    LedgerView,
    NewInvoice,
    NotificationView,
    PaymentView,
    ReportView,
    SagaView,
)
from seawall.durable import Sagas
from seawall.web import IdempotentRoute

ROUTES = {
    "POST /invoices": IdempotentRoute(transactional=True, wait=2.0),
    # These may run twice: a payment is asked for under a key of its own, a notification sent under its id.
    "POST /invoices/{id}/payments": IdempotentRoute(server_errors="release", wait=2.0),
    "POST /notifications/{id}/retries": IdempotentRoute(server_errors="release", wait=2.0),
}
"""Every operation that changes something, each once for its `Idempotency-Key`."""

Key = Annotated[str | None, Header(alias="Idempotency-Key", description="a new random key for each new operation")]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the interface is in front of."""

    invoices: Invoices
    payments: Payments
    rates: Rates
    notifications: Notifications
    common: Common
    sagas: Sagas
    reports: httpx2.AsyncClient


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Dhanman = Annotated[Parts, Depends(_parts)]


def application(parts: Parts) -> FastAPI:
    """Returns the interface of Dhanman."""
    app = FastAPI(title="Dhanman", description="Accounting that does not lose an invoice, whatever crashes.")
    app.state.parts = parts
    _add_invoices(app)
    _add_others(app)
    return app


def _add_invoices(app: FastAPI) -> None:
    @app.post("/invoices", status_code=201, response_model=InvoiceView)
    async def create(order: NewInvoice, to: Dhanman, idempotency_key: Key = None) -> Response:
        """Writes an invoice with both ledger entries, once for its key."""
        return await to.invoices.create(order)

    @app.get("/invoices")
    async def overdue(to: Dhanman, overdue: Annotated[bool, Query(description="must be true")]) -> list[InvoiceView]:
        """Lists what should have been paid by now."""
        return await to.invoices.overdue() if overdue else []

    @app.get("/invoices/{id}")
    async def invoice(id: str, to: Dhanman) -> InvoiceView:
        """Returns an invoice."""
        return await to.invoices.get(id)

    @app.post("/invoices/{id}/payments", responses={202: {"model": PaymentView}})
    async def pay(id: str, to: Dhanman, response: Response, idempotency_key: Key = None) -> PaymentView:
        """Pays an invoice: once, however often it is asked. 202: it is not known yet, and will be settled."""
        payment = await to.payments.pay(id)
        response.status_code = 202 if payment.state == "pending" else 200
        return payment

    @app.get("/ledger")
    async def ledger(to: Dhanman) -> LedgerView:
        """Returns the ledger, which balances at every moment."""
        return await to.invoices.ledger()

    @app.get("/invoices/{id}/saga")
    async def saga_of(id: str, to: Dhanman) -> SagaView:
        """Returns how the saga of an invoice stands."""
        return await saga.shown(to.sagas, saga.id_of(id))


def _add_others(app: FastAPI) -> None:
    @app.get("/common/ledger")
    async def common(to: Dhanman) -> list[CommonEntryView]:
        """Returns the ledger of the Common service."""
        return await to.common.entries()

    @app.get("/sagas/{id}")
    async def one_saga(id: str, to: Dhanman) -> SagaView:
        """Returns how a saga stands."""
        return await saga.shown(to.sagas, id)

    @app.get("/notifications")
    async def notifications(to: Dhanman) -> list[NotificationView]:
        """Lists what customers were told, and what they could not be told."""
        return await to.notifications.listed()

    @app.post("/notifications/{id}/retries")
    async def again(id: str, to: Dhanman, idempotency_key: Key = None) -> NotificationView:
        """Sends a notification again that failed."""
        return await to.notifications.again(id)

    @app.get("/rates/convert")
    async def convert(
        to: Dhanman,
        amount: Annotated[Decimal, Query(gt=0, max_digits=15, decimal_places=2)],
        source: Annotated[Currency, Query(alias="from")],
        target: Annotated[Currency, Query(alias="to")],
    ) -> Conversion:
        """Converts an amount at the best rate there is, and says where the rate is from."""
        return await to.rates.convert(amount, source, target)

    @app.get("/reports/{title}")
    async def report(title: str, to: Dhanman) -> Any:
        """Has a report made, which may take 5 minutes."""
        response = await to.reports.get(f"/reports/{title}")
        response.raise_for_status()
        return ReportView(**response.json())
