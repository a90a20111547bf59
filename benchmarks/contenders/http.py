"""A protected HTTP client: a GET of 200 bytes over loopback and a kept connection, from a server process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from benchmarks.measure import Entrant, Result, Settings, acall_loop, afollow, call_loop, figure, follow, own_copy, plan
from benchmarks.rows import Row
from seawall import Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from seawall.integrations.httpx import protect, transient

SERVER = """
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 200\\r\\n\\r\\n" + b"x" * 200

class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.endswith(b"\\r\\n\\r\\n"):
            self.transport.write(ANSWER)

async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().connect_read_pipe(Ending, open(0, "rb"))
    await ended.wait()

class Ending(asyncio.Protocol):
    def connection_lost(self, error):
        ended.set()

ended = asyncio.Event()
asyncio.run(main())
"""


@contextmanager
def serving() -> Iterator[str]:
    """Runs the server, which ends with its standard input."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.stdin.close()


def strategies(name: str) -> Pipeline:
    return Pipeline(name, Retry(on=transient), Bulkhead(10), CircuitBreaker(failures=5), Timeout(10.0))


def with_retries(kind: str) -> Any:
    """Returns a client of httpx 0.28 with httpx-retries, which does a Retry's part alone."""
    import httpx
    from httpx_retries import RetryTransport

    return getattr(httpx, kind)(transport=RetryTransport(), trust_env=False)


def older(kind: str) -> Any:
    import httpx

    return getattr(httpx, kind)(trust_env=False)


MAKERS: dict[str, Callable[[str], Any]] = {
    "bare": lambda kind: getattr(httpx2, kind)(trust_env=False),
    "seawall": lambda kind: protect(getattr(httpx2, kind)(trust_env=False), strategies(f"bench {kind}")),
    "httpx 0.28, bare": older,
    "httpx 0.28 + httpx-retries": with_retries,
}


@dataclass(frozen=True)
class HttpRow(Row):
    """Requests through the clients of `MAKERS`, in turns, against one server."""

    kind: str = "Client"

    def measured(self, settings: Settings) -> Result:
        result = Result()
        longer = replace(settings, round_ns=20 * settings.round_ns, rounds=max(10, settings.rounds // 2))
        with serving() as url:
            entrants = (
                asyncio.run(self._arace(url, longer, result)) if self._is_async else self._race(url, longer, result)
            )
        result.figures = {name: figure(entrant.per_call) for name, entrant in entrants.items()}
        return result

    @property
    def _is_async(self) -> bool:
        return self.kind == "AsyncClient"

    def _clients(self, result: Result) -> dict[str, Any]:
        clients = {}
        for name, make in MAKERS.items():
            try:
                clients[name] = make(self.kind)
            except ImportError as error:
                result.missing[name] = f"not installed ({error.name or error})"
        return clients

    def _race(self, url: str, settings: Settings, result: Result) -> dict[str, Entrant]:
        clients = self._clients(result)
        entrants = {name: Entrant(_getting(client, url), own_copy(call_loop)) for name, client in clients.items()}
        follow(plan(list(entrants.values()), settings))
        for client in clients.values():
            client.close()
        return entrants

    async def _arace(self, url: str, settings: Settings, result: Result) -> dict[str, Entrant]:
        clients = self._clients(result)
        entrants = {name: Entrant(_agetting(client, url), own_copy(acall_loop)) for name, client in clients.items()}
        await afollow(plan(list(entrants.values()), settings))
        for client in clients.values():
            await client.aclose()
        return entrants


def _getting(client: Any, url: str) -> Callable[[int], Any]:
    def get(value: int) -> Any:
        return client.get(url)

    return get


def _agetting(client: Any, url: str) -> Callable[[int], Any]:
    async def get(value: int) -> Any:
        return await client.get(url)

    return get


ROWS: list[Row] = [
    HttpRow("http-sync", "a GET through a protected client (retry, bulkhead, breaker, timeout), sync", "Client"),
    HttpRow("http-async", "a GET through a protected client (retry, bulkhead, breaker, timeout), async", "AsyncClient"),
]
