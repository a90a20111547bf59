"""What tests of health share: monitors with names of their own, and checks that are told what to find."""

# ruff: noqa: D102 - the classes say it

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from seawall.health import Check, Monitor, Report

NUMBERS = itertools.count(1)
PATIENCE = 5.0  # real seconds after which what hangs is given up


def monitor(*checks: Check, **options: Any) -> Monitor:
    """Returns a monitor with a name of its own: one in use twice is warned of."""
    options.setdefault("rng", lambda: 0.5)  # no jitter
    return Monitor(checks, name=f"monitor {next(NUMBERS)}", **options)


class Found:
    """The function of a check that finds one outcome a run, the last one for ever; an exception is raised."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = outcomes
        self.at: list[float] = []
        self.clock: Callable[[], float] = time.monotonic

    @property
    def runs(self) -> int:
        return len(self.at)

    def next(self) -> Any:
        self.at.append(self.clock())
        outcome = self.outcomes[min(self.runs, len(self.outcomes)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def __call__(self) -> Any:
        return self.next()


class FoundOnThread(Found):
    """The same as a plain function."""

    def __call__(self) -> Any:  # type: ignore[override]
        return self.next()


class Hanging:
    """The function of a check that hangs until it is let go: on a thread, in a task, in a stubborn one."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.runs = 0

    def on_thread(self) -> None:
        self.runs += 1
        assert self.released.wait(60)

    async def in_task(self) -> None:
        self.runs += 1
        await asyncio.Event().wait()

    async def stubborn(self) -> None:
        self.runs += 1
        while not self.released.is_set():
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                pass


def statuses(report: Report) -> dict[str, str]:
    """Returns the status of each check in a report."""
    return {entry.name: entry.status for entry in report.checks}


async def until(condition: Callable[[], bool]) -> None:
    """Waits, in real time, for something that another thread or task does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        await asyncio.sleep(0.002)
