"""What goes wrong around an idempotent request: clients and servers that go away, leases, stores, deadlines."""

import asyncio
import json
import socket
from contextlib import closing
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from seawall.durable import EmbeddedStore, Idempotency, StoreError
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from seawall.web import IdempotentRequests, IdempotentRoute, Seawall
from tests.web.idempotency.shop import KEY, PAY, SHOPS, Till, client_of, of, paid, post, replayed, shop, until
from tests.web.serving import error_of, lines_of, served, wait_for

SHORT = {"lease": 0.4, "heartbeat": 0.1}
BODY = json.dumps({"amount": 1}).encode()


class Gate:
    """An outcome that says when it has begun, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.open = asyncio.Event()

    async def __call__(self, request: Any) -> Response:
        """Waits."""
        self.begun += 1
        await self.open.wait()
        self.ended += 1
        return paid()


class Away(EmbeddedStore):
    """A store that is away when it is told to be: before it does anything."""

    away = False

    async def arun(self, script: Any) -> Any:
        """Runs a script, or is away."""
        if self.away:
            raise StoreError("the store is away")
        return await super().arun(script)


def record_of(store: EmbeddedStore, key: str = '["POST /payments","alice","k-1"]') -> Any:
    """Returns the one operation."""
    return Idempotency(store, "http").show(key)


def sql(text: str) -> Any:
    """Returns a script of one statement."""

    def script() -> Script[Any]:
        return (yield Statement(text), {})

    return script


def request_bytes(body: bytes = BODY, more: str = "") -> bytes:
    """Returns a request as it goes over the wire."""
    head = f"POST /payments HTTP/1.1\r\nhost: test\r\nidempotency-key: k-1\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@pytest.mark.parametrize("kind", SHOPS)
def test_a_client_that_goes_away_stops_nothing(store: EmbeddedStore, kind: str) -> None:
    """The handler finishes, and the repeat gets its answer."""
    gates: list[Gate] = []

    async def pay(request: Any) -> Response:
        gates.append(Gate())
        loops.append(asyncio.get_running_loop())
        return await gates[-1](request)

    loops: list[Any] = []
    till = Till(pay)
    with served(shop(store, till, kind)) as client:
        port = client.base_url.port
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(request_bytes())
            wait_for(lambda: gates and gates[0].begun)
        loops[0].call_soon_threadsafe(gates[0].open.set)
        wait_for(lambda: record_of(store).state == "done")
        again = client.post("/payments", content=BODY, headers=KEY)
    assert (201, True, 1) == (again.status_code, replayed(again), till.count)


def test_a_client_that_goes_away_in_mid_request_executes_nothing(store: EmbeddedStore) -> None:
    """Half a body is no request."""
    till = Till()
    with served(shop(store, till)) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as line:
            line.sendall(request_bytes()[:-3])
        again = client.post("/payments", content=BODY, headers=KEY)
    assert (201, False, 1) == (again.status_code, replayed(again), till.count)


def test_a_stream_too_large_to_keep_ends_with_its_client(store: EmbeddedStore) -> None:
    """Once it is handed on as it comes, the handler hears of a client that went away."""
    ended: list[int] = []

    async def endless() -> Any:
        try:
            while True:
                yield b"x" * 100
                await asyncio.sleep(0.001)
        finally:
            ended.append(1)

    with served(shop(store, Till(StreamingResponse(endless())), route=IdempotentRoute(max_body=1000))) as client:
        with socket.create_connection(("127.0.0.1", client.base_url.port)) as line:
            line.sendall(request_bytes())
            assert line.recv(1000)
        wait_for(lambda: ended)


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    ("route", "state"),
    [
        (IdempotentRoute(), "unknown"),
        (IdempotentRoute(server_errors="replay"), "unknown"),
        (IdempotentRoute(server_errors="release"), "failed"),
        (IdempotentRoute(transactional=True), "failed"),
    ],
    ids=["plain", "replay", "release", "transactional"],
)
def test_a_server_that_cancels_midway(
    store: EmbeddedStore, route: IdempotentRoute, state: str, middleware: bool
) -> None:
    """Nobody knows what a plain handler had done; what a transactional one had not committed never was."""

    async def main() -> None:
        gate = Gate()
        app = Starlette(routes=[Route("/payments", gate_of(gate), methods=["POST"])])
        if middleware:
            app.add_middleware(BaseHTTPMiddleware, dispatch=_pass_on)
        wrapped = Seawall(app, idempotency=IdempotentRequests(store, {PAY: route}, principal=of))
        async with client_of(wrapped) as client:
            task = asyncio.create_task(client.post("/payments", content=BODY, headers=KEY))
            await until(lambda: gate.begun)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert state == record_of(store).state
    assert "cut short by CancelledError" == record_of(store).note


def gate_of(gate: Gate) -> Any:
    """Returns a handler."""

    async def handler(request: Any) -> Response:
        return await gate(request)

    return handler


async def _pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("kind", SHOPS)
def test_a_lease_that_somebody_else_has_by_now(store: EmbeddedStore, kind: str) -> None:
    """H4: the handler is cut short, its client gets 503, and the repeat gets the other's answer."""

    async def main() -> None:
        gate = Gate()
        app = shop(store, Till(gate), kind, **SHORT)
        async with client_of(app) as client:
            task = asyncio.create_task(client.post("/payments", content=BODY, headers=KEY))
            await until(lambda: gate.begun)
            await store.arun(sql("UPDATE seawall_idempotency SET epoch = 2, owner = 'other'"))
            error = error_of(await task, 503, "SERVICE_UNAVAILABLE")
            assert error["message"]
            assert (1, 0) == (gate.begun, gate.ended)
            assert "running" == (await Idempotency(store, "http").ashow('["POST /payments","alice","k-1"]')).state
            refused = await client.post("/payments", content=BODY, headers=KEY)
            error_of(refused, 409, "REQUEST_IN_PROGRESS")

    asyncio.run(main())


