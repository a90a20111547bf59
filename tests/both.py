"""A scenario written once and run in every colour: sync, async, and with every call on a thread of its own.

`@both def test_...(colour: Colour)` runs in the first two, `@every` in all three, `@concurrent` where calls overlap::

    fn = colour.script(ConnectionError, Lasts(0.5, "done"))             # fails, then lasts half a second
    assert "done" == colour.call(Retry(on=ConnectionError, backoff=1.0), fn)
    assert ([0.0, 1.0], 1.5) == (fn.started, colour.clock.now())        # each run has a fake clock of its own
"""

import asyncio
import contextvars
import functools
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
    seconds: float
    outcome: Any = None


class Held:
    def __init__(self, outcome: Any = None) -> None:
        self.outcome, self.thread, self.task = outcome, threading.Event(), asyncio.Event()

    def let_go(self) -> None:
        """Ends the call that is held."""
        self.thread.set()
        self.task.set()


class Script:
    """A function that plays one outcome a call, the last one for ever; `started` holds the instants of its calls.

    An exception is raised, a function is called for the outcome, `Lasts` lets time pass first, `Held` waits.
    """

    def __init__(self, clock: FakeClock, outcomes: tuple[Any, ...]) -> None:
        self.started: list[float] = []
        self.__qualname__ = f"script {next(NUMBERS)}"  # strategies are named after what they decorate
        self._clock, self._outcomes = clock, outcomes

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.started)

    def _next(self) -> Any:
        self.started.append(self._clock.now())
        return self._outcomes[min(self.calls, len(self._outcomes)) - 1]

    def _play(self, outcome: Any) -> Any:
        outcome = outcome.outcome if isinstance(outcome, Lasts | Held) else outcome
        outcome = outcome() if callable(outcome) else outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class _SyncScript(Script):
    def __call__(self) -> Any:
        outcome = self._next()
        if isinstance(outcome, Lasts):
            self._clock.advance(outcome.seconds)
        assert not isinstance(outcome, Held) or outcome.thread.wait(PATIENCE), "was never let go"
        return self._play(outcome)


class _AsyncScript(Script):
    async def __call__(self) -> Any:
        outcome = self._next()
        if isinstance(outcome, Lasts):
            self._clock.drive(asyncio.get_running_loop())
            await asyncio.sleep(outcome.seconds)
        if isinstance(outcome, Held):
            await outcome.task.wait()
        return self._play(outcome)


class Sync:
    """Plain calls. `Threads` makes each on a new thread, `Async` makes async ones, each in a new event loop.

    With these two `start` begins a call, `end` waits for its end, and `until` for a condition meanwhile.
    """

    def __init__(self, clock: FakeClock, runner: asyncio.Runner) -> None:
        self.clock, self._runner = clock, runner
        self.script = functools.partial(_AsyncScript if isinstance(self, Async) else _SyncScript, clock)

    def call(self, target: Pipeline | Strategy, fn: Any) -> Any:
        """Calls `fn` through a pipeline or a strategy."""
        return target.call(fn) if isinstance(target, Pipeline) else target(fn)()


class Threads(Sync):
    call = lambda self, target, fn: self.end(self.start(target, fn))
