"""Hedge: a second attempt beside a slow first one; the first answer wins."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Callable
from typing import Any

from seawall._core import arguments
from seawall._core.arguments import Matcher, Seconds
from seawall._core.budget import RetryBudget, counted_acall, counted_outside
from seawall._core.chain import IN_WORDS, Call, Kind, Place
from seawall._core.clock import Clock
from seawall._core.context import NOTHING, current
from seawall._core.events import LOGGER, BudgetRefused, Hedged
from seawall._core.forks import renew_after_fork
from seawall._core.outcome import asker
from seawall._core.strategy import Layer, Strategy
from seawall._core.window import Durations


class Hedge(Layer):
    """Starts another attempt of an async call when the first is slow, and returns the first answer.

    For calls that may safely run twice; one of which an integration knows that it may not, such as a POST without an
    idempotency key, is made once. A failure listed in `on` starts the next attempt at once; any other ends the
    call. When all attempts fail, the last failure is raised. When the call ends, however it ends, every other attempt
    has been cancelled and waited for; a result that comes too late is closed, if it can be (`aclose` or `close`), or
    handed to `dispose`.

    Args:
        after: seconds before another attempt; 0 starts all at once, infinity goes on only after a failure. Or a learned
            delay such as "p95": that quantile of the last 512 successful attempts, with no hedging until there are
            `min_samples`; default 0.05.
        max_extra: attempts beside the first; default 1.
        on: the failures after which another attempt may do better; default `Exception`.
        budget: a `RetryBudget`; refused, the call goes on without the extra attempt.
        min_samples: durations needed for a learned delay; default 50.
        dispose: what to do with a result that comes too late; a function or async function; default: close it.
        name, clock: see `Strategy`.
    """

    word = "hedge"
    example = "Hedge(0.05, max_extra=1)"

    def __init__(
        self,
        after: Seconds | str = 0.05,
        *,
        max_extra: int = 1,
        on: Matcher = Exception,
        budget: RetryBudget | None = None,
        min_samples: int = 50,
        dispose: Callable[[Any], Any] | None = None,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        quantile = _quantile(after) if isinstance(after, str) else None
        self.after = after if isinstance(after, str) else arguments.seconds("after", after, zero=True, infinite=True)
        self.max_extra = arguments.whole("max_extra", max_extra, least=1)
        self.on = arguments.matcher("on", on)
        if budget is not None and not isinstance(budget, RetryBudget):
            raise TypeError(f"budget={budget!r} is no budget; use RetryBudget(rate=0.2, min_concurrent=3)")
        self.budget = budget
        self.min_samples = arguments.whole("min_samples", min_samples, least=1)
        self.dispose = _close if dispose is None else arguments.function("dispose", dispose, "a function of the result")
        self.handles = asker(on)
        self._durations = None if quantile is None else Durations(quantile)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def settings(self) -> dict[str, object]:
        return {"after": self.after, "max_extra": self.max_extra, "on": self.on, "budget": self.budget}

    def delay(self) -> float:
        """Returns the seconds before another attempt, as of now; infinite while too little is learned."""
        if self._durations is None:
            return float(self.after)
        with self._lock:
            return self._durations.value() if len(self._durations) >= self.min_samples else math.inf

    def learn(self, duration: float) -> None:
        """Takes note of how long a successful attempt took."""
        if self._durations is not None:
            with self._lock:
                self._durations.add(duration)

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        if kind != "acall":
            raise TypeError(f"{self.name!r} is a Hedge, which serves async functions only, not {IN_WORDS[kind]}")

        async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            repeatable = (current() or NOTHING).repeatable
            if repeatable is not None and not repeatable(None):
                return await inner(fn, args, kwargs)
            return await _Race(self, lambda: inner(fn, args, kwargs)).run()

        return call if counted_outside(self.budget, place.outside) else counted_acall(self.budget, call)

    def adopt(self, old: Strategy) -> None:
        super().adopt(old)
        if isinstance(old, Hedge) and old.after == self.after:
            self._durations, self._lock = old._durations, old._lock


class _Race:
    """One hedged call."""

    def __init__(self, hedge: Hedge, start: Callable[[], Any]) -> None:
        self._hedge = hedge
        self._start = start
        self._running: set[asyncio.Task[Any]] = set()
        self._held = 0
        self._over = False
        self._begun = 0

    async def run(self) -> Any:
        decided: asyncio.Task[Any] | None = None
        try:
            decided = await self._race()
            self._over = True
            await self._stop_losers()
        except BaseException:
            if decided is not None:
                self._running.add(decided)  # nobody will have its result
            await self._stop_losers()
            raise
        finally:
            while self._hedge.budget is not None and self._held:
                self._held -= 1
                self._hedge.budget.release()
        try:
            return decided.result()
        finally:
            del decided  # no cycle of failure, traceback and frame

    async def _race(self) -> asyncio.Task[Any]:
        """Returns the attempt that decides: the first answer, the first failure that ends it all, or the last one."""
        hedge = self._hedge
        last: asyncio.Task[Any] | None = None
        self._begin()
        while self._running:
            more = self._begun <= hedge.max_extra
            done = await self._wait(hedge.delay() if more else math.inf)
            for task in done:
                self._running.discard(task)
                if task.cancelled():
                    return task
                failure = task.exception()
                if not isinstance(failure, Exception) or not hedge.handles(failure):
                    return task
                last = task
            if more and not self._extend("failed" if done else "slow") and not self._running:
                break
        assert last is not None
        return last

    async def _wait(self, delay: float) -> set[asyncio.Task[Any]]:
        """Waits for an attempt to end, or for the delay. An attempt that ends just then counts as ended."""
        if delay == 0:
            return {task for task in self._running if task.done()}
        timeout = None if math.isinf(delay) else delay
        self._hedge.clock.drive(asyncio.get_running_loop())
        done, _ = await asyncio.wait(self._running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return done

    def _extend(self, reason: str) -> bool:
        """Starts another attempt, if there may be one."""
        hedge = self._hedge
        if hedge.budget is not None:
            if not hedge.budget.try_acquire():
                hedge.hub.tell(BudgetRefused(hedge.name, hedge.budget.name))
                self._begun = hedge.max_extra + 1
                return False
            self._held += 1
        hedge.hub.tell(Hedged(hedge.name, self._begun + 1, reason))
        self._begin()
        return True

    def _begin(self) -> None:
        self._begun += 1
        self._running.add(asyncio.ensure_future(self._attempt()))

    async def _attempt(self) -> Any:
        began = self._hedge.clock.now()
        try:
            result = await self._start()
        except asyncio.CancelledError:
            took = self._hedge.clock.now() - began
            if self._over and took >= self._hedge.delay():
                self._hedge.learn(
                    took
                )  # a slow loser: it would have taken longer, and without it p95 would be too short
            raise
        self._hedge.learn(self._hedge.clock.now() - began)
        return result

    async def _stop_losers(self) -> None:
        """Cancels what still runs, waits for it through any further cancellation, and disposes of late results."""
        losers, self._running = self._running, set()
        for task in losers:
            task.cancel()
        cancelled = [await _through(task) for task in losers]
        for task in losers:
            if not task.cancelled() and task.exception() is None:
                cancelled.append(await _through(asyncio.ensure_future(self._dispose(task.result()))))
        for error in cancelled:
            if error is not None:
                raise error

    async def _dispose(self, result: Any) -> None:
        try:
            outcome = self._hedge.dispose(result)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            LOGGER.exception("%r could not dispose of a late result", self._hedge.name)


async def _through(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Waits for a task to end, also while being cancelled oneself; returns the last cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _close(result: Any) -> Any:
    close = getattr(result, "aclose", None) or getattr(result, "close", None)
    return close() if callable(close) else None


def _quantile(text: str) -> float:
    wanted = "seconds, or a quantile such as 'p95'"
    if not (text.startswith("p") and text[1:].isdigit() and 0 < int(text[1:]) < 100):
        raise ValueError(f"after={text!r} is unknown; use {wanted}")
    return int(text[1:]) / 100
