"""Customers of the gateway: requests that arrive at a fixed rate, however long the answers to others take."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import httpx2

from examples.llmgateway.clients import tls
from examples.llmgateway.load_report import Report

PATIENCE: Final = 30.0
"""Seconds after which a customer gives up, and counts it as an error."""
KEYS: Final = frozenset({"code", "message", "timestamp", "correlationId", "details"})
HIGHEST: Final = ("memory_bytes", "open_files")
"""Figures that may fall again: looked at once a second, and the highest is kept."""
_SERIES: Final = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_STRATEGY: Final = re.compile(r'strategy_name="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives.

    Args:
        rate: requests a second.
        seconds: for how long they arrive; the last answers are waited for.
        streamed: the share of requests whose answer is streamed.
        seed: of the chance, which says when each request arrives, and which are streamed.
    """

    rate: float = 40.0
    seconds: float = 10.0
    streamed: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.rate <= 500 and 0 < self.seconds <= 3600 and 0 <= self.streamed <= 1):
            raise ValueError(f"{self!r} is no load; use up to 500 a second, up to 3600 seconds, and a share of 0 to 1")

    def due(self) -> list[float]:
        """Returns when each request is due, in seconds: so many on average, independent of one another."""
        chance = random.Random(self.seed)
        moments = itertools.accumulate(iter(lambda: chance.expovariate(self.rate), None), initial=0.0)
        return list(itertools.takewhile(lambda moment: moment < self.seconds, moments))


async def run(url: str, load: Load, title: str = "Load") -> Report:
    """Puts the gateway at `url` under load; returns the report."""
    report = Report(title, load.rate)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    transport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=limits)
    async with httpx2.AsyncClient(transport=transport, base_url=url, timeout=PATIENCE) as client:
        before, open_before = await _figures(client)
        watching = asyncio.create_task(_watch(client, report))
        own = time.process_time()
        await _Arrivals(client, load, report).all()
        report.figures["own_cpu_seconds"] = time.process_time() - own
        watching.cancel()
        await asyncio.wait([watching])
        after, opened = await _figures(client)
    report.openings = dict(opened - open_before)
    for name, value in after.items():
        highest = max(value, report.figures.get(name, 0.0))
        report.figures[name] = highest if name in HIGHEST else value - before[name]
    return report


async def _watch(client: httpx2.AsyncClient, report: Report) -> None:
    """Keeps the highest of what may fall again, looking once a second."""
    while True:
        await asyncio.sleep(1.0)
        figures, _ = await _figures(client)
        for name in HIGHEST:
            report.figures[name] = max(report.figures.get(name, 0.0), figures[name])


class _Arrivals:
    """The requests of one load test, each in a task of its own."""

    def __init__(self, client: httpx2.AsyncClient, load: Load, report: Report) -> None:
        self._client, self._load, self._report = client, load, report
        self._chance = random.Random(f"{load.seed} streamed")
        self._tasks: set[asyncio.Task[None]] = set()

    async def all(self) -> None:
        """Sends each when it is due, and waits for the last answers."""
        began = time.perf_counter()
        for moment in self._load.due():
            await asyncio.sleep(began + moment - time.perf_counter())
            self._report.behind = max(self._report.behind, time.perf_counter() - began - moment)
            streamed = self._chance.random() < self._load.streamed
            task = asyncio.create_task(self._one(began + moment, streamed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._report.most_at_once = max(self._report.most_at_once, len(self._tasks))
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._report.seconds = time.perf_counter() - began

    async def _one(self, due: float, streamed: bool) -> None:
        outcome = await self._outcome(due, streamed)
        self._report.outcomes[outcome] += 1
        self._report.durations.append(time.perf_counter() - due)

    async def _outcome(self, due: float, streamed: bool) -> str:
        """Asks; returns how it ended, if with no answer at all."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask(due, streamed)
        except (TimeoutError, httpx2.TimeoutException):
            return "gave up"
        except httpx2.HTTPError as error:
            return type(error).__name__

    async def _ask(self, due: float, streamed: bool) -> str:
        """Asks; returns "ok", or the code of the error."""
        body = {"messages": [{"role": "user", "content": "What does a seawall do?"}], "stream": streamed}
        async with self._client.stream("POST", "/v1/chat", json=body) as response:
            if response.status_code != 200:
                return self._error(await response.aread())
            if streamed:
                return await self._stream(response, due)
            self._report.fallbacks += json.loads(await response.aread())["usedFallback"]
            return "ok"

    async def _stream(self, response: httpx2.Response, due: float) -> str:
        event, first = "", None
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event, first = value, first or time.perf_counter() - due
            elif name == "data" and event == "error":
                return self._error(value.encode())
            elif name == "data" and event == "done":
                self._report.fallbacks += json.loads(value)["usedFallback"]
        if event != "done":
            return "stream without an end"
        self._report.first_words.append(first or 0.0)
        return "ok"

    def _error(self, body: bytes) -> str:
        try:
            error = json.loads(body)["error"]
            if set(error) == KEYS:
                return str(error["code"])
        except (ValueError, KeyError, TypeError):
            pass
        self._report.misformed.append(body[:200].decode("utf-8", "replace"))
        return "misformed"


async def _figures(client: httpx2.AsyncClient) -> tuple[dict[str, float], Counter[str]]:
    """Returns what the gateway says of itself that a load test is to report, and how often which breaker opened."""
    text = (await client.get("/metrics")).text
    found = [(name, labels or "", float(value)) for name, labels, value in _SERIES.findall(text)]

    def total(name: str, *within: str) -> float:
        return sum(value for each, labels, value in found if each == name and all(word in labels for word in within))

    opened: Counter[str] = Counter()
    for name, labels, value in found:
        strategy = _STRATEGY.search(labels)
        if name == "seawall_circuit_breaker_transitions_total" and 'state="open"' in labels and strategy:
            opened[strategy[1]] += int(value)
    figures = {
        "retries": total("seawall_retry_attempts_total"),
        "hedges": total("seawall_strategy_events_total", 'strategy_name="chat.hedge"'),
        "bulkhead_rejections": total("seawall_bulkhead_rejected_total"),
        "memory_bytes": total("seawall_process_memory_bytes"),
        "open_files": total("seawall_process_open_fds"),
        "cpu_seconds": total("seawall_process_cpu_seconds_total"),
    }
    return figures, opened
