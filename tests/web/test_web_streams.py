"""Streams pass unbuffered; what is half sent is cut, never mended; who goes away is no error (operate 2.2)."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from seawall import CallTimeoutError
from seawall.web import ResponseCutError, Seawall
from tests.web.by_hand import Wire, http_scope, request
from tests.web.services import DSN, SECRET, answer
from tests.web.serving import error_of, lines_of, served, wait_for


class Gate:
    """Lets the second part of a stream out when the test says so."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.produced: list[str] = []
        self.cancelled = threading.Event()


GATE = Gate()


async def parts() -> AsyncIterator[bytes]:
    """Two parts, the second when the gate is open."""
    GATE.produced.append("first")
    yield b"first"
    try:
        while not GATE.open.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        GATE.cancelled.set()
        raise
    GATE.produced.append("second")
    yield b"second"


async def breaking(error: Exception) -> AsyncIterator[bytes]:
    """A stream that fails after its first part."""
    yield b"one"
    await asyncio.sleep(0.01)
    raise error


async def waiting(request: Request) -> StreamingResponse:
    """Streams."""
    return StreamingResponse(parts(), status_code=int(request.query_params.get("status", 200)), media_type="text/csv")


async def half(request: Request) -> StreamingResponse:
    """Fails in the middle."""
    return StreamingResponse(breaking(RuntimeError(DSN)))


async def half_mapped(request: Request) -> StreamingResponse:
    """Fails in the middle with something that has a handler."""
    return StreamingResponse(breaking(CallTimeoutError("bank", 1.0)))


async def short(request: Request) -> StreamingResponse:
    """Promises more than it sends."""
    return StreamingResponse(breaking(RuntimeError(DSN)), headers={"Content-Length": "100"})


async def afterwards(request: Request) -> JSONResponse:
    """Fails when everything is sent."""

    async def fail() -> None:
        raise RuntimeError(DSN)

    return JSONResponse({"sent": True}, background=BackgroundTask(fail))


async def upload(request: Request) -> PlainTextResponse:
    """Reads a body."""
    GATE.produced.append("reading")
    return PlainTextResponse(str(len(await request.body())))


async def by_hand(scope: Any, receive: Any, send: Any) -> None:
    """Fails in the middle, without a framework."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        if scope["path"].endswith("/half"):
            raise RuntimeError(DSN)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """The streams, served."""
    routes = [Route("/" + handler.__name__, handler) for handler in (waiting, half, half_mapped, short, afterwards)]
    app = Starlette(routes=[*routes, Route("/upload", upload, methods=["POST"])])
    app.mount("/by_hand", by_hand)
    with served(Seawall(app, environment="production")) as client:
        yield client


@pytest.fixture(autouse=True)
def _new_gate() -> None:
    GATE.open.clear()
    GATE.cancelled.clear()
    del GATE.produced[:]


@pytest.mark.parametrize("status", [200, 409])
def test_the_first_part_arrives_before_the_second_is_made(client: httpx2.Client, status: int) -> None:
    """Nothing is collected on the way, of a success or of an error that is the application's own."""
    with client.stream("GET", "/waiting", params={"status": status}) as response:
        stream = response.iter_raw()
        assert b"first" == next(stream)
        assert ["first"] == GATE.produced
        GATE.open.set()
        assert b"second" == b"".join(stream)
    assert (status, 1) == (response.status_code, len(response.headers.get_list("x-correlation-id")))


@pytest.mark.parametrize("path", ["/half", "/half_mapped", "/short", "/by_hand/half"])
def test_a_response_that_fails_in_the_middle_is_cut(client: httpx2.Client, path: str, caplog: Any) -> None:
    """The client sees that it is not whole, nothing is appended; one traceback is logged, and no password."""
    got: list[bytes] = []
    with client.stream("GET", path) as response, pytest.raises(httpx2.RemoteProtocolError):
        got.extend(response.iter_raw())
    assert (200, b"one") == (response.status_code, b"".join(got))

    wait_for(lambda: lines_of(caplog, "uvicorn.error"))
    (line,) = lines_of(caplog)
    (cut,) = lines_of(caplog, "uvicorn.error")
    assert "in the middle of the response 200" in line
    assert "Traceback" in line
    assert response.headers["x-correlation-id"] in line
    assert "ResponseCutError: the response was cut" in cut
    assert "breaking" not in cut
    assert SECRET not in line + cut


def test_a_failure_after_the_response_is_logged_and_harms_nobody(client: httpx2.Client, caplog: Any) -> None:
    """A background task fails: the answer stands, the connection too."""
    for _ in range(2):
        assert {"sent": True} == client.get("/afterwards").json()
    wait_for(lambda: 2 == len(lines_of(caplog)))
    assert all("after the response 200 was sent: RuntimeError" in line for line in lines_of(caplog))
    assert [] == lines_of(caplog, "uvicorn.error")


