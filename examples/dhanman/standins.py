"""Stand-ins for what belongs to others: payment gateway, exchange rates, e-mail, SMS, reports. Each is a server.

Every one fails to order: `PUT /faults` with `{"kind": "error"}`, or busy, stall, drop; `{"kind": null}` ends it.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Kind = Literal["error", "busy", "stall", "lost"]
KINDS: Final = ("error", "busy", "stall", "lost")
RATES: Final = {"USD": "1", "INR": "83.10", "EUR": "0.92", "GBP": "0.79"}
DECLINED: Final = Decimal("0.13")
"""The payment gateway declines payments whose cents are these."""


class StandIn:
    """A server of somebody else's.

    Attributes:
        fault: how it fails: `error` answers 500 before it does anything, `busy` 429, `stall` never answers, `lost` does
            the work and then answers 500.
        asked: requests that came, as (key, correlation id).
        done: what was done, by key: once for each.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault: Kind | None = None
        self.asked: list[tuple[str | None, str | None]] = []
        self.done: dict[str, dict[str, Any]] = {}

    def application(self) -> Starlette:
        """Returns its HTTP interface."""
        routes = [
            Route("/charges", self._charge, methods=["POST"]),
            Route("/messages", self._message, methods=["POST"]),
            Route("/rates", self._rate),
            Route("/reports/{title}", self._report),
            Route("/health", self._health),
            Route("/faults", self._faults, methods=["GET", "PUT"]),
        ]
        return Starlette(routes=routes)

    async def _failing(self, request: Request) -> Response | None:
        self.asked.append((request.headers.get("idempotency-key"), request.headers.get("x-correlation-id")))
        match self.fault:
            case "error":
                return _refusal(500, "as ordered")
            case "busy":
                return _refusal(429, "as ordered", {"Retry-After": "1"})
            case "stall":
                await asyncio.sleep(3600)
        return None

    async def _work(self, request: Request, what: dict[str, Any], status: int) -> Response:
        key = request.headers.get("idempotency-key") or f"without-{len(self.asked)}"
        done = self.done.setdefault(key, what)
        if done != what:
            return _refusal(422, "this key belongs to another request")
        return _refusal(500, "as ordered, after the work") if self.fault == "lost" else JSONResponse(done, status)

    async def _charge(self, request: Request) -> Response:
        order = await request.json()
        if (failed := await self._failing(request)) is not None:
            return failed
        if Decimal(order["amount"]) % 1 == DECLINED:
            return _refusal(402, "declined")
        return await self._work(request, order, 201)

    async def _message(self, request: Request) -> Response:
        message = await request.json()
        if (failed := await self._failing(request)) is not None:
            return failed
        return await self._work(request, message, 202)

    async def _rate(self, request: Request) -> Response:
        if (failed := await self._failing(request)) is not None:
            return failed
        source, target = request.query_params["from"], request.query_params["to"]
        if source not in RATES or target not in RATES:
            return _refusal(404, "no such currency")
        rate = (Decimal(RATES[target]) / Decimal(RATES[source])).quantize(Decimal("0.000001"))
        return JSONResponse({"rate": str(rate)})

    async def _report(self, request: Request) -> Response:
        if (failed := await self._failing(request)) is not None:
            return failed
        title = request.path_params["title"]
        return JSONResponse({"title": title, "lines": [f"{title}: line {number}" for number in (1, 2, 3)]})

    async def _health(self, request: Request) -> Response:
        return _refusal(503, self.fault) if self.fault is not None else JSONResponse({"status": "ok"})

    async def _faults(self, request: Request) -> Response:
        if request.method == "PUT":
            kind = (await request.json()).get("kind")
            if kind is not None and kind not in KINDS:
                return _refusal(400, f"kind is none of {', '.join(KINDS)}, null")
            self.fault = kind
        return JSONResponse({"kind": self.fault, "asked": len(self.asked), "done": len(self.done)})


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)
