"""`error_body`: the format of errors where there is no response any more to answer with."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from seawall import CircuitOpenError
from seawall.web import ConflictError, ErrorAnswered, Seawall, error_body
from tests.web.by_hand import Wire, http_scope, request, websocket_scope
from tests.web.services import DSN, SECRET, MappedError

FAILURE: list[BaseException] = [ConflictError()]


async def events(request: Any) -> StreamingResponse:
    """Streams one event and the error that ends it."""

    async def parts() -> AsyncIterator[str]:
        yield "event: delta\ndata: 1\n\n"
        try:
            raise FAILURE[0]
        except Exception as error:
            yield f"event: error\ndata: {json.dumps(error_body(request.scope, error))}\n\n"
            if "again" in request.query_params:
                raise

    return StreamingResponse(parts(), media_type="text/event-stream")


def fastapi() -> FastAPI:
    """Returns the service in FastAPI."""
    app = FastAPI(openapi_url=None)

    @app.get("/events")
    async def get_events(request: Request) -> StreamingResponse:
        return await events(request)

    return app


def starlette() -> Starlette:
    """Returns it in Starlette, mounted in another application."""
    return Starlette(routes=[Mount("/", Starlette(routes=[Route("/events", events)]))])


def told(app: Any, error: BaseException, path: str = "/events", **headers: str) -> dict[str, Any]:
    """Makes a request whose stream ends with an error; returns what its last event says."""
    FAILURE[0] = error

    async def main() -> str:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.get(path, headers={"X-Correlation-Id": "c-1", **headers})
            assert 200 == response.status_code
            return response.text

    last = asyncio.run(main()).rpartition("event: error\ndata: ")[2]
    said = json.loads(last)
    assert isinstance(said, dict)
    return said


@pytest.mark.parametrize("make", [fastapi, starlette])
def test_a_stream_ends_in_the_format_of_all_errors(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    """With the request's id, by the application's map, without a word of the exception in production; logged once."""
    caplog.set_level(logging.INFO)
    heard: list[ErrorAnswered] = []
    app = Seawall(make(), environment="production", status_map={MappedError: (409, "MY_CODE", "Not now.")})
    app.listen(heard.append)
    for error, code, message in (
        (MappedError(DSN), "MY_CODE", "Not now."),
        (CircuitOpenError("bank", 4.0), "CIRCUIT_OPEN", "The service is not available now. Try again later."),
        (RuntimeError(DSN), "INTERNAL_ERROR", "Something went wrong here. Quote the correlation id to ask about it."),
    ):
        said = told(app, error)["error"]
        assert (code, message, "c-1", []) == (said["code"], said["message"], said["correlationId"], said["details"])
        assert {"code", "message", "timestamp", "correlationId", "details"} == set(said)
        assert (code, error) == (heard[-1].code, heard[-1].error)
    assert 3 == len(heard) == caplog.text.count("in the middle of the response 200")
    assert SECRET not in caplog.text


def test_as_problem_details_for_who_asks_for_them() -> None:
    """By the Accept header of the request."""
    said = told(Seawall(fastapi()), ConflictError(), Accept="text/event-stream, application/problem+json")
    assert ("urn:seawall:error:CONFLICT", 409, "c-1") == (said["type"], said["status"], said["correlationId"])


def test_in_development_it_shows_the_exception() -> None:
    """As every answer does there."""
    said = told(Seawall(fastapi(), environment="development"), RuntimeError("why"))["error"]
    assert ("builtins.RuntimeError", "why") == (said["exception"]["class"], said["exception"]["text"])


def test_an_error_that_is_raised_afterwards_is_logged_once() -> None:
    """And cuts the response as ever."""
    heard: list[ErrorAnswered] = []
    app = Seawall(fastapi())
    app.listen(heard.append)
    told(app, RuntimeError("x"), "/events?again=1")
    assert [500] == [each.status for each in heard]


def test_on_a_websocket() -> None:
    """A message tells what went wrong, and the connection goes on."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(error_body(scope, ConflictError("taken")))})
        await send({"type": "websocket.close", "code": 1000})

    async def main() -> Wire:
        wire = Wire({"type": "websocket.connect"})
        await Seawall(app)(websocket_scope(), wire.receive, wire.send)
        return wire

    wire = asyncio.run(main())
    assert ["websocket.accept", "websocket.send", "websocket.close"] == wire.types
    assert "taken" == json.loads(wire.said[1]["text"])["error"]["message"]


def test_where_nobody_has_wrapped_or_the_request_is_over() -> None:
    """A LookupError says what is missing."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    request(Seawall(app))
    for scope in (http_scope(), seen[0]):
        with pytest.raises(LookupError, match="did not come through Seawall"):
            error_body(scope, ConflictError())
