"""A client of either library in either colour, driven by plain calls, so that each scenario is written once.

`wire.client(Retry(...), ...)` gives a protected client; `client.get("/path")` calls it, in the async colour by running
the test's event loop until the answer is there. SEAWALL_TEST_HTTPX=aliased makes httpx2 go by the name of httpx, in
the whole process: see test_httpx_with_an_alias.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import os
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from seawall import CircuitBreaker, Pipeline, Retry, SeawallWarning, Strategy
from seawall.integrations.httpx import PerHost, protect, transient
from tests.both import bounded, pipeline
from tests.integrations.httpx.server import PATIENCE, Server

T = TypeVar("T")
ALIASED = os.environ.get("SEAWALL_TEST_HTTPX") == "aliased"
if ALIASED:
    importlib.import_module("httpx2").alias_httpx()
LIBRARIES = ["httpx"] if ALIASED else ["httpx2", "httpx"]
WIRES = [(library, colour) for library in LIBRARIES for colour in ("sync", "async")]
_END: Any = object()


class Wire:
    """A library in a colour, and a server at the other end. Clients are closed with it."""

    def __init__(self, library: str, colour: str, server: Server) -> None:
        self.lib: Any = importlib.import_module(library)
        self.sync = colour == "sync"
        self.server = server
        self._clients: list[Client] = []

    def __enter__(self) -> Wire:
        self._runner = asyncio.Runner()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            for client in self._clients:
                client.close()
            if not self.sync:
                self.run(at_rest())
        finally:
            self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the test's event loop, in the context of the test."""
        return self._runner.run(bounded(work), context=contextvars.copy_context())

    def client(self, *strategies: Strategy | Pipeline | PerHost, **options: Any) -> Client:
        """Returns a client of the server, protected by strategies, a pipeline or a `PerHost`."""
        made = self.bare(**options)
        guard = strategies[0] if isinstance(strategies[0], Pipeline | PerHost) else unbounded(*strategies)  # type: ignore[arg-type]
        protect(made.own, guard)  # type: ignore[arg-type]
        return made

    def bare(self, **options: Any) -> Client:
        """Returns a client of the server without protection."""
        kind = self.lib.Client if self.sync else self.lib.AsyncClient
        own = kind(**{"base_url": self.server.root, "trust_env": False, "verify": False, **options})
        self._clients.append(Client(self, own))
        return self._clients[-1]

    @property
    def loses(self) -> bool:
        """Whether the library itself loses connections: httpcore 1 may, where it is cancelled at the wrong moment."""
        return bool(self.lib.__name__ == "httpx")

    def transport(self, **options: Any) -> Any:
        """Returns a transport of the library in this colour."""
        kind = self.lib.HTTPTransport if self.sync else self.lib.AsyncHTTPTransport
        return kind(verify=False, **options)

    def reading(self, seconds: float) -> Any:
        """Returns time-outs of a client that waits so long for an answer."""
        return self.lib.Timeout(PATIENCE, read=seconds)


class Client:
    """A client by plain calls. `own` is the library's."""

    def __init__(self, wire: Wire, own: Any) -> None:
        self.wire, self.own = wire, own

    def request(self, method: str, path: str, **how: Any) -> Any:
        """Makes a request and returns the library's response."""
        return self._plain(self.own.request(method, path, **how))

    def get(self, path: str, **how: Any) -> Any:
        """Makes a GET request."""
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> Any:
        """Makes a POST request."""
        return self.request("POST", path, **how)

    def send(self, request: Any, **how: Any) -> Any:
        """Sends a request that was built before."""
        return self._plain(self.own.send(request, **how))

    def _plain(self, call: Any) -> Any:
        return call if self.wire.sync else self.wire.run(call)

    @contextmanager
    def stream(self, method: str, path: str, **how: Any) -> Iterator[Streamed]:
        """Makes a request whose response is read piece by piece."""
        opening = self.own.stream(method, path, **how)
        with ExitStack() as stack:
            if self.wire.sync:
                yield Streamed(self.wire, stack.enter_context(opening))
            else:
                response = self.wire.run(_call(opening.__aenter__))
                stack.push(lambda *exc: self.wire.run(_call(opening.__aexit__, *exc)))
                yield Streamed(self.wire, response)

    def pool(self, transport: Any = None) -> Any:
        """Returns the connection pool, of the client's own transport or of the one given."""
        found = self.own._transport if transport is None else transport
        return getattr(found, "_inner", found)._pool

    def busy(self) -> int:
        """Returns how many connections of the pool are in use, and requests not at their end.

        httpcore 1 keeps a connection whose connecting was cancelled, as NEW, until the next request: that is not ours.
        """
        pool = self.pool()
        return len(pool._requests) + sum(", HTTP/1.1, ACTIVE" in each.info() for each in pool.connections)

    def close(self) -> None:
        """Closes the client."""
        self._plain(self.own.close() if self.wire.sync else self.own.aclose())


class Streamed:
    """A response that is read piece by piece. `own` is the library's."""

    def __init__(self, wire: Wire, own: Any) -> None:
        self._wire, self.own = wire, own
        self.status_code = own.status_code

    def read(self) -> bytes:
        """Reads the rest of the body."""
        return bytes(self.own.read() if self._wire.sync else self._wire.run(self.own.aread()))

    def close(self) -> None:
        """Closes the response."""
        if self._wire.sync:
            self.own.close()
        else:
            self._wire.run(self.own.aclose())

    def chunks(self) -> Iterator[bytes]:
        """Gives the body in pieces."""
        return self._each("iter_bytes")

    def raw(self) -> Iterator[bytes]:
        """Gives the body in pieces, as it came."""
        return self._each("iter_raw")

    def lines(self) -> Iterator[str]:
        """Gives the body's lines."""
        return self._each("iter_lines")

    def _each(self, way: str) -> Iterator[Any]:
        if self._wire.sync:
            yield from getattr(self.own, way)()
            return
        items = getattr(self.own, f"a{way}")()
        try:
            while (item := self._wire.run(_next(items))) is not _END:
                yield item
        finally:
            self._wire.run(items.aclose())


async def at_rest() -> None:
    """Makes sure that no task is left. Generators that nobody ran to their end are closed by asyncio, in tasks."""
    for _ in range(1000):
        if {asyncio.current_task()} == asyncio.all_tasks():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError(asyncio.all_tasks())


async def until(condition: Callable[[], object]) -> None:
    """Waits until something is true."""
    for _ in range(int(PATIENCE / 0.0005)):
        if condition():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("it never came true")


async def _next(items: Any) -> Any:
    return await anext(items, _END)


async def _call(fn: Any, *args: Any) -> Any:
    return await fn(*args)


def unbounded(*strategies: Strategy) -> Pipeline:
    """Returns a pipeline with a name of its own; no Timeout is missed in it, since the clients have time-outs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*time unbounded", SeawallWarning)
        return pipeline(*strategies)


def retry(max_attempts: int = 3, **how: Any) -> Retry:
    """A Retry of what may pass, without delays."""
    return Retry(**{"on": transient, "max_attempts": max_attempts, "backoff": 0.0, **how})


def counter(**how: Any) -> CircuitBreaker:
    """A breaker that counts and hardly ever opens."""
    return CircuitBreaker(**{"failures": 1000, "window": 3600.0, **how})


def counted(breaker: CircuitBreaker) -> tuple[int, int]:
    """Returns how many calls and failures a breaker has counted."""
    snapshot = breaker.snapshot()
    return snapshot.calls, snapshot.failures
