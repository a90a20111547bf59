"""FastAPI and Starlette: whose answer counts, and what reaches the middlewares."""

import asyncio
import logging
import subprocess
import sys
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from seawall import CircuitOpenError
from seawall.web import Seawall
from tests.web.in_process import ask, client_of, failing, orders
from tests.web.services import DSN, SECRET, answer
from tests.web.serving import error_of, everything, lines_of

TOKEN = "tok-" + "a1B2" * 40


def test_a_request_that_is_not_valid_is_400_and_says_which_field() -> None:
    """Path of the field and message of the mistake, of body and query; 422 is never said."""
    response = ask(orders(), "/orders?limit=x", "POST", json={"lines": [{"price": "dear"}, {"token": "ok"}]})
    assert [
        {"field": "query.limit", "message": "Input should be a valid integer, unable to parse string as an integer"},
        {
            "field": "body.lines.0.price",
            "message": "Input should be a valid number, unable to parse string as a number",
        },
        {"field": "body.lines.1.price", "message": "Field required"},
    ] == error_of(response, 400, "VALIDATION_ERROR")["details"]


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"lines": [{"price": TOKEN}]}},
        {"json": {"lines": [{"price": 1, "token": TOKEN}]}},
        {"json": {"lines": [{"price": 1, "token": "red Secret"}]}},
        {"json": {"lines": TOKEN}},
        {"json": TOKEN},
        {"content": TOKEN, "headers": {"Content-Type": "application/json"}},
        {"content": TOKEN},
        {"json": {}, "params": {"limit": TOKEN}},
    ],
)
def test_what_was_submitted_is_not_said_back(body: dict[str, Any]) -> None:
    """Neither as the input, nor in pydantic's context, nor in a message that the author's validator made of it."""
    response = ask(orders(), "/orders", "POST", **body)
    error_of(response, 400, "VALIDATION_ERROR")
    assert TOKEN[:12] not in everything(response)
    assert "red Secret" not in everything(response)
    assert "pydantic.dev" not in everything(response)


def test_a_thousand_mistakes_make_a_short_answer() -> None:
    """At most 100 are shown, each of bounded length."""
    response = ask(orders(), "/kinds", "POST", json={f"{number}-{'k' * 5000}": "x" for number in range(1000)})
    error = error_of(response, 400, "VALIDATION_ERROR")
    assert 101 == len(error["details"])
    assert len(response.content) < 50_000


@pytest.mark.parametrize(
    ("status", "detail", "code", "message"),
    [
        (400, "No such month.", "BAD_REQUEST", "No such month."),
        (401, None, "UNAUTHORIZED", "Unauthorized"),
        (404, {"dsn": DSN}, "NOT_FOUND", "What you asked for does not exist."),
        (418, "short", "IM_A_TEAPOT", "short"),
        (422, "The state does not allow it.", "UNPROCESSABLE_CONTENT", "The state does not allow it."),
        (499, ["a"], "REQUEST_ERROR", "The request cannot be served."),
        (503, "Closed on Sundays.", "SERVICE_UNAVAILABLE", "Closed on Sundays."),
        (507, 7, "SERVER_ERROR", "The request could not be served."),
    ],
)
def test_an_http_exception_keeps_its_text(status: int, detail: Any, code: str, message: str) -> None:
    """What its author wrote is shown, in production too; what is no text is not."""
    response = ask(failing(HTTPException(status, detail, headers={"X-Own": "yes", "Content-Length": "9999"})), "/")
    assert message == error_of(response, status, code)["message"]
    assert "yes" == response.headers["x-own"]
    assert SECRET not in everything(response)


@pytest.mark.parametrize("status", [302, 304, 204])
def test_an_http_exception_that_is_no_error_is_none(status: int, caplog: Any) -> None:
    """A redirect that is raised has no body, and is not logged."""
    with caplog.at_level(logging.INFO):
        response = ask(failing(HTTPException(status, headers={"Location": "/there"})), "/")
    assert (status, b"", "/there") == (response.status_code, response.content, response.headers["location"])
    assert [] == lines_of(caplog, least=logging.INFO)


@pytest.mark.parametrize("status", [0, 7, 1000, "x", None])
def test_an_http_exception_of_an_impossible_status_is_500(status: Any) -> None:
    """It is a bug like others."""
    error_of(ask(failing(HTTPException(status, "x")), "/"), 500, "INTERNAL_ERROR")  # type: ignore[arg-type]


def test_errors_that_an_endpoint_returns_are_its_own() -> None:
    """Of any content type; a fallback may answer 503 with a body of its own."""
    bodies: dict[str, Response] = {
        "/json": JSONResponse({"events": [], "isFallback": True}, status_code=503),
        "/plain": PlainTextResponse("own", status_code=404),
        "/html": HTMLResponse("<p>own", status_code=500),
        "/empty": Response(status_code=403),
    }

    async def endpoint(request: Request) -> Response:
        return bodies[request.url.path]

    app = Starlette(routes=[Route(path, endpoint) for path in bodies])
    for path, body in bodies.items():
        response = ask(app, path)
        assert (body.status_code, body.body) == (response.status_code, response.content)