@pytest.mark.parametrize("kind", SHOPS)
def test_an_answer_that_comes_after_the_claim_was_lost_is_none(store: EmbeddedStore, kind: str) -> None:
    """Overtaken just before its end: 503, not its own answer; what comes after it is not run."""

    async def overtaken(request: Any) -> Response:
        await store.arun(sql("UPDATE seawall_idempotency SET epoch = 2, owner = 'other'"))
        return paid()

    first, again = post(shop(store, Till(overtaken), kind), 1, 1)
    error_of(first, 503, "SERVICE_UNAVAILABLE")
    assert int(first.headers["retry-after"]) >= 1
    error_of(again, 409, "REQUEST_IN_PROGRESS")


def test_a_store_that_is_silent_for_the_lease_cuts_the_request_short(tmp_path: Any) -> None:
    """Who cannot keep a lease may not go on: 503, and nothing more is executed."""
    with closing(Away(tmp_path / "seawall.db")) as store:

        async def main() -> None:
            gate = Gate()
            async with client_of(shop(store, Till(gate), **SHORT)) as client:
                task = asyncio.create_task(client.post("/payments", content=BODY, headers=KEY))
                await until(lambda: gate.begun)
                store.away = True
                error_of(await task, 503, "SERVICE_UNAVAILABLE")
                assert 0 == gate.ended

        asyncio.run(main())


@pytest.mark.parametrize("kind", SHOPS)
def test_a_store_that_is_away_at_the_claim(tmp_path: Any, kind: str) -> None:
    """503 with a hint, and nothing is executed; the next request is."""
    till = Till()
    with closing(Away(tmp_path / "seawall.db")) as store:
        app = shop(store, till, kind)
        store.away = True
        refused = post(app, 1)[0]
        error_of(refused, 503, "SERVICE_UNAVAILABLE")
        assert (0, True) == (till.count, int(refused.headers["retry-after"]) >= 1)
        store.away = False
        assert 201 == post(app, 1)[0].status_code


