"""The time that a client waits bounds what is done for it (T1)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from seawall import Pipeline, Timeout, remaining
from seawall.testing import FakeClock
from seawall.web import Seawall
from tests.web.by_hand import Wire, http_scope, websocket_scope
from tests.web.serving import error_of, served

PIPELINE = Pipeline("web deadlines", Timeout(600.0))


def service() -> FastAPI:
    """Says how much time it has, or takes more."""
    app = FastAPI(openapi_url=None)

    @app.get("/left")
    async def left() -> float | None:
        return remaining()

    @app.get("/left_on_a_thread")
    def left_on_a_thread() -> float | None:
        return remaining()

    @app.get("/hang")
    async def hang() -> None:
        await PIPELINE.acall(asyncio.sleep, 3600)

    return app


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    """The service, whose own longest is 100 s."""
    with served(Seawall(service(), deadline=100, environment="production")) as client:
        yield client


@pytest.mark.parametrize("path", ["/left", "/left_on_a_thread"])
@pytest.mark.parametrize(("wish", "most"), [("7.5", 7.5), ("60", 60), ("3.", 3), (".5", 0.5), ("1000", 100), ("0", 0)])
def test_the_clients_time_is_the_handlers(client: httpx2.Client, path: str, wish: str, most: float) -> None:
    """A decimal number of seconds, at most the service's own longest."""
    left = client.get(path, headers={"X-Request-Timeout": wish}).json()
    assert most * 0.5 <= left <= most


@pytest.mark.parametrize("wish", ["soon", "-1", "inf", "nan", "1e3", "0x10", "1_0", "", "1,5", "9" * 400, "+1", "٣"])
def test_a_time_that_is_none_is_ignored(client: httpx2.Client, wish: str) -> None:
    """The request is served, under the service's own longest."""
    left = client.get("/left", headers={"X-Request-Timeout": wish.encode()}).json()
    assert 50 < left <= 100


def test_two_times_are_none(client: httpx2.Client) -> None:
    """Which was meant cannot be known."""
    left = client.get("/left", headers=[("X-Request-Timeout", "1"), ("X-Request-Timeout", "2")]).json()
    assert 50 < left <= 100


def test_the_answer_comes_though_the_handler_hangs(client: httpx2.Client) -> None:
    """A protected call is cut at the deadline, and the caller told so: 408."""
    error_of(client.get("/hang", headers={"X-Request-Timeout": "0.05"}), 408, "TIMEOUT")


def test_no_call_starts_without_time(client: httpx2.Client) -> None:
    """`0` is what a client sends whose own time is up."""
    error_of(client.get("/hang", headers={"X-Request-Timeout": "0.000"}), 408, "TIMEOUT")


def ask(app: Any, scope: dict[str, Any]) -> Wire:
    """Makes one request on a fake clock."""

    async def main() -> Wire:
        wire = Wire({"type": "http.request", "body": b"", "more_body": False})
        await app(scope, wire.receive, wire.send)
        return wire

    return asyncio.run(main())


def test_the_services_longest_holds_without_a_wish() -> None:
    """To the second, on a clock of one's own; the deadline ends with the request."""
    with FakeClock() as clock:
        wire = ask(Seawall(service(), deadline=30, clock=clock), http_scope("/hang"))
        assert (408, 30.0) == (wire.said[0]["status"], clock.now())
        assert remaining() is None


def test_without_both_there_is_no_deadline() -> None:
    """Nothing bounds the handler."""
    assert b"null" == ask(Seawall(service()), http_scope("/left")).said[1]["body"]


def test_a_stream_is_bounded_too() -> None:
    """What is called for its later parts as well as for its first."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(remaining()).encode(), "more_body": True})
        await asyncio.sleep(2)
        await send({"type": "http.response.body", "body": str(remaining()).encode()})

    with FakeClock() as clock:
        scope = http_scope("/", "GET", (b"x-request-timeout", b"5"))

        async def main() -> Wire:
            clock.drive(asyncio.get_running_loop())
            wire = Wire()
            await Seawall(app, clock=clock)(scope, wire.receive, wire.send)
            return wire

        assert [b"5.0", b"3.0"] == [message["body"] for message in asyncio.run(main()).said[1:]]


def test_a_websocket_is_not() -> None:
    """It lives as long as it likes."""
    seen: list[float | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(remaining())
        await send({"type": "websocket.close", "code": 1000})

    ask(Seawall(app, deadline=5), websocket_scope("/", (b"x-request-timeout", b"1")))
    assert [None] == seen
