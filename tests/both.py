"""A scenario written once and run in every colour: sync, async, and with every call on a thread of its own.

`@both def test_...(colour: Colour)` runs in the first two, `@every` in all three, `@concurrent` where calls overlap::

    fn = colour.script(ConnectionError, Lasts(0.5, "done"))  # fails, then lasts half a second
    assert "done" == colour.call(Retry(on=ConnectionError, backoff=1.0), fn)
    assert ([0.0, 1.0], 1.5) == (fn.started, colour.clock.now())  # each run has a fake clock of its own
"""

# ruff: noqa: D102 - an override does what the method says that it overrides

import asyncio
import contextvars
import functools
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from seawall import Pipeline, Strategy
from seawall.testing import FakeClock

PATIENCE = 5.0  # real seconds after which what hangs is given up
NUMBERS = itertools.count(1)


def pipeline(*strategies: Strategy) -> Pipeline:
    """Returns a pipeline with a name of its own: one in use twice is warned of."""
    return Pipeline(f"pipeline {next(NUMBERS)}", *strategies)


class Lasts(NamedTuple):
    """An outcome that takes so many seconds of the fake clock."""

    seconds: float
    outcome: Any = None


class Held:
    """An outcome that waits until it is let go."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome, self.thread, self.task = outcome, threading.Event(), asyncio.Event()

    def let_go(self) -> None:
        self.thread.set()
        self.task.set()


class Script:
    """A function that plays one outcome a call, the last one for ever; `started` holds the instants of its calls.

    An exception is raised, a function is called for the outcome, `Lasts` lets time pass first, `Held` waits.
    """

    def __init__(self, clock: FakeClock, *outcomes: Any) -> None:
        self.clock, self.outcomes = clock, outcomes
        self.started: list[float] = []
        self.__qualname__ = f"script {next(NUMBERS)}"  # strategies are named after what they decorate

    @property
    def calls(self) -> int:
        return len(self.started)

    def __call__(self) -> Any:
        outcome = self.begin()
        if isinstance(outcome, Lasts):
            self.clock.advance(outcome.seconds)
        if isinstance(outcome, Held):
            assert outcome.thread.wait(PATIENCE), "was never let go"
        return self.end(outcome)

    def begin(self) -> Any:
        self.started.append(self.clock.now())
        return self.outcomes[min(self.calls, len(self.outcomes)) - 1]

    def end(self, outcome: Any) -> Any:
        outcome = outcome.outcome if isinstance(outcome, Lasts | Held) else outcome
        outcome = outcome() if callable(outcome) else outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class AsyncScript(Script):
    """A script that is an async function."""

    async def __call__(self) -> Any:
        outcome = self.begin()
        if isinstance(outcome, Lasts):
            self.clock.drive(asyncio.get_running_loop())
            await asyncio.sleep(outcome.seconds)
        if isinstance(outcome, Held):
            await outcome.task.wait()
        return self.end(outcome)


class Sync:
    """Plain calls on the test's own thread: `colour.call(strategy or pipeline, colour.script(*outcomes))`."""

    def __init__(self, clock: FakeClock, runner: asyncio.Runner) -> None:
        self.clock, self.runner = clock, runner
        self.script = functools.partial(AsyncScript if isinstance(self, Async) else Script, clock)

    def call(self, target: Pipeline | Strategy, fn: Any) -> Any:
        return target.call(fn) if isinstance(target, Pipeline) else target(fn)()


class Threads(Sync):
    """Plain calls, each on a thread of its own. `start` begins one, `end` waits for it, `until` for a condition."""

    def call(self, target: Pipeline | Strategy, fn: Any) -> Any:
        return self.end(self.start(target, fn))

    def start(self, target: Pipeline | Strategy, fn: Any) -> Any:
        return ThreadPoolExecutor(1).submit(contextvars.copy_context().run, super().call, target, fn)

    def end(self, flight: Any) -> Any:
        return flight.result(PATIENCE)

    def until(self, condition: Callable[[], bool]) -> None:
        assert any(condition() or self.pause() for _ in range(1000)), "never came true"

    def pause(self) -> None:
        threading.Event().wait(PATIENCE / 1000)


class Async(Threads):
    """Async calls, each in an event loop of its own; those that are started share one."""

    def call(self, target: Pipeline | Strategy, fn: Any) -> Any:
        return asyncio.run(bounded(target.acall(fn) if isinstance(target, Pipeline) else target(fn)()))

    def start(self, target: Pipeline | Strategy, fn: Any) -> Any:
        call = target.acall(fn) if isinstance(target, Pipeline) else target(fn)()
        return self.runner.get_loop().create_task(call)

    def end(self, flight: Any) -> Any:
        self.runner.run(bounded(asyncio.wait({flight})))
        return flight.result()

    def pause(self) -> None:
        self.runner.run(asyncio.sleep(0))


async def bounded(call: Any) -> Any:
    """Awaits a call; one that hangs is cancelled."""
    hung = asyncio.current_task().cancel, f"still running after {PATIENCE} s"
    timer = threading.Timer(PATIENCE, asyncio.get_running_loop().call_soon_threadsafe, hung)
    timer.start()
    try:
        return await call
    finally:
        timer.cancel()


Colour = Sync | Threads | Async


def run_in(*colours: type[Sync]) -> Callable[[Callable[..., None]], Any]:
    """Returns a decorator that runs a test once for each colour, which it is given as its argument `colour`."""

    def decorate(test: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("colour", colours, ids=lambda kind: kind.__name__.lower())
        @functools.wraps(test)
        def run(colour: type[Sync], **others: Any) -> None:
            with FakeClock() as clock, asyncio.Runner() as runner:
                test(colour(clock, runner), **others)

        return run

    return decorate


both, every, concurrent = run_in(Sync, Async), run_in(Sync, Async, Threads), run_in(Threads, Async)
