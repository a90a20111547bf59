"""Applications of frameworks, called without a server between."""

import asyncio
from typing import Any

import httpx2
from fastapi import Body, FastAPI
from pydantic import BaseModel, Field, field_validator

from seawall.web import Seawall


def client_of(app: Any, **options: Any) -> httpx2.AsyncClient:
    """Returns a client that calls the wrapped application without a server between."""
    transport = httpx2.ASGITransport(app=Seawall(app, environment="production", **options))
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


def ask(app: Any, path: str, method: str = "GET", **more: Any) -> httpx2.Response:
    """Makes one request."""

    async def main() -> httpx2.Response:
        async with client_of(app) as client:
            return await client.request(method, path, **more)

    return asyncio.run(main())


def failing(error: Exception, **options: Any) -> FastAPI:
    """Returns an application whose one route fails."""
    app = FastAPI(openapi_url=None, **options)

    @app.get("/")
    async def fail() -> None:
        raise error

    return app


class Line(BaseModel):
    """A line of an order."""

    price: float
    token: str = Field("", max_length=10)

    @field_validator("token")
    @classmethod
    def _not_red(cls, token: str) -> str:
        if "red" in token:
            raise ValueError(f"{token} is red")
        return token


class Order(BaseModel):
    """An order."""

    lines: list[Line]


def orders() -> FastAPI:
    """Returns an application that takes orders."""
    app = FastAPI(openapi_url=None)

    @app.post("/orders")
    async def order(order: Order, limit: int = 1) -> None: ...

    @app.post("/kinds")
    async def kinds(kind: dict[str, int] = Body()) -> None: ...  # noqa: B008 - as FastAPI has it

    return app
