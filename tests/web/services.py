"""One service in three kinds, FastAPI, Starlette and an ASGI application by hand, which fails on demand."""

from collections.abc import Callable
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from seawall import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    RateLimitedError,
    RejectedError,
    SeawallError,
    correlation_id,
)
from seawall.integrations.httpx.rejections import as_clients_own
from seawall.web import (
    ConflictError,
    ExternalServiceError,
    ForbiddenError,
    NotFoundError,
    ServiceError,
    UnauthorizedError,
    ValidationError,
)

SECRET = "hunter2secret"
DSN = f"postgres://app:{SECRET}@db.internal/orders"


class MappedError(Exception):
    """Mapped to 409 MY_CODE by the tests that map something."""


class MappedFurtherError(MappedError):
    """Falls under the mapping of its base class."""


class UnreadableError(Exception):
    """Cannot even be turned into text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class SoldOutError(ConflictError):
    """An error of the user's own."""

    code = "SOLD_OUT"
    message = "No tickets are left."


REQUEST = httpx2.Request("GET", f"https://app:{SECRET}@bank.internal/")

FAILURES: dict[str, Callable[[], BaseException]] = {
    "validation": lambda: ValidationError(details=[("email", "is no address"), ("items.0", "is missing")]),
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "not_found": lambda: NotFoundError("Invoice 7 does not exist.", code="INVOICE_NOT_FOUND"),
    "conflict": ConflictError,
    "sold_out": SoldOutError,
    "external": lambda: ExternalServiceError(retry_after=20),
    "service": ServiceError,
    "timeout": lambda: TimeoutError(DSN),
    "call_timeout": lambda: CallTimeoutError("bank", 2.0),
    "deadline": lambda: DeadlineExceededError("bank"),
    "circuit_open": lambda: CircuitOpenError("bank", 10.0),
    "circuit_isolated": lambda: CircuitIsolatedError("bank"),
    "bulkhead": lambda: BulkheadFullError("bookings"),
    "rate_limit": lambda: RateLimitedError("logins", 3.2),
    "rejected": lambda: RejectedError("other"),
    "transport": lambda: httpx2.ConnectError(DSN, request=REQUEST),
    "read_timeout": lambda: httpx2.ReadTimeout(DSN, request=REQUEST),
    "connection": lambda: ConnectionRefusedError(DSN),
    "client_rejection": lambda: as_clients_own(CircuitOpenError("bank", 5.0), REQUEST),
    "upstream_502": lambda: httpx2.HTTPStatusError(DSN, request=REQUEST, response=httpx2.Response(502)),
    "upstream_404": lambda: httpx2.HTTPStatusError(DSN, request=REQUEST, response=httpx2.Response(404)),
    "value": lambda: ValueError(DSN),
    "key": lambda: KeyError(DSN),
    "unhandled": lambda: RuntimeError(DSN),
    "seawall": lambda: SeawallError(DSN),
    "unreadable": UnreadableError,
    "group": lambda: ExceptionGroup("both", [NotFoundError(), ExceptionGroup("in", [CircuitOpenError("bank", 4.0)])]),
    "group_with_a_bug": lambda: ExceptionGroup("both", [CircuitOpenError("bank", 4.0), RuntimeError(DSN)]),
    "mapped": lambda: MappedError(DSN),
    "mapped_further": lambda: MappedFurtherError(DSN),
}


def fastapi_service() -> FastAPI:
    """Returns the service in FastAPI."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def home() -> dict[str, Any]:
        return {"id": correlation_id()}

    @app.get("/raise/{what}")
    async def fail(what: str) -> None:
        raise FAILURES[what]()

    @app.get("/raise_in_a_thread/{what}")
    def fail_in_a_thread(what: str) -> None:
        raise FAILURES[what]()

    return app


def starlette_service() -> Starlette:
    """Returns the service in Starlette."""

    async def home(request: Request) -> JSONResponse:
        return JSONResponse({"id": correlation_id()})

    async def fail(request: Request) -> PlainTextResponse:
        raise FAILURES[request.path_params["what"]]()

    return Starlette(routes=[Route("/", home), Route("/raise/{what}", fail)])


async def raw_service(scope: Any, receive: Any, send: Any) -> None:
    """Serves the same without any framework. Its errors are its own, and its lifespan is not supported."""
    assert "http" == scope["type"], "only HTTP here"
    path = scope["path"]
    if path.startswith("/raise/"):
        raise FAILURES[path.removeprefix("/raise/")]()
    if path != "/":
        await answer(send, 404, b"<h1>nothing here</h1>", (b"content-type", b"text/html"), (b"etag", b'"x"'))
    elif scope["method"] != "GET":
        await answer(send, 405, b"no", (b"allow", b"GET"), (b"set-cookie", b"a=b"))
    else:
        await answer(send, 200, f'{{"id": "{correlation_id()}"}}'.encode(), (b"content-type", b"application/json"))


async def answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Sends a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


SERVICES: dict[str, Callable[[], Any]] = {
    "fastapi": fastapi_service,
    "starlette": starlette_service,
    "raw": lambda: raw_service,
}
