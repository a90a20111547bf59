"""Drain: no longer ready at once, while requests go on and are counted to the last (operate 2.1, M6)."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from seawall.testing import FakeClock
from seawall.web import Seawall
from tests.web.by_hand import Wire, http_scope, websocket_scope
from tests.web.services import answer
from tests.web.serving import Served, wait_for


class Held:
    """An application whose requests wait for the test."""

    def __init__(self) -> None:
        self.go = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves a request once it may."""
        if scope["type"] == "lifespan":
            raise NotImplementedError
        while scope["path"] == "/held" and not self.go.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.005)
        await answer(send, 200, b"done", (b"Connection", b"keep-alive"))


class Healthy:
    """Everything is well."""

    def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, dict[str, Any]]:
        """Says so."""
        return 200, {"status": "healthy", "checks": [], "totalDuration": 0.1}

    async def arefresh(self, view: str) -> None:
        """Has nothing to look at."""


class Running:
    """A server with its wrapper and its application."""

    def __init__(self) -> None:
        self.held = Held()
        self.app = Seawall(self.held, health=Healthy())
        self.server = Served(self.app).start()
        self.client = httpx2.Client(base_url=self.server.url, timeout=10)

    def get_in_a_thread(self, answers: list[int]) -> threading.Thread:
        """Makes a request that is held."""
        thread = threading.Thread(target=lambda: answers.append(httpx2.get(self.server.url + "/held").status_code))
        thread.start()
        return thread


@pytest.fixture
def running() -> Iterator[Running]:
    """A server of its own, since draining is for good."""
    running = Running()
    yield running
    running.held.go.set()
    running.client.close()
    running.server.stop()


def test_ready_says_no_at_once_while_requests_go_on(running: Running) -> None:
    """New ones are served too, and asked to come back on another connection."""
    answers: list[int] = []
    threads = [running.get_in_a_thread(answers) for _ in range(3)]
    wait_for(lambda: running.app.in_flight == 3)
    assert 200 == running.client.get("/health/ready").status_code
    assert "keep-alive" == running.client.get("/").headers["connection"]

    running.app.drain()
    refused = running.client.get("/health/ready")
    assert (503, "unhealthy", True) == (refused.status_code, refused.json()["status"], refused.json()["draining"])
    assert [200] * 3 == [running.client.get(f"/health{view}").status_code for view in ("", "/live", "/startup")]
    served = running.client.get("/")
    assert (200, ["close"]) == (served.status_code, served.headers.get_list("connection"))
    assert 3 == running.app.in_flight

    async def left(timeout: float) -> int:
        return await running.app.drained(timeout)

    assert 3 == asyncio.run(left(0.05))
    running.held.go.set()
    assert 0 == asyncio.run(left(10))
    for thread in threads:
        thread.join()
    assert [200] * 3 == answers
    assert (0, True) == (running.app.snapshot().in_flight, running.app.snapshot().draining)


def test_health_itself_is_not_in_flight() -> None:
    """Or a slow probe would hold up the end."""
    seen: list[int] = []

    class Source(Healthy):
        def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, dict[str, Any]]:
            seen.append(app.in_flight)
            return 200, {}

    app = Seawall(Held(), health=Source())
    wire = Wire()
    asyncio.run(app(http_scope("/health"), wire.receive, wire.send))
    assert [0] == seen


def test_websockets_are_not_counted() -> None:
    """They end when the server closes them."""
    seen: list[int] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        seen.append(app.in_flight)
        await send({"type": "websocket.close", "code": 1000})

    app = Seawall(listening)
    wire = Wire()
    asyncio.run(app(websocket_scope(), wire.receive, wire.send))
    assert [0] == seen


def test_drained_waits_for_the_last_and_no_longer() -> None:
    """Several may wait; a request that begins meanwhile is waited for too."""

    async def main(clock: FakeClock) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(float(scope["path"][1:]))
            await answer(send, 200, b"")

        wrapped = Seawall(app, clock=clock)
        clock.drive(asyncio.get_running_loop())
        assert 0 == await wrapped.drained(0)

        def start(seconds: float) -> asyncio.Task[None]:
            wire = Wire()
            return asyncio.create_task(wrapped(http_scope(f"/{seconds}"), wire.receive, wire.send))

        tasks = [start(2), start(5)]
        await asyncio.sleep(1)
        waiting = [asyncio.create_task(wrapped.drained(limit)) for limit in (None, 30, 3)]
        await asyncio.sleep(1)
        tasks.append(start(6))
        assert [0, 0, 2] == await asyncio.gather(*waiting)
        assert 8.0 == clock.now()
        await asyncio.gather(*tasks)

    with FakeClock() as clock:
        asyncio.run(main(clock))


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """Those who gave up waiting are not woken."""

    async def main() -> None:
        app = Seawall(held := Held())
        wire = Wire()
        request = asyncio.create_task(app(http_scope("/held"), wire.receive, wire.send))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(app.drained())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        held.go.set()
        await request
        assert (True, 0) == (waiting.cancelled(), await app.drained(0))

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_a_wait_must_be_a_duration(timeout: Any) -> None:
    """Said with the argument's name."""
    with pytest.raises((TypeError, ValueError), match="timeout"):
        asyncio.run(Seawall(Held()).drained(timeout))


def test_the_servers_shutdown_drains_by_itself() -> None:
    """For those who never call it."""
    app = Seawall(Held(), health=Healthy())
    server = Served(app).start()
    assert not app.draining
    server.stop()
    assert app.draining
