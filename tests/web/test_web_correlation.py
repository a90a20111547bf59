"""One id for a request, everywhere it goes (E2, operate 12 and 13)."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response, StreamingResponse

from seawall import Pipeline, correlation_id
from seawall.integrations.httpx import protect
from seawall.web import Seawall
from tests.web.by_hand import http_scope, request
from tests.web.serving import ID, lines_of, served

HEADER = "X-Correlation-Id"


async def passing(request: Request, call_next: Any) -> Any:
    """A middleware of the old kind, which runs the application in a task of its own."""
    response = await call_next(request)
    response.headers[HEADER] = "a middleware's"
    return response


def service() -> FastAPI:
    """An application that says under which id its parts were run."""
    app = FastAPI(openapi_url=None, middleware=[Middleware(BaseHTTPMiddleware, dispatch=passing)])
    log = logging.getLogger("service")

    @app.get("/task")
    async def task() -> dict[str, Any]:
        log.info("handler %s", correlation_id())
        own = correlation_id()
        await asyncio.sleep(0.01)
        task = asyncio.create_task(asyncio.sleep(0, correlation_id()))
        return {"ids": [own, correlation_id(), await asyncio.to_thread(correlation_id), await task]}

    @app.get("/thread")
    def thread() -> dict[str, Any]:
        return {"ids": [correlation_id()], "thread": threading.current_thread().name}

    @app.get("/outgoing")
    async def outgoing(url: str) -> dict[str, Any]:
        async with httpx2.AsyncClient() as client:
            protect(client, Pipeline(f"outgoing {correlation_id()}"))
            answer = await client.get(url)
        return {"ids": [answer.json()["header"]]}

    @app.get("/header")
    async def header(request: Request) -> dict[str, Any]:
        return {"header": request.headers.get(HEADER)}

    @app.get("/unchanged")
    async def unchanged() -> Response:
        return Response(status_code=304, headers={"ETag": '"x"'})

    @app.get("/nothing")
    async def nothing() -> Response:
        return Response(status_code=204)

    @app.get("/stream")
    async def stream() -> Response:
        return StreamingResponse(iter([b"a", b"b"]))

    @app.get("/twice")
    async def twice() -> Response:
        response = Response("ok")
        response.raw_headers += [(b"X-Correlation-ID", b"mine"), (b"x-correlation-id", b"mine again")]
        return response

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError

    return app


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """The service, served."""
    with served(Seawall(service(), environment="production")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/task", 200),
        ("/nothing", 204),
        ("/unchanged", 304),
        ("/nowhere", 404),
        ("/boom", 500),
        ("/stream", 200),
        ("/twice", 200),
    ],
)
def test_exactly_one_id_goes_out(client: httpx2.Client, path: str, status: int) -> None:
    """Whatever the status, and whatever the application has said of it: replaced, never appended."""
    response = client.get(path, headers={HEADER: "demo-1"})
    assert (status, ["demo-1"]) == (response.status_code, response.headers.get_list(HEADER))
    made = client.get(path).headers.get_list(HEADER)
    assert 1 == len(made)
    assert ID.fullmatch(made[0])


@pytest.mark.parametrize("path", ["/nothing", "/unchanged"])
def test_a_response_without_a_body_stays_without(client: httpx2.Client, path: str) -> None:
    """Also where the connection is used again."""
    assert b"" == client.get(path).content
    assert 200 == client.get("/task").status_code


def test_the_longest_id_is_echoed_byte_by_byte(client: httpx2.Client) -> None:
    """128 characters of every kind that is allowed."""
    longest = ("aZ09._-" * 19)[:128]
    assert [longest] == client.get("/task", headers={HEADER: longest}).headers.get_list(HEADER)


@pytest.mark.parametrize(
    "hostile",
    ["x" * 8000, "x" * 129, "level=error", "two words", "a:b", "a\tb", "<script>", "%0a", "'", '"', "", "a,b", "é"],
)
def test_an_id_that_could_forge_something_is_refused(client: httpx2.Client, hostile: str, caplog: Any) -> None:
    """A new one is made; that one was refused is logged, its value nowhere."""
    caplog.set_level(logging.INFO)
    response = client.get("/task", headers={HEADER: hostile.encode("latin-1")})
    (made,) = response.headers.get_list(HEADER)
    assert ID.fullmatch(made)
    assert [made] * 4 == response.json()["ids"]
    assert 1 == sum("refused the correlation id" in line for line in lines_of(caplog, least=logging.INFO))
    if len(hostile) > 1:
        assert not [line for line in lines_of(caplog, "seawall", logging.DEBUG) if hostile in line]


@pytest.mark.parametrize("hostile", [b"a\nb", b"a\r\nSet-Cookie: x=y", b"a\x00b", b"\xff\xfe", b"ok\n"])
def test_what_no_server_should_let_through_is_refused_too(hostile: bytes) -> None:
    """A line break at the end is one as well: such an id would split a header or a log line."""
    wire = request(Seawall(service()), http_scope("/task", "GET", (b"x-correlation-id", hostile)))
    (made,) = wire.header(b"x-correlation-id")
    assert ID.fullmatch(made.decode())


def test_several_ids_are_none(client: httpx2.Client) -> None:
    """Which one was meant cannot be known; the same one twice can."""
    twice = client.get("/task", headers=[(HEADER, "one"), (HEADER, "two")])
    same = client.get("/task", headers=[(HEADER, "one"), (HEADER, "one")])
    assert ID.fullmatch(twice.headers[HEADER])
    assert "one" == same.headers[HEADER]


def test_it_is_seen_in_handlers_tasks_threads_and_outgoing_requests(client: httpx2.Client, caplog: Any) -> None:
    """One id from the first line to the service behind."""
    caplog.set_level(logging.INFO)
    headers = {HEADER: "order-17"}
    assert ["order-17"] * 4 == client.get("/task", headers=headers).json()["ids"]
    assert ["order-17"] == client.get("/thread", headers=headers).json()["ids"]
    url = str(client.base_url.join("/header"))
    assert ["order-17"] == client.get("/outgoing", params={"url": url}, headers=headers).json()["ids"]
    assert "order-17" == client.get("/boom", headers=headers).json()["error"]["correlationId"]
    assert ["handler order-17"] == [record.message for record in caplog.records if record.name == "service"]
    (failure,) = lines_of(caplog)
    assert "[order-17]" in failure


def test_a_hundred_at_once_never_mix(client: httpx2.Client) -> None:
    """Each request sees its own id before and after it waits, in its task and on its threads."""

    async def main() -> list[tuple[str, list[str], list[str]]]:
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(base_url=client.base_url, limits=limits, timeout=30) as many:

            async def one(number: int) -> tuple[str, list[str], list[str]]:
                path = "/thread" if number % 5 == 0 else "/task"
                answer = await many.get(path, headers={HEADER: f"request-{number}"})
                return f"request-{number}", answer.headers.get_list(HEADER), answer.json()["ids"]

            return await asyncio.gather(*(one(number) for number in range(100)))

    for own, echoed, seen in asyncio.run(main()):
        assert [own] == echoed
        assert {own} == set(seen)


def test_nothing_is_left_behind() -> None:
    """A caller in the same task as the application has no id afterwards."""

    async def main() -> str | None:
        transport = httpx2.ASGITransport(app=Seawall(service()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get("/task")
        return correlation_id()

    assert asyncio.run(main()) is None


def test_a_pipelined_pair_on_one_connection_keeps_its_ids(client: httpx2.Client) -> None:
    """Two requests in one packet are two requests."""
    ask = b"GET /task HTTP/1.1\r\nHost: x\r\nX-Correlation-Id: %s\r\n\r\n"
    last = b"GET /task HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Correlation-Id: %s\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as sock:
        sock.sendall(ask % b"one" + last % b"two")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert [1, 1] == [answer.count(b"x-correlation-id: one"), answer.count(b"x-correlation-id: two")]
