"""Rate limit: so many calls in so much time and no more."""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, get_args

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.blocks import BlockGuard
from seawall._core.clock import Clock, refuse_to_block
from seawall._core.deadline import scope
from seawall._core.errors import DeadlineExceededError, RateLimitedError
from seawall._core.forks import renew_after_fork
from seawall._core.guard import Guards
from seawall._core.permit import SlotPermit
from seawall._core.strategy import Guard, Strategy

Algorithm = Literal["token_bucket", "sliding_window", "gcra"]
GRAIN = 1e-9
"""Instants closer than this are the same: sums of floats are not exact."""


class _Schedule(Protocol):
    """Says when the next call may start. Called with the lock; takes nothing before `book`."""

    def next_start(self, now: float) -> float: ...

    def book(self, start: float) -> None: ...

    def unbook(self, starts: list[float]) -> None:
        """Forgets bookings whose instants have passed without a call."""


class _Emission:
    """Token bucket and GCRA, which are one rule: calls `interval` apart on average, at most `burst` early.

    Kept as the theoretical arrival time of ITU-T I.371 (GCRA, virtual scheduling). The bookings still ahead are kept
    beside it, since one of them may be given back.
    """

    def __init__(self, interval: float, burst: float) -> None:
        self.interval = interval
        self.tolerance = (burst - 1) * interval
        self.due = self.due_before = float("-inf")
        self.ahead: deque[float] = deque()

    def next_start(self, now: float) -> float:
        while self.ahead and self.ahead[0] < now:
            self.due_before = max(self.due_before, self.ahead.popleft()) + self.interval
        return max(now, self.due - self.tolerance)

    def book(self, start: float) -> None:
        self.ahead.append(start)
        self.due = max(self.due, start) + self.interval

    def unbook(self, starts: list[float]) -> None:
        self.ahead = deque(_without(self.ahead, starts))
        self.due = self.due_before
        for start in self.ahead:
            self.due = max(self.due, start) + self.interval


class _SlidingWindow:
    """No span of `per` seconds holds more than `rate` starts."""

    def __init__(self, rate: int, per: float) -> None:
        self.per = per
        self.starts: deque[float] = deque(maxlen=rate)

    def next_start(self, now: float) -> float:
        full = len(self.starts) == self.starts.maxlen
        return max(now, self.starts[0] + self.per) if full else max(now, self.starts[-1] if self.starts else now)

    def book(self, start: float) -> None:
        self.starts.append(start)

    def unbook(self, starts: list[float]) -> None:
        self.starts = deque(_without(self.starts, starts), maxlen=self.starts.maxlen)


def _without(bookings: Iterable[float], starts: list[float]) -> Iterator[float]:
    """Gives the bookings less one for each of `starts`."""
    gone = Counter(starts)
    for booking in bookings:
        if gone[booking]:
            gone[booking] -= 1
        else:
            yield booking


