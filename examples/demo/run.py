"""A run from its start to its report: the server, both variants, the load, the view."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import httpx2
from rich.console import Console

from examples.demo.child import Child
from examples.demo.figures import Tally, figures
from examples.demo.pipeline import BarePrices, ProtectedPrices
from examples.demo.report import Report
from examples.demo.script import Script
from examples.demo.traffic import Variant, open_loop
from examples.demo.view import Run, watch
from seawall import CircuitBreaker


async def demonstrate(console: Console, seconds: float, rate: float, seed: int, live: bool) -> Report:
    """Runs the demo and returns its report, of the run so far when it is cancelled."""
    async with (
        Child(Script(seconds, seed)) as child,
        _client(child.port, "bare") as bare_client,
        _client(child.port, "protected") as protected_client,
    ):
        prices = ProtectedPrices(protected_client, open_for=min(1.0, seconds / 20), seed=seed)
        bare = Variant("bare", BarePrices(bare_client).price, seconds)
        protected = Variant("protected", prices.price, seconds)
        for variant in (bare, protected):
            await variant.warm()
        tally = Tally(prices.pipeline)
        child.start()
        start = asyncio.get_running_loop().time()
        run = Run(child, bare, protected, prices.pipeline.get(CircuitBreaker), seconds, start)
        async with _watching(run, console, live):
            interrupted = await _interrupted(open_loop((bare, protected), rate, seconds, start))
        ended = run.now
        await child.stop()
    healed = None if child.healed is None else child.healed - start
    return Report(
        figures(bare, Tally(), child.reached_broken("bare"), healed),
        figures(protected, tally, child.reached_broken("protected"), healed),
        broken_for=child.script.broken_until(ended),
        interrupted=interrupted,
    )


def _client(port: int, caller: str) -> httpx2.AsyncClient:
    """Returns a client with httpx2's own time-outs and limits, which tells the server who calls."""
    # trust_env: what is meant for this machine must not go through a proxy of the environment.
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"X-Caller": caller}, trust_env=False)


@contextlib.asynccontextmanager
async def _watching(run: Run, console: Console, live: bool) -> AsyncIterator[None]:
    """Shows the run during the block."""
    watching = asyncio.create_task(watch(run, console, live))
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _interrupted(load: Coroutine[Any, Any, None]) -> bool:
    """Runs the load; returns whether Ctrl-C, which asyncio turns into a cancellation, cut it short."""
    task = asyncio.current_task()
    try:
        await load
    except asyncio.CancelledError:
        if task is not None:
            task.uncancel()
        return True
    return False
