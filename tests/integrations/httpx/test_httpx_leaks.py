"""Nothing is left: no connection, no task, no object. In full in `make soak`, a tenth of it in `make test`."""

import asyncio
import contextvars
import gc
import itertools
import logging
import os
import threading
import weakref
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from seawall import Bulkhead, Fallback, Timeout, deadline
from seawall.integrations.httpx import StatusError
from seawall.integrations.httpx.exchange import Exchange
from tests.integrations.httpx.driver import Client, Wire, at_rest, counter, retry, unbounded
from tests.integrations.httpx.server import answer, chunked, half, hang_up, later, reset, stall

CALLS = 2_500 if os.environ.get("SEAWALL_SOAK") else 250  # with each library in each colour: 10,000 in all
MIX = (
    ["good"] * 30 + ["failing", "busy", "reset", "half", "hang up", "chunks", "streamed", "left", "big"] * 3 + ["stall"]
)
BIG = b"x" * 200_000


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Pytest keeps every log record until the test ends: memory that is not ours."""
    caplog.set_level(logging.CRITICAL)


def play(wire: Wire) -> None:
    """Scripts the mix."""
    wire.server.play("/failing", answer(503, b"no"))
    wire.server.play("/busy", answer(429, BIG))
    wire.server.play("/reset", reset())
    wire.server.play("/half", half())
    wire.server.play("/hang up", hang_up())
    wire.server.play("/chunks", chunked(b"one", b"two"))
    wire.server.play("/streamed", answer(200, BIG))
    wire.server.play("/left", answer(200, BIG * 5))
    wire.server.play("/big", answer(503, BIG))
    wire.server.play("/stall", later(0.05, answer()))


def guarded(wire: Wire) -> tuple[Client, Bulkhead]:
    """Returns a client behind all strategies. What stalls is cut by cancelling, where the library bears that."""
    cancelling = not wire.sync and not wire.loses
    bulkhead = Bulkhead(16, max_waiting=1000, max_wait=25)
    cached = Fallback(lambda failure: wire.lib.Response(200, text="cached"), on=OSError)
    guards = [cached, retry(2), bulkhead, counter(failures=10**6), Timeout(0.04 if cancelling else 5)]
    timeout = wire.lib.Timeout(20, read=20 if cancelling else 0.04)
    return wire.client(unbounded(*guards), timeout=timeout), bulkhead


STREAMED = {"streamed", "left", "big"}


def call(client: Client, kind: str) -> str:
    """Makes one sync call; returns how it ended."""
    try:
        if kind not in STREAMED:
            return str(client.own.get(f"/{kind}").status_code)
        with client.own.stream("GET", f"/{kind}") as response:
            next(response.iter_bytes()) if kind == "left" else response.read()
            return str(response.status_code)
    except client.wire.lib.TransportError as error:
        return type(error).__name__


async def acall(client: Client, kind: str) -> str:
    """Makes one async call; returns how it ended."""
    try:
        if kind not in STREAMED:
            return str((await client.own.get(f"/{kind}")).status_code)
        async with client.own.stream("GET", f"/{kind}") as response:
            if kind == "left":
                await anext(response.aiter_bytes())
            else:
                await response.aread()
            return str(response.status_code)
    except client.wire.lib.TransportError as error:
        return type(error).__name__


def work(client: Client, calls: int, ends: Counter[str]) -> None:
    """Makes so many calls, eight at a time."""
    kinds = [kind for _, kind in zip(range(calls), itertools.cycle(MIX), strict=False)]

    def some(share: list[str]) -> None:
        ends.update(call(client, kind) for kind in share)

    async def asome(share: list[str]) -> None:
        for kind in share:
            ends[await acall(client, kind)] += 1

    async def main() -> None:
        await asyncio.gather(*(asome(kinds[number::8]) for number in range(8)))
        await at_rest()

    if not client.wire.sync:
        client.wire._runner.run(main())  # however long it takes
        return
    threads = [threading.Thread(target=some, args=(kinds[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def living(*kinds: type[Any]) -> int:
    """How many objects of these classes are alive."""
    gc.collect()
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


@pytest.mark.soak
def test_nothing_is_left_of_many_calls(wire: Wire) -> None:
    """Good, failing, reset, half, timed out and abandoned ones: connections, tasks, files, slots, objects."""
    play(wire)
    client, bulkhead = guarded(wire)
    kinds = (Exchange, wire.lib.Response, wire.lib.Request)
    ends: Counter[str] = Counter()
    work(client, len(MIX), ends)
    alive = living(*kinds)
    client.pool().close() if wire.sync else wire.run(client.pool().aclose())
    wire.server.until_open(0)
    opened = files()
    work(client, CALLS, ends)
    assert (0, 0, 0) == (client.busy(), bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    assert wire.server.open <= 20
    assert living(*kinds) <= alive + 250  # asyncio keeps cancelled timers for a while
    client.pool().close() if wire.sync else wire.run(client.pool().aclose())
    wire.server.until_open(0)
    assert opened == files()
    assert {"200", "503", "429", "RemoteProtocolError"} < set(ends)
    print(f"{wire.lib.__name__}: {CALLS:,} calls, {dict(ends)}")


def plainly(client: Client, method: str, path: str) -> None:
    """Makes a call that may fail, by no more frames and tasks than needed, and forgets how it ended."""

    async def main() -> None:
        with suppress(client.wire.lib.TransportError):
            await client.own.request(method, path, content=b"body")

    if client.wire.sync:
        with suppress(client.wire.lib.TransportError):
            client.own.request(method, path, content=b"body")
    else:
        client.wire._runner.run(main(), context=contextvars.copy_context())


@pytest.mark.parametrize("way", ["GET /failing", "POST /failing", "GET /reset", "GET /half", "deadline", "rejection"])
def test_nothing_waits_for_the_garbage_collector(wire: Wire, way: str) -> None:
    """A call that failed leaves no cycle of failure, traceback and frame, which would hold bodies and pipelines."""
    play(wire)
    wire.server.play("/stall", stall())
    breaker = counter()
    client = wire.client(retry(2), breaker, timeout=None)
    kinds = Exchange | StatusError
    client.get("/")
    gc.collect()
    gc.freeze()  # what there is by now is not looked at
    gc.disable()
    try:
        with ExitStack() as stack:
            if way == "rejection":
                stack.enter_context(breaker.isolate())
            if way == "deadline":
                stack.enter_context(deadline(0.05))
            plainly(client, *(way.split() if "/" in way else ("GET", "/stall")))
        left = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]
    finally:
        gc.unfreeze()
        gc.enable()
    assert [] == left


def test_requests_do_not_stay_with_timers(awire: Wire) -> None:
    """asyncio keeps cancelled timers behind later ones, with their contexts: what these refer to stays as long."""
    client = awire.client(retry(2), Timeout(3))
    alive: list[weakref.ref[Any]] = []

    async def main() -> None:
        for _ in range(20):
            request = client.own.build_request("POST", "/", content=BIG)
            alive.append(weakref.ref(request))
            await client.own.send(request)

    awire.run(main())
    gc.collect()
    assert sum(request() is not None for request in alive) <= 1
