"""What the tests of the LLM gateway share: a gateway on free ports, questions, streams, scripted providers."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from examples.llmgateway.clients import tls
from examples.llmgateway.system import System
from seawall import snapshot

KEYS = {"code", "message", "timestamp", "correlationId", "details"}
BRISK = {
    f"SEAWALL_POLICIES__{name}__{setting}": value
    for name in ("ANTHROPIC", "OPENAI", "EXTERNAL", "QUEUE")
    for setting, value in (("RETRY__BACKOFF__EXPONENTIAL", "0.05"), ("TIMEOUT", "0.6"))
} | {
    "SEAWALL_POLICIES__CHAT__HEDGE__AFTER": "0.1",
    "SEAWALL_POLICIES__DATABASE__RETRY__BACKOFF__LINEAR": "0.05",
    "SEAWALL_POLICIES__DATABASE__TIMEOUT": "0.4",
    "SEAWALL_POLICIES__DATABASE_CONNECTION__RETRY__BACKOFF__EXPONENTIAL": "0.05",
}
"""Policies whose waits and time-outs are short enough for tests on real sockets."""


def free_names() -> None:
    """Let go of the pipelines of the test before, if they are still there: seawall warns of a name used twice."""
    for generation in range(3):  # a whole collection takes long, and is rarely needed
        if snapshot():
            gc.collect(generation)


@asynccontextmanager
async def gateway(**given: Any) -> AsyncIterator[tuple[System, httpx2.AsyncClient]]:
    """Run the gateway and its stand-ins; yield them, and a customer's client."""
    free_names()
    system = System(**{"environ": BRISK, **given})
    async with system, customer(system.url) as client:
        yield system, client


def customer(url: str) -> httpx2.AsyncClient:
    """Return a customer's client of a gateway."""
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False), base_url=url, timeout=20
    )


def question(**given: Any) -> dict[str, Any]:
    """Return what a customer asks; anthropic is asked first."""
    return {"messages": [{"role": "user", "content": "What does a seawall do?"}], "provider": "anthropic", **given}


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the error in a response, which is in the format of all errors and has the id of its header."""
    error: dict[str, Any] = response.json()["error"]
    assert KEYS == set(error), response.text
    assert response.headers["X-Correlation-Id"] == error["correlationId"]
    return error


async def streamed(client: httpx2.AsyncClient, **given: Any) -> list[tuple[str, dict[str, Any]]]:
    """Ask for a stream; return its events."""
    async with client.stream("POST", "/v1/chat", json=question(stream=True, **given)) as response:
        assert (200, "text/event-stream") == (
            response.status_code,
            response.headers["content-type"].partition(";")[0],
        )
        return [event async for event in events_of(response)]


async def events_of(response: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Return the events of a response as they come."""
    event = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)
