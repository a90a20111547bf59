"""The three rate-limit algorithms agree with naive models, over waits, cancellations and refusals."""

import asyncio
import types
from collections.abc import Generator
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seawall import RateLimit, RateLimitedError
from seawall.testing import FakeClock

NUMBERS = count()
WHICH = st.integers(0, 30)
EIGHTHS = st.integers(0, 24).map(lambda eighths: eighths / 8)


class ByHand(FakeClock):
    """A clock whose async sleeps are woken by hand."""

    @types.coroutine
    def _suspend(self) -> Generator[None, None, None]:
        yield

    async def asleep(self, seconds: float) -> None:
        """Suspends until the test goes on with the coroutine."""
        await self._suspend()


class RateLimitMachine(RuleBasedStateMachine):
    """Model: a list of all booked instants, and the instants that were given back."""

    @initialize(
        algorithm=st.sampled_from(["token_bucket", "sliding_window", "gcra"]),
        rate=st.sampled_from([1, 2, 4, 8]),
        per=st.sampled_from([1.0, 2.0]),
        burst=st.sampled_from([None, 1, 3]),
        max_wait=st.sampled_from([0.0, 0.5, 2.0, 100.0]),
    )
    def begin(self, algorithm: Any, rate: int, per: float, burst: int | None, max_wait: float) -> None:
        """Makes a limit; all figures are exact in binary, so that the model needs no tolerance."""
        extra = {} if algorithm == "sliding_window" else {"burst": burst}
        self.clock = ByHand()
        self.limit = RateLimit(
            rate,
            per=per,
            algorithm=algorithm,
            max_wait=max_wait,
            clock=self.clock,
            name=f"ratelimit-model-{next(NUMBERS)}",
            **extra,
        )
        self.algorithm, self.rate, self.per, self.max_wait = algorithm, rate, per, max_wait
        self.burst = self.limit.burst
        self.freed: list[float] = []
        self.ahead: list[float] = []
        self.passed: list[float] = []
        self.window: list[float] = []
        self.waiting: list[tuple[float, Any]] = []
        self.started: list[float] = []

    # the model

    def _settle(self) -> None:
        """Forgets instants that were given back and have passed unused; all others that have passed stand."""
        now = self.clock.now()
        for instant in [instant for instant in self.freed if instant < now]:
            self.freed.remove(instant)
            if instant in self.ahead:
                self.ahead.remove(instant)
            if instant in self.window:
                self.window.remove(instant)
        while self.ahead and self.ahead[0] < now:
            self.passed.append(self.ahead.pop(0))

    def _next(self) -> float:
        """Says when the next call could start that takes no freed instant."""
        now = self.clock.now()
        if self.algorithm == "sliding_window":
            if len(self.window) < self.rate:
                return max([now, *self.window[-1:]])
            return max(now, self.window[0] + self.per)
        due, interval = float("-inf"), self.per / self.rate
        for start in [*self.passed, *self.ahead]:
            due = max(due, start) + interval
        return max(now, due - (self.burst - 1) * interval)

    def _book(self, start: float) -> None:
        self.ahead.append(start)
        self.window = [*self.window, start][-self.rate :]

    def _expected(self) -> tuple[float, bool]:
        """Returns the wait of the next call, and whether it is granted; books it where it is."""
        now = self.clock.now()
        self._settle()
        start = min(self.freed) if self.freed else self._next()
        granted = start - now <= self.max_wait
        if granted and self.freed:
            self.freed.remove(start)
        elif granted:
            self._book(start)
        return start - now, granted

    # what happens

    @rule()
    def ask(self) -> None:
        """A call asks for its turn: it starts, waits, or is refused at once."""
        wait, granted = self._expected()
        call = self.limit.aturn()
        try:
            call.send(None)
        except StopIteration:
            assert (0.0, True) == (wait, granted)
            self.started.append(self.clock.now())
        except RateLimitedError as error:
            refused = error.retry_after
        else:
            assert granted
            assert wait > 0
            self.waiting.append((self.clock.now() + wait, call))
        if not granted:
            assert wait == refused

    @rule(times=st.integers(2, 12))
    def ask_often(self, times: int) -> None:
        """Many calls ask at one instant."""
        for _ in range(times):
            self.ask()

    @precondition(lambda self: self.waiting)
    @rule(which=WHICH, error=st.sampled_from([asyncio.CancelledError, KeyboardInterrupt, GeneratorExit]))
    def cancel(self, which: int, error: type[BaseException]) -> None:
        """A call that waits is cancelled, before its instant or late."""
        start, call = self.waiting.pop(which % len(self.waiting))
        try:
            call.throw(error())
        except error:
            pass
        self.freed.append(start)

    @rule(seconds=EIGHTHS)
    def wait(self, seconds: float) -> None:
        """Time passes, and whoever's instant has come starts."""
        self.clock.advance(seconds)
        self._wake()

    @rule(seconds=EIGHTHS)
    def oversleep(self, seconds: float) -> None:
        """Time passes, and nobody wakes yet."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.waiting)
    @rule()
    def wait_for_the_first(self) -> None:
        """Time passes exactly until the next instant."""
        self.clock.advance(max(0.0, min(start for start, _ in self.waiting) - self.clock.now()))
        self._wake()

    def _wake(self) -> None:
        due = [waiter for waiter in self.waiting if waiter[0] <= self.clock.now()]
        self.waiting = [waiter for waiter in self.waiting if waiter not in due]
        for start, call in due:
            try:
                call.send(None)
            except StopIteration:
                self.started.append(start)

    def teardown(self) -> None:
        """Ends what still waits."""
        for _, call in getattr(self, "waiting", []):
            call.close()

    @invariant()
    def no_span_holds_more_than_it_may(self) -> None:
        """Strictly for the sliding window; by rate x span + burst for the others; over all granted instants."""
        if not hasattr(self, "limit"):
            return
        starts = sorted([*self.started, *(start for start, _ in self.waiting)])
        if self.algorithm == "sliding_window":
            spans = [later - start for start, later in zip(starts, starts[self.rate :], strict=False)]
            assert all(span >= self.per for span in spans)
            return
        for place, start in enumerate(starts):
            for number, later in enumerate(starts[place:], 1):
                assert number <= (later - start) * self.rate / self.per + self.burst


TestRateLimit = RateLimitMachine.TestCase
TestRateLimit.settings = settings(max_examples=120, stateful_step_count=30, deadline=None, derandomize=True)