def test_refusals_of_middlewares_before_the_router_have_the_format() -> None:
    """They are in plain text, and no exception tells of them."""
    app = Starlette(
        routes=[],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=["test"]),
            Middleware(CORSMiddleware, allow_origins=["https://shop"]),
        ],
    )
    error_of(ask(app, "/", headers={"Host": "elsewhere"}), 400, "BAD_REQUEST")
    preflight = {"Origin": "https://elsewhere", "Access-Control-Request-Method": "PUT"}
    refused = ask(app, "/", "OPTIONS", headers=preflight)
    error_of(refused, 400, "BAD_REQUEST")
    assert "access-control-allow-methods" in refused.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_has_the_format(chunked: bool) -> None:
    """413, whether the length was said before or found out."""
    app = orders()
    app.max_body_size = 50

    async def parts() -> Any:
        for _ in range(100):
            yield b"x" * 100

    content = parts() if chunked else b"x" * 10_000
    headers = {"Content-Type": "application/json"}
    error_of(ask(app, "/orders", "POST", content=content, headers=headers), 413, "CONTENT_TOO_LARGE")


def test_middlewares_see_our_answers_as_ordinary_responses() -> None:
    """So CORS headers are on rejections too, and a browser may read them."""
    cors = [Middleware(CORSMiddleware, allow_origins=["*"])]
    response = ask(failing(CircuitOpenError("bank", 3.0), middleware=cors), "/", headers={"Origin": "https://shop"})
    error_of(response, 503, "CIRCUIT_OPEN")
    assert "*" == response.headers["access-control-allow-origin"]


def test_mounted_applications_are_answered_for_too() -> None:
    """FastAPI in Starlette in FastAPI: 404, validation and 500 have the format, and are logged once."""
    inner = failing(RuntimeError(DSN))

    @inner.get("/items/{number}")
    async def item(number: int) -> None: ...

    middle = Starlette(routes=[Mount("/inner", inner)])
    app = FastAPI(openapi_url=None)
    app.mount("/middle", middle)
    error_of(ask(app, "/middle/inner/nowhere"), 404, "NOT_FOUND")
    error_of(ask(app, "/middle/nowhere"), 404, "NOT_FOUND")
    error_of(ask(app, "/middle/inner/items/x"), 400, "VALIDATION_ERROR")


def test_a_mounted_applications_failure_is_logged_once(caplog: Any) -> None:
    """Both frameworks raise it again after it was answered."""
    app = FastAPI(openapi_url=None)
    app.mount("/inner", failing(RuntimeError(DSN)))
    error_of(ask(app, "/inner/"), 500, "INTERNAL_ERROR")
    (line,) = lines_of(caplog)
    assert SECRET not in line


@pytest.mark.parametrize("make", [FastAPI, Starlette])
def test_debug_pages_are_never_shown(make: Any) -> None:
    """Neither as text nor as HTML: what they show is for nobody outside."""
    app = make(debug=True)

    async def fail(request: Request) -> None:
        raise RuntimeError(DSN)

    app.router.routes.append(Route("/", fail))
    for accept in ("text/html", "*/*"):
        response = ask(app, "/", headers={"Accept": accept})
        error_of(response, 500, "INTERNAL_ERROR")
        assert "Traceback" not in everything(response)


def test_own_errors_says_what_stays() -> None:
    """The user's word counts for every application: here problem details by hand, and nothing else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kind = b"application/problem+json; charset=utf-8" if scope["path"] == "/own" else b"text/html"
        await answer(send, 402, b"own", (b"content-type", kind))

    seen: list[tuple[int, str]] = []

    def own(status: int, kind: str) -> bool:
        seen.append((status, kind))
        return kind == "application/problem+json"

    async def main() -> tuple[httpx2.Response, httpx2.Response]:
        async with client_of(app, own_errors=own) as client:
            return await client.get("/own"), await client.get("/other")

    kept, replaced = asyncio.run(main())
    assert (402, b"own") == (kept.status_code, kept.content)
    error_of(replaced, 402, "REQUEST_ERROR")
    assert [(402, "application/problem+json"), (402, "text/html")] == seen


def test_an_application_that_has_served_is_refused() -> None:
    """It would not look at the handlers again."""
    app = failing(RuntimeError())

    async def main() -> None:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            assert 500 == (await client.get("/")).status_code

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="has served requests already; wrap it before its first one"):
        Seawall(app)


def test_an_application_may_be_served_without_its_wrapper() -> None:
    """As tests do: errors keep the format, with an id made for them."""
    app = failing(CircuitOpenError("bank", 3.0))
    Seawall(app)

    async def main() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
            return await client.get("/")

    error_of(asyncio.run(main()), 503, "CIRCUIT_OPEN")


def test_two_wrappers_around_one_application_each_answer_in_their_own_way() -> None:
    """The handlers speak for the wrapper that the request came through."""
    app = failing(RuntimeError(DSN))
    wrappers = [Seawall(app, environment="production"), Seawall(app, environment="test")]

    async def main(wrapped: Seawall) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=wrapped)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    errors = [error_of(asyncio.run(main(wrapped)), 500, "INTERNAL_ERROR") for wrapped in wrappers]
    assert [False, True] == ["exception" in error for error in errors]


def test_the_web_layer_imports_no_framework() -> None:
    """A raw ASGI application needs none, and gets none."""
    script = (
        "import sys, seawall.web\n"
        "async def app(scope, receive, send): ...\n"
        "seawall.web.Seawall(app)\n"
        "print(sorted({'fastapi', 'starlette', 'httpx', 'httpx2', 'pydantic'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]\n" == ran.stdout
