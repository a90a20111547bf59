"""A shop in three kinds, FastAPI, Starlette and an ASGI application by hand, whose payments happen once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seawall.web import IdempotentRequests, IdempotentRoute, Seawall

Act = Callable[[Request], Awaitable[Response]]
PAY = "POST /payments"
PUT = "PUT /payments/{id}"
KEY = {"idempotency-key": "k-1"}
PATIENCE = 30.0


def fastapi_shop(act: Act) -> FastAPI:
    """Returns the shop in FastAPI."""
    app = FastAPI(openapi_url=None)

    @app.api_route("/payments", methods=["GET", "HEAD", "OPTIONS", "POST"])
    async def pay(request: Request) -> Response:
        return await act(request)

    @app.put("/payments/{id}")
    async def put(request: Request, id: str) -> Response:
        return await act(request)

    return app


def starlette_shop(act: Act) -> Starlette:
    """Returns the shop in Starlette."""

    async def pay(request: Request) -> Response:
        return await act(request)

    return Starlette(
        routes=[
            Route("/payments", pay, methods=["GET", "OPTIONS", "POST"]),
            Route("/payments/{id}", pay, methods=["PUT"]),
        ]
    )


def raw_shop(act: Act) -> Any:
    """Returns the shop without any framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "only HTTP here"
        response = await act(Request(scope, receive))
        await response(scope, receive, send)

    return app


SHOPS: dict[str, Callable[[Act], Any]] = {"fastapi": fastapi_shop, "starlette": starlette_shop, "raw": raw_shop}


class Till:
    """Acts by playing outcomes, the last one for ever, and notes what it was asked.

    An exception is raised, a function is called with the request for the outcome, anything else is answered.
    """

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = outcomes or (paid,)
        self.asked: list[Request] = []

    @property
    def count(self) -> int:
        """How often something was executed."""
        return len(self.asked)

    async def __call__(self, request: Request) -> Response:
        """Acts."""
        self.asked.append(request)
        outcome = self.outcomes[min(self.count, len(self.outcomes)) - 1]
        if not isinstance(outcome, Exception | Response) and callable(outcome):
            outcome = outcome(request)
            outcome = await outcome if asyncio.iscoroutine(outcome) else outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]


PAYMENTS = iter(range(1, 1_000_000))


def paid(request: Any = None) -> Response:
    """Returns the answer to a new payment: never twice the same."""
    return JSONResponse({"id": next(PAYMENTS)}, status_code=201)


def of(scope: Any) -> str:
    """Says who asks."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-user"), "alice")


def shop(store: Any, act: Act, kind: str = "fastapi", route: IdempotentRoute | None = None, **options: Any) -> Seawall:
    """Returns a wrapped shop; its two routes are as `route` says."""
    one = route or IdempotentRoute()
    wrapper = {name: options.pop(name) for name in ("own_errors", "environment", "status_map") if name in options}
    requests = IdempotentRequests(store, {PAY: one, PUT: one}, **{"principal": of, **options})
    app = Seawall(SHOPS[kind](act), idempotency=requests, **{"environment": "production", **wrapper})
    app.requests = requests  # type: ignore[attr-defined]
    return app


@contextlib.asynccontextmanager
async def client_of(app: Any, root_path: str = "") -> AsyncIterator[httpx2.AsyncClient]:
    """Gives a client that calls the application without a server between."""
    transport = httpx2.ASGITransport(app=app, root_path=root_path, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=PATIENCE) as client:
        yield client


def post(app: Any, *bodies: Any, path: str = "/payments", **more: Any) -> list[httpx2.Response]:
    """Posts one body after the other under one key; returns the answers."""

    async def main() -> list[httpx2.Response]:
        async with client_of(app) as client:
            headers = {**KEY, **more.pop("headers", {})}
            return [await client.post(path, json=body, headers=headers, **more) for body in bodies]

    return asyncio.run(main())


def replayed(response: httpx2.Response) -> bool:
    """Whether an answer was given before."""
    return response.headers.get_list("idempotency-replayed") == ["true"]


async def until(condition: Callable[[], Any]) -> None:
    """Waits for a condition; fails where it never becomes true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - of things that tell nobody
            await asyncio.sleep(0.005)