def test_a_client_that_leaves_a_stream_is_no_error(client: httpx2.Client, caplog: Any) -> None:
    """The producer is cancelled, and nobody is told of an error."""
    with client.stream("GET", "/waiting") as response:
        assert b"first" == next(response.iter_raw())
    wait_for(GATE.cancelled.is_set)
    assert [] == lines_of(caplog)
    assert [] == lines_of(caplog, "uvicorn.error")


def test_a_client_that_leaves_while_it_sends_is_no_error(client: httpx2.Client, caplog: Any) -> None:
    """An upload that ends early is noted as what it is."""
    with caplog.at_level(logging.INFO):
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as sock:
            sock.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart")
            wait_for(lambda: "reading" in GATE.produced)
        wait_for(lambda: any("the client went away" in line for line in lines_of(caplog, least=logging.INFO)))
    assert [] == lines_of(caplog)
    assert [] == lines_of(caplog, "uvicorn.error")


def test_a_send_that_finds_nobody_is_no_error(caplog: Any) -> None:
    """Servers that raise when the client is gone: the application's failure to send is not its fault."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"never arrives")

    async def main() -> Wire:
        wire = Wire()
        wire.broken = True
        await Seawall(app)(http_scope(), wire.receive, wire.send)
        return wire

    assert [] == asyncio.run(main()).said
    assert [] == lines_of(caplog)


def test_a_bug_is_one_even_when_the_client_is_gone(caplog: Any) -> None:
    """What is raised after a disconnect, and is not about it, is logged."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "http.disconnect" == (await receive())["type"]
        raise KeyError("a bug")

    async def main() -> list[str]:
        wire = Wire({"type": "http.disconnect"})
        await Seawall(app)(http_scope(), wire.receive, wire.send)
        return wire.types

    assert [] == asyncio.run(main())
    (line,) = lines_of(caplog)
    assert "KeyError: 'a bug'" in line


def test_cancellation_passes_untouched(caplog: Any) -> None:
    """At any await of the application: nothing is answered, logged or counted as in flight any more."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(3600)

    async def main() -> tuple[bool, int, list[str]]:
        wrapped, wire = Seawall(app), Wire()
        task = asyncio.create_task(wrapped(http_scope(), wire.receive, wire.send))
        while not wire.said:  # noqa: ASYNC110 - a few turns of this loop, no time
            await asyncio.sleep(0)
        assert 1 == wrapped.in_flight
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), wrapped.in_flight, wire.types

    assert (True, 0, ["http.response.start"]) == asyncio.run(main())
    assert [] == lines_of(caplog)


def test_the_start_of_an_error_is_held_back_no_further_than_its_first_part() -> None:
    """An application by hand: the replacement goes out at the first part, the others go nowhere."""
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"Retry-After", b"7")]})
        said.append(list(wire.said))
        await send({"type": "http.response.body", "body": b"no", "more_body": True})
        said.append(list(wire.said))
        await send({"type": "http.response.body", "body": b" more"})

    wire = Wire()
    asyncio.run(Seawall(app)(http_scope(), wire.receive, wire.send))
    assert [0, 2, 2] == [*map(len, said), len(wire.said)]
    assert (503, [b"7"]) == (wire.said[0]["status"], wire.header(b"retry-after"))
    assert b"SERVICE_UNAVAILABLE" in wire.said[1]["body"]


def test_an_error_whose_body_never_comes_is_answered() -> None:
    """Whether the application then fails or simply returns."""

    async def forgets(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        raise TimeoutError

    assert [404, 408] == [request(Seawall(app)).said[0]["status"] for app in (forgets, fails)]


def test_an_application_that_says_nothing_is_answered_for(caplog: Any) -> None:
    """A return without a response is a bug, and its caller gets an answer with an id."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        pass

    with served(Seawall(silent, environment="production")) as client:
        error_of(client.get("/"), 500, "INTERNAL_ERROR")
    (line,) = lines_of(caplog)
    assert "returned without a response" in line


def test_the_server_is_told_to_cut_by_an_error_of_its_own() -> None:
    """ResponseCutError shows nothing of what happened, nor what it was caused by."""

    async def main() -> None:
        wire = Wire()
        await Seawall(by_hand)(http_scope("/half"), wire.receive, wire.send)

    with pytest.raises(ResponseCutError) as cut:
        asyncio.run(main())
    assert (None, True) == (cut.value.__cause__, cut.value.__suppress_context__)
