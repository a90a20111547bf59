"""Protecting clients and transports: what is given back, what is refused, other transports, state that is shared."""

import asyncio
import threading
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, CircuitOpenError, Hedge, Pipeline, Retry, Timeout
from seawall.integrations.httpx import PerHost, protect, transient
from tests.integrations.httpx.driver import Wire, counted, counter, retry, unbounded
from tests.integrations.httpx.server import answer, half, later, reset


def test_a_client_is_changed_in_place(wire: Wire) -> None:
    """And returned; it is of its class as before."""
    client = wire.bare()
    kind = type(client.own)
    assert client.own is protect(client.own, unbounded(retry(2)))
    assert (kind, True) == (type(client.own), "protected" in repr(client.own._transport))


def test_twice_is_once_too_often(wire: Wire) -> None:
    """Clients and transports."""
    client = wire.client(retry(2))
    with pytest.raises(ValueError, match="is protected already; put all strategies into one pipeline"):
        protect(client.own, unbounded(retry(2)))
    transport = protect(wire.lib.MockTransport(lambda request: wire.lib.Response(200)), unbounded(retry(2)))
    with pytest.raises(ValueError, match="is protected already"):
        protect(transport, unbounded(retry(2)))
    within = wire.bare(transport=transport)
    with pytest.raises(ValueError, match="is protected already"):
        protect(within.own, unbounded(retry(2)))


@pytest.mark.parametrize("value", [None, "client", object(), int, 5, lambda request: None])
def test_what_is_no_client(value: Any) -> None:
    """Is refused by name."""
    with pytest.raises(
        TypeError, match=r"is no client or transport of httpx2 or httpx, such as httpx2.AsyncClient\(\)"
    ):
        protect(value, unbounded(retry(2)))


def test_a_class_is_no_client(wire: Wire) -> None:
    """Nor is a class of transports a transport."""
    for kind in (wire.lib.Client, wire.lib.AsyncClient, wire.lib.HTTPTransport, wire.lib.MockTransport):
        with pytest.raises(TypeError, match="is no client or transport"):
            protect(kind, unbounded(retry(2)))


@pytest.mark.parametrize("value", [None, "pipeline", Retry(on=transient), Pipeline, PerHost, [Retry(on=transient)]])
def test_what_is_no_pipeline(wire: Wire, value: Any) -> None:
    """Is refused by name, and the client stays as it was."""
    client = wire.bare()
    with pytest.raises(TypeError, match=r"pipeline is .*, no pipeline; use Pipeline\('name', Retry"):
        protect(client.own, value)
    assert client.own is protect(client.own, unbounded(retry(2)))


def test_a_strategy_that_cannot_serve_the_client(swire: Wire) -> None:
    """A Hedge needs an async client; the sync one stays as it was, and can be protected by something else."""
    client = swire.bare()
    with pytest.raises(TypeError, match="serves async functions only, not a plain function"):
        protect(client.own, unbounded(Hedge(0.05)))
    protect(client.own, unbounded(retry(2)))
    swire.server.play("/", answer(503), answer())
    assert 200 == client.get("/").status_code


def test_a_strategy_that_cannot_serve_a_host(swire: Wire) -> None:
    """Is found out by the first request to it."""
    client = swire.client(PerHost(lambda host: unbounded(Hedge(0.05))))
    with pytest.raises(TypeError, match="serves async functions only"):
        client.get("/")


def test_a_transport_is_not_changed(wire: Wire) -> None:
    """A new one goes around it, for a client or for several."""
    inner = wire.transport()
    outer = protect(inner, unbounded(retry(2)))
    assert outer is not inner
    assert not hasattr(inner, "_inner")
    wire.server.play("/", answer(503), answer())
    client = wire.bare(transport=outer)
    assert (200, 2) == (client.get("/").status_code, wire.server.hits())
    client.close()
    wire.server.until_open(0)


def test_a_transport_is_governed_until_the_first_byte(wire: Wire) -> None:
    """It does not know whether the response is streamed: what breaks later surfaces once."""
    breaker = counter()
    client = wire.bare(transport=protect(wire.transport(), unbounded(retry(3), breaker)))
    wire.server.play("/half", half())
    with pytest.raises(wire.lib.RemoteProtocolError):
        client.get("/half")
    wire.server.play("/reset", reset(), answer())
    assert 200 == client.get("/reset").status_code
    wire.server.play("/503", answer(503, b"why"))
    assert b"why" == client.get("/503").content
    assert (1, 2, 3) == tuple(wire.server.hits(path) for path in ("/half", "/reset", "/503"))
    assert ((6, 4), 0) == (counted(breaker), client.busy())


def test_a_transport_by_itself(wire: Wire) -> None:
    """Without any client: used as a context, called with a request."""
    outer: Any = protect(wire.transport(), unbounded(retry(2)))
    request = wire.lib.Request("GET", f"{wire.server.root}/")
    wire.server.play("/", answer(503), answer())
    if wire.sync:
        with outer:
            response = outer.handle_request(request)
            assert b"fine" == response.read()
    else:

        async def main() -> None:
            async with outer:
                response = await outer.handle_async_request(request)
                assert b"fine" == await response.aread()

        wire.run(main())
    wire.server.until_open(0)