@pytest.mark.parametrize("kind", SHOPS)
def test_a_store_that_is_away_at_the_end(
    tmp_path: Any, clock: FakeClock, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is true and given, and logged as not kept; repeats are refused, and nothing is executed again."""
    with closing(Away(tmp_path / "seawall.db", clock=clock)) as store:

        def pay(request: Any) -> Response:
            store.away = True
            return paid()

        till = Till(pay)
        app = shop(store, till, kind)
        assert 201 == post(app, 1)[0].status_code
        assert "could not be kept: StoreError: the store is away" in lines_of(caplog)[0]
        store.away = False
        error_of(post(app, 1)[0], 409, "REQUEST_IN_PROGRESS")
        clock.advance(31)
        error_of(post(app, 1)[0], 409, "OUTCOME_UNKNOWN")
        assert 1 == till.count


@pytest.mark.parametrize(("route", "count"), [(IdempotentRoute(), 1), (IdempotentRoute(transactional=True), 2)])
def test_a_claim_whose_lease_ran_out(
    store: EmbeddedStore, clock: FakeClock, route: IdempotentRoute, count: int
) -> None:
    """On a plain route nobody knows, and nobody repeats it; a transactional one is executed anew, and told so."""
    till = Till()
    app = shop(store, till, route=route)
    post(app, 1)
    store.run(sql("UPDATE seawall_idempotency SET state = 'running', result = NULL"))
    clock.advance(31)
    assert {1: 409, 2: 201}[count] == post(app, 1)[0].status_code
    assert count == till.count


def test_a_deadline_ends_the_waiting(store: EmbeddedStore) -> None:
    """`X-Request-Timeout` is shorter than `wait`: 409 in time for who asks."""

    async def main() -> None:
        gate = Gate()
        async with client_of(shop(store, Till(gate), route=IdempotentRoute(wait=60))) as client:
            first = asyncio.create_task(client.post("/payments", content=BODY, headers=KEY))
            await until(lambda: gate.begun)
            refused = await client.post("/payments", content=BODY, headers={**KEY, "x-request-timeout": "0.2"})
            error_of(refused, 409, "REQUEST_IN_PROGRESS")
            waiting = asyncio.create_task(client.post("/payments", content=BODY, headers=KEY))
            gate.open.set()
            assert [False, True] == [replayed(each) for each in (await first, await waiting)]
            assert 1 == gate.begun

    asyncio.run(main())


def test_an_answer_after_the_deadline_is_kept_all_the_same(store: EmbeddedStore) -> None:
    """The deadline is the client's; what was done was done."""

    async def late(request: Any) -> Response:
        await asyncio.sleep(0.1)
        return paid()

    till = Till(late)
    app = shop(store, till)
    assert [201] == [each.status_code for each in post(app, 1, headers={"x-request-timeout": "0.05"})]
    assert (True, 1) == (replayed(post(app, 1)[0]), till.count)


def test_requests_in_flight_and_their_repeats_are_drained(store: EmbeddedStore) -> None:
    """Draining waits for both, and refuses neither."""

    async def main() -> None:
        gate = Gate()
        app = shop(store, Till(gate), route=IdempotentRoute(wait=30))
        async with client_of(app) as client:
            tasks = [asyncio.create_task(client.post("/payments", content=BODY, headers=KEY)) for _ in range(2)]
            await until(lambda: gate.begun and app.in_flight == 2)
            app.drain()
            assert 2 == await app.drained(0.05)
            gate.open.set()
            assert 0 == await app.drained(20)
            assert [201, 201] == [(await task).status_code for task in tasks]

    asyncio.run(main())


def test_a_middleware_that_swallows_our_refusal_changes_nothing(store: EmbeddedStore) -> None:
    """What the application says after its claim was lost is for nobody."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await store.arun(sql("UPDATE seawall_idempotency SET epoch = 2, owner = 'other'"))
        for _ in range(2):
            try:
                await JSONResponse({})(scope, receive, send)
            except Exception:
                continue

    wrapped = Seawall(app, idempotency=IdempotentRequests(store, [PAY], principal=of))
    error_of(post(wrapped, 1)[0], 503, "SERVICE_UNAVAILABLE")