class RateLimit(Guard):
    """Bounds how often calls start, over all threads, event loops and both colours together.

    Each waiting call is booked an instant, in the order of asking; where that is too far off it raises
    `RateLimitedError` at once, without sleeping and without using anything up. A call cancelled while it waits gives
    its instant to the next that asks.

    Algorithms: *token_bucket* lets `burst` calls start at once after a quiet time, so that a span of `per` may hold up
    to `rate + burst` starts; *gcra* is the same rule with `burst=1` by default: evenly spaced; *sliding_window* holds
    strictly: no span of `per` ever has more than `rate`.

    Args:
        rate: calls for each `per`; a whole number for sliding_window.
        per: seconds; default 1.
        burst: calls at once after a quiet time; default: `rate` for token_bucket (at least 1), 1 for gcra.
        algorithm: "token_bucket" (default), "sliding_window" or "gcra".
        max_wait: seconds that a call may wait for its turn; default 0.
        name, clock: see `Strategy`.
    """

    word = "ratelimit"
    example = "RateLimit(10, per=1)"
    rank = 1

    def __init__(
        self,
        rate: float,
        *,
        per: Seconds = 1.0,
        burst: float | None = None,
        algorithm: Algorithm = "token_bucket",
        max_wait: Seconds = 0.0,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        self.rate = arguments.number("rate", rate, least=0.0, above=True)
        self.per = arguments.seconds("per", per)
        self.algorithm = arguments.choice("algorithm", algorithm, get_args(Algorithm))
        self.max_wait = arguments.seconds("max_wait", max_wait, zero=True)
        self.burst = self._checked_burst(burst)
        self._state = _State(self._schedule())

    def _checked_burst(self, burst: float | None) -> float:
        if self.algorithm == "sliding_window":
            if burst is not None:
                raise ValueError(f"burst={burst!r} has no effect with algorithm='sliding_window'; leave it out")
            return float(arguments.whole("rate", int(self.rate) if self.rate.is_integer() else self.rate, least=1))  # type: ignore[arg-type]
        if burst is None:
            return max(1.0, self.rate) if self.algorithm == "token_bucket" else 1.0
        return arguments.number("burst", burst, least=1.0)

    def _schedule(self) -> _Schedule:
        if self.algorithm == "sliding_window":
            return _SlidingWindow(int(self.rate), self.per)
        return _Emission(self.per / self.rate, self.burst)

    def turn(self) -> None:
        """Waits for the call's turn in this thread. Raises RateLimitedError, DeadlineExceededError."""
        start, wait = self._reserve()
        if wait > 0:
            try:
                refuse_to_block(f"{self.name!r}")
                self.clock.sleep(wait)
            except BaseException:
                self._state.give_back(start)
                raise

    async def aturn(self) -> None:
        """Waits for the call's turn, suspending the task. Raises RateLimitedError, DeadlineExceededError."""
        start, wait = self._reserve()
        if wait > 0:
            try:
                await self.clock.asleep(wait)
            except BaseException:
                self._state.give_back(start)
                raise

    def _reserve(self) -> tuple[float, float]:
        now = self.clock.now()
        surrounding = scope()
        left = None if surrounding is None else surrounding.remaining()
        bound = self.max_wait if left is None else min(self.max_wait, left)
        start, booked = self._state.reserve(now, bound)
        wait = start - now
        if booked:
            return start, wait
        if left is not None and wait <= self.max_wait:
            raise self.hub.refuse(DeadlineExceededError(self.name, wait))
        raise self.hub.refuse(RateLimitedError(self.name, wait))

    def acquire(self) -> SlotPermit:
        """Takes a turn, waiting in this thread up to `max_wait`. There is nothing to give back."""
        self.turn()
        return SlotPermit(_nothing)

    async def aacquire(self) -> SlotPermit:
        """Takes a turn, suspending the task up to `max_wait`. There is nothing to give back."""
        await self.aturn()
        return SlotPermit(_nothing)

    def guard(self) -> BlockGuard:
        """Guards a block: `with limit.guard():` or `async with limit.guard():`."""
        return BlockGuard(self.acquire, self.aacquire)

    def settings(self) -> dict[str, object]:
        shown: dict[str, object] = {
            "rate": self.rate,
            "per": self.per,
            "algorithm": self.algorithm,
            "max_wait": self.max_wait,
        }
        return shown if self.algorithm == "sliding_window" else {**shown, "burst": self.burst}

    def port(self, guards: Guards) -> Guards:
        return guards._replace(limiter=self)

    def adopt(self, old: Strategy) -> None:
        super().adopt(old)
        if isinstance(old, RateLimit) and self._figures() == old._figures():
            self._state = old._state

    def _figures(self) -> tuple[object, ...]:
        return self.algorithm, self.rate, self.per, self.burst


def _nothing() -> None:
    """A turn is used up when it is taken."""


class _State:
    """The bookings of one limit, shared by all who use it."""

    __slots__ = ("__weakref__", "_freed", "_given_back", "_lock", "_schedule")

    def __init__(self, schedule: _Schedule) -> None:
        self._schedule = schedule
        self._freed: list[float] = []
        self._given_back: deque[float] = deque()  # filled without the lock, since a finalizer may give back
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def reserve(self, now: float, max_wait: float) -> tuple[float, bool]:
        """Returns the next possible start, and whether it was near enough to be booked."""
        with self._lock:
            while self._given_back:
                heapq.heappush(self._freed, self._given_back.popleft())
            passed = []
            while self._freed and self._freed[0] < now:
                passed.append(heapq.heappop(self._freed))  # its instant has passed unused
            if passed:
                self._schedule.unbook(passed)
            if self._freed:
                start = self._freed[0]
                booked = start - now <= max_wait + GRAIN
                if booked:
                    heapq.heappop(self._freed)
                return start, booked
            start = self._schedule.next_start(now)
            if start - now <= GRAIN:
                start = now
            booked = start - now <= max_wait + GRAIN
            if booked:
                self._schedule.book(start)
            return start, booked

    def give_back(self, start: float) -> None:
        """Frees an instant whose call was cancelled while it waited."""
        self._given_back.append(start)
