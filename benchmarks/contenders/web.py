"""The web layer: the same FastAPI application bare and wrapped, in uvicorn processes, under the same load in turns."""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from benchmarks.machine import ROOT
from benchmarks.measure import Figure, Result, Settings
from benchmarks.rows import Row
from benchmarks.web_server import WRAPPED

PAIRS: Final = 5
RATE: Final = 400.0
"""Requests a second."""
PATIENCE: Final = 10.0
"""Seconds after which a server that does not answer is an error."""
SLICE: Final = 0.1
"""Seconds after which it is the next contender's turn, so that a busy moment of the machine hits all of them."""
REQUEST: Final = (
    b"GET /items/42 HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: application/json\r\n"
    b"X-Correlation-Id: 4b0d11c0aafa44c1a2a5eff53d2ad2f2\r\nX-Request-Timeout: 2.5\r\n\r\n"
)


@contextmanager
def serving(name: str) -> Iterator[int]:
    """Runs a contender's server; gives its port. Raises ImportError where something is not installed."""
    command = [sys.executable, "-m", "benchmarks.web_server", name]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline().strip()
            if not said.isdecimal():
                raise ImportError(said)
            yield int(said)
        finally:
            process.stdin.close()


class Connection(asyncio.Protocol):
    """A kept connection, which takes the time of one request after the other."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._sent = 0.0
        self._heard = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self) -> None:
        self._sent = perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if data.endswith(b"}"):  # the end of the JSON
            answer, self._heard = self._heard, b""
            self._clients.answered(self, perf_counter() - self._sent, answer)


class Clients:
    """Who sends requests to one server, and notes what they took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._all: list[Connection] = []
        self._idle: list[Connection] = []
        self._wrong: list[bytes] = []
        self._waiting = 0
        self._ended = asyncio.Event()
        self.took: list[float] = []
        """Seconds that each request took."""

    def answered(self, connection: Connection, seconds: float, answer: bytes) -> None:
        self._idle.append(connection)
        self.took.append(seconds)
        if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'"inStock":true}')):
            self._wrong.append(answer)
        self._waiting -= 1
        if not self._waiting:
            self._ended.set()

    async def one_by_one(self, seconds: float, chance: random.Random) -> None:
        """Sends the next request when the answer is there, over one connection: the server is busy, and none waits."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        async with asyncio.timeout(seconds + PATIENCE):
            while clock() < end:
                await self._send()
                await self._all_answered()

    async def at_random(self, seconds: float, chance: random.Random) -> None:
        """Sends requests whenever they are due, whether others are waiting or not."""
        clock = asyncio.get_running_loop().time
        due = clock() + chance.expovariate(RATE)
        end = due + seconds
        async with asyncio.timeout(seconds + PATIENCE):
            while due < end:
                await asyncio.sleep(due - clock())
                await self._send()
                due += chance.expovariate(RATE)
            await self._all_answered()

    async def _send(self) -> None:
        connection = self._idle.pop() if self._idle else await self._connect()
        self._waiting += 1
        self._ended.clear()
        connection.ask()

    async def _all_answered(self) -> None:
        if self._waiting:
            await self._ended.wait()
        assert not self._wrong, self._wrong[0]

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        self._all.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._all:
            connection.transport.close()


@dataclass(frozen=True)
class WebRow(Row):
    """What a wrapper adds to a request at some percentile: the median of the differences of five pairs of runs."""

    percent: int = 50
    load: Callable[[Clients, float, random.Random], Awaitable[None]] = Clients.one_by_one

    def measured(self, settings: Settings) -> Result:
        result, ports = Result(), dict[str, int]()
        seconds = 800e-9 * settings.batches * settings.round_ns  # for each contender in each pair
        with ExitStack() as stack:
            for name in WRAPPED:
                try:
                    ports[name] = stack.enter_context(serving(name))
                except ImportError as error:
                    result.missing[name] = str(error)
            if "bare" in ports:
                result.figures = asyncio.run(self._figures(ports, seconds))
        return result

    async def _figures(self, ports: Mapping[str, int], seconds: float) -> dict[str, Figure]:
        chance = random.Random(1)
        taken: dict[str, list[float]] = {name: [] for name in ports}
        for pair in range(PAIRS + 1):  # the first one makes what is made once
            clients = {name: Clients(port) for name, port in ports.items()}
            for number in range(round(seconds / SLICE) if pair else 5):
                turn = number % len(ports)
                for name in [*ports][turn:] + [*ports][:turn]:
                    await self.load(clients[name], SLICE, chance)
            for name, own in clients.items():
                own.close()
                if pair:
                    taken[name].append(1e6 * sorted(own.took)[self.percent * len(own.took) // 100])
        return {name: beyond(taken["bare"], took) for name, took in taken.items() if name != "bare"}


def beyond(bare: list[float], took: list[float]) -> Figure:
    """Returns the difference that stands for all pairs; its spread is the largest of them over it."""
    differences = [own - other for own, other in zip(took, bare, strict=True)]
    note = f"{statistics.median(bare):,.0f} -> {statistics.median(took):,.0f} µs a request"
    return Figure(statistics.median(differences), max(differences), "µs", note)


ROWS: list[Row] = [
    WebRow("web-p50", "the web layer around a FastAPI application in uvicorn, p50, one request after the other"),
    WebRow("web-p99", "the same, p99, 400 requests a second at random moments", 99, Clients.at_random),
]
