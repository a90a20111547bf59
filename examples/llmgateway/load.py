"""A load test of the gateway: customers who ask, wait for the whole answer, think for a moment, and ask again.

`python -m examples.llmgateway.load --users 10 --seconds 10 --faults 0.1` starts a gateway and puts it under load; with
`--url` one that runs already. It is bounded: so many customers, so many seconds, and at most 200,000 requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from examples.llmgateway.clients import tls
from examples.llmgateway.provider import Faults
from examples.llmgateway.system import System

MOST: Final = 200_000
PATIENCE: Final = 30.0
"""Seconds after which a customer gives up, and counts it as an error."""
TARGETS: Final = {"p50": 0.2, "p95": 1.0, "p99": 3.0}
KEYS: Final = frozenset({"code", "message", "timestamp", "correlationId", "details"})
_SERIES: Final = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """How many customers, and how they ask.

    Args:
        users: at once.
        seconds: for how long they go on asking; the answers of the last requests are waited for.
        think: seconds between an answer and the next question, on average.
        streamed: the share of requests whose answer is streamed.
        seed: of the chance.
    """

    users: int = 10
    seconds: float = 10.0
    think: float = 0.05
    streamed: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.users <= 1000 and 0 < self.seconds <= 3600 and self.think >= 0 and 0 <= self.streamed <= 1):
            raise ValueError(f"{self!r} is no load; use 1 to 1000 users, up to 3600 seconds, and a share of 0 to 1")


@dataclass
class Report:
    """What came of it.

    Attributes:
        durations: seconds until the whole answer was there, of the requests that succeeded.
        first_words: seconds until the first event, of the streams that succeeded.
        outcomes: how requests ended: "ok", or the code of the error, or what happened in the place of an answer.
        misformed: errors that were not in the error format; must be empty.
        figures: what the gateway's metrics say of the run.
    """

    load: Load
    seconds: float = 0.0
    durations: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    at_once: int = 0
    most_at_once: int = 0
    misformed: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.outcomes.total()

    @property
    def error_rate(self) -> float:
        """The share of requests without a whole answer."""
        return 1 - self.outcomes["ok"] / self.requests if self.requests else 0.0

    @property
    def availability(self) -> float:
        """The share of requests that were answered, if with an error that blames the request."""
        blamed = self.outcomes["VALIDATION_ERROR"] + self.outcomes["NOT_FOUND"]
        return (self.outcomes["ok"] + blamed) / self.requests if self.requests else 1.0

    def percentile(self, share: float) -> float:
        """Returns the seconds within which such a share of the answers was there."""
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns it as JSON can hold it."""
        return {
            "concurrent_users": self.load.users,
            "most_requests_at_once": self.most_at_once,
            "seconds": round(self.seconds, 2),
            "requests": self.requests,
            "throughput": round(self.requests / self.seconds, 1) if self.seconds else 0.0,
            "error_rate": round(self.error_rate, 6),
            "availability": round(self.availability, 6),
            "outcomes": dict(self.outcomes),
            "latency": {f"p{share}": round(self.percentile(share / 100), 4) for share in (50, 95, 99)}
            | {"max": round(max(self.durations, default=0.0), 4)},
            "first_word_p50": round(sorted(self.first_words)[len(self.first_words) // 2], 4)
            if self.first_words
            else None,
            "fallbacks": self.fallbacks,
            "misformed": self.misformed[:10],
            **{name: round(value, 3) for name, value in self.figures.items()},
        }

    def missed(self) -> list[str]:
        """Returns the targets that were not met."""
        late = [
            f"{name} {self.percentile(int(name[1:]) / 100):.3f} s, not below {limit} s"
            for name, limit in TARGETS.items()
            if self.percentile(int(name[1:]) / 100) >= limit
        ]
        if self.error_rate >= 0.001:
            late.append(f"error rate {self.error_rate:.2%}, not below 0.1 %")
        if self.availability <= 0.999:
            late.append(f"availability {self.availability:.2%}, not above 99.9 %")
        return late + [f"not in the error format: {each}" for each in self.misformed[:3]]


async def run(url: str, load: Load) -> Report:
    """Puts the gateway at `url` under load; returns the report."""
    report = Report(load)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=load.users)
    transport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=limits)
    async with httpx2.AsyncClient(transport=transport, base_url=url, timeout=PATIENCE) as client:
        before = await _figures(client)
        began = time.perf_counter()
        users = [_User(client, load, number, report, began + load.seconds) for number in range(load.users)]
        await asyncio.gather(*(user.ask_on() for user in users))
        report.seconds = time.perf_counter() - began
        after = await _figures(client)
    grown = ("breaker_openings", "retries", "bulkhead_rejections", "hedges", "cpu_seconds")
    report.figures = {name: value - before[name] if name in grown else value for name, value in after.items()}
    return report