def test_mock_transports(wire: Wire) -> None:
    """In both forms, with errors and statuses made up."""
    ends: list[Any] = [wire.lib.ConnectError("no"), wire.lib.ReadError("no"), 503, 200]

    def handle(request: Any) -> Any:
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return wire.lib.Response(end, json={"status": end})

    breaker = counter()
    client = wire.client(retry(4), breaker, transport=wire.lib.MockTransport(handle))
    assert {"status": 200} == client.get("/").json()
    ends[:] = [503, 200]
    other = wire.bare(transport=protect(wire.lib.MockTransport(handle), unbounded(retry(2))))
    assert {"status": 200} == other.get("/").json()
    assert (4, 3) == counted(breaker)


def test_async_mock_handlers(awire: Wire) -> None:
    """A coroutine function as handler."""
    statuses = [503, 200]

    async def handle(request: Any) -> Any:
        await asyncio.sleep(0)
        return awire.lib.Response(statuses.pop(0))

    assert 200 == awire.client(retry(2), transport=awire.lib.MockTransport(handle)).get("/").status_code


def test_an_application_as_transport(awire: Wire) -> None:
    """ASGI: statuses are retried, what the application raises is its own."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        if scope["path"] == "/raises":
            raise LookupError("of the application")
        status = 503 if len(seen) == 1 else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"from the app"})

    breaker = counter()
    client = awire.client(unbounded(retry(3), breaker, Timeout(5)), transport=awire.lib.ASGITransport(app))
    assert b"from the app" == client.get("/").content
    with client.stream("GET", "/") as response:
        assert b"from the app" == response.read()
    with pytest.raises(LookupError, match="of the application"):
        client.get("/raises")
    assert (["/", "/", "/", "/raises"], (3, 1)) == (seen, counted(breaker))


def test_a_wsgi_application_as_transport(swire: Wire) -> None:
    """Likewise."""
    seen: list[str] = []

    def app(environ: Any, start: Any) -> Any:
        seen.append(environ["PATH_INFO"])
        start("503 Busy" if len(seen) == 1 else "200 OK", [])
        return [b"from ", b"the app"]

    client = swire.client(retry(2), transport=swire.lib.WSGITransport(app=app))
    assert (b"from the app", 2) == (client.get("/").content, len(seen))


def test_classes_derived_from_requests_and_clients(wire: Wire) -> None:
    """The library is found through their bases."""
    kind = wire.lib.Client if wire.sync else wire.lib.AsyncClient

    class Own(kind):  # type: ignore[misc, valid-type]
        pass

    class OwnRequest(wire.lib.Request):  # type: ignore[misc]
        pass

    client = wire.client(retry(2))
    client.own.__class__ = Own
    wire.server.play("/", answer(503), answer())
    assert 200 == client.send(OwnRequest("GET", f"{wire.server.root}/")).status_code


def test_two_threads_share_one_pipeline_over_two_clients(swire: Wire) -> None:
    """The bulkhead holds over both."""
    running: list[int] = []
    most: list[int] = []

    async def busy(line: Any) -> bool:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.003)
        running.pop()
        await line.head(200, length=0)
        return True

    swire.server.play("/", busy)
    guard = unbounded(Bulkhead(2, max_waiting=100, max_wait=20), CircuitBreaker(failures=1))
    clients = [swire.client(guard) for _ in range(2)]
    statuses: list[int] = []

    def work(client: Any) -> None:
        statuses.extend(client.get("/").status_code for _ in range(5))

    threads = [threading.Thread(target=work, args=(clients[number % 2],)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([200] * 30, 2) == (statuses, max(most))


def test_two_event_loops_share_one_pipeline_over_two_clients(awire: Wire) -> None:
    """Its circuit opens for both; its bulkhead is free for both afterwards."""
    breaker, bulkhead = CircuitBreaker(failures=3, open_for=60), Bulkhead(3, max_waiting=50, max_wait=20)
    guard = unbounded(bulkhead, breaker, Timeout(20))
    awire.server.play("/bad", later(0.005, answer(503)))
    problems: list[BaseException] = []
    gate = threading.Barrier(2)

    async def loop() -> None:
        async with awire.lib.AsyncClient(base_url=awire.server.root, verify=False, trust_env=False) as own:
            client = protect(own, guard)
            answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
            assert {200} == {response.status_code for response in answers}
            await asyncio.to_thread(gate.wait, 5)
            ends = await asyncio.gather(*(client.get("/bad") for _ in range(5)), return_exceptions=True)
            assert all(isinstance(end, CircuitOpenError) or getattr(end, "status_code", 0) == 503 for end in ends)
            await asyncio.to_thread(gate.wait, 5)
            with pytest.raises(CircuitOpenError):
                await client.get("/")

    def work() -> None:
        try:
            asyncio.run(loop())
        except BaseException as error:
            problems.append(error)
            gate.abort()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == problems
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)


def test_a_sync_and_an_async_client_share_one_pipeline(wire: Wire) -> None:
    """One state for both colours and, where there are two, for both libraries."""
    breaker = CircuitBreaker(failures=2, open_for=60)
    guard = unbounded(breaker)
    statuses: list[Any] = [503, 503]

    def handle(request: Any) -> Any:
        return wire.lib.Response(statuses.pop(0))

    transport = wire.lib.MockTransport(handle)
    one = wire.client(guard, transport=transport)
    assert 503 == one.get("/").status_code

    async def main() -> int:
        async with wire.lib.AsyncClient(transport=transport, base_url="http://x") as own:
            return int((await protect(own, guard).get("/")).status_code)

    assert (503, "open") == (asyncio.run(main()) if wire.sync else wire.run(main()), breaker.state)
    with pytest.raises(CircuitOpenError):
        one.get("/")