class _User:
    """One customer."""

    def __init__(self, client: httpx2.AsyncClient, load: Load, number: int, report: Report, until: float) -> None:
        self._client, self._load, self._report, self._until = client, load, report, until
        self._chance = random.Random(f"{load.seed}:{number}")

    async def ask_on(self) -> None:
        await asyncio.sleep(self._chance.random() * self._load.think)
        while time.perf_counter() < self._until and self._report.requests < MOST:
            report = self._report
            report.at_once += 1
            report.most_at_once = max(report.most_at_once, report.at_once)
            outcome = await self._outcome()
            report.at_once -= 1
            report.outcomes[outcome] += 1
            await asyncio.sleep(self._chance.expovariate(1 / self._load.think) if self._load.think else 0)

    async def _outcome(self) -> str:
        """Asks once; returns how it ended, if with no answer at all."""
        try:
            return await self._ask()
        except httpx2.TimeoutException:
            return "gave up"
        except httpx2.HTTPError as error:
            return type(error).__name__

    async def _ask(self) -> str:
        """Asks once; returns "ok", or the code of the error."""
        streamed = self._chance.random() < self._load.streamed
        body = {"messages": [{"role": "user", "content": "What does a seawall do?"}], "stream": streamed}
        began = time.perf_counter()
        async with self._client.stream("POST", "/v1/chat", json=body) as response:
            if response.status_code != 200:
                return self._error(await response.aread())
            if streamed:
                outcome = await self._stream(response, began)
            else:
                self._report.fallbacks += json.loads(await response.aread())["usedFallback"]
                outcome = "ok"
        if outcome == "ok":
            self._report.durations.append(time.perf_counter() - began)
        return outcome

    async def _stream(self, response: httpx2.Response, began: float) -> str:
        event, first = "", None
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event, first = value, first or time.perf_counter() - began
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


async def _figures(client: httpx2.AsyncClient) -> dict[str, float]:
    """Returns what the gateway says of itself that a load test is to report; 0 where it does not say."""
    text = (await client.get("/metrics")).text
    found = [(name, labels or "", float(value)) for name, labels, value in _SERIES.findall(text)]

    def total(name: str, *within: str) -> float:
        return sum(value for each, labels, value in found if each == name and all(word in labels for word in within))

    return {
        "breaker_openings": total("seawall_circuit_breaker_transitions_total", 'state="open"'),
        "retries": total("seawall_retry_attempts_total"),
        "hedges": total("seawall_strategy_events_total", 'strategy_name="chat.hedge"'),
        "bulkhead_rejections": total("seawall_bulkhead_rejected_total"),
        "memory_bytes": total("seawall_process_memory_bytes"),
        "open_files": total("seawall_process_open_fds"),
        "cpu_seconds": total("seawall_process_cpu_seconds_total"),
    }


async def _own(load: Load, faults: float) -> Report:
    """Starts a gateway in this process, and puts it under load."""
    async with System() as system:
        for number, provider in enumerate(system.providers.values()):
            provider.faults = Faults(faults, seed=number)
        return await run(system.url, load)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a load test; returns 0 where all targets were met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m examples.llmgateway.load", description="Load on the LLM gateway.")
    add = parser.add_argument
    add("--url", help="of a gateway that runs; default: one that is started for this")
    add("--users", type=int, default=10, help="at once; default 10")
    add("--seconds", type=float, default=10.0, help="default 10")
    add("--think", type=float, default=0.05, help="seconds between answer and question; default 0.05")
    add("--streamed", type=float, default=0.25, help="share of streamed answers; default 0.25")
    add("--faults", type=float, default=0.1, help="share of requests that providers fail, without --url; default 0.1")
    options = parser.parse_args(arguments)
    load = Load(options.users, options.seconds, options.think, options.streamed)
    report = asyncio.run(_own(load, options.faults) if options.url is None else run(options.url, load))
    print(json.dumps(report.as_dict(), indent=2))
    for missed in report.missed():
        print(f"missed: {missed}", file=sys.stderr)
    return 1 if report.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
