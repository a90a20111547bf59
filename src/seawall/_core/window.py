"""Counts of recent outcomes. None of these locks: the owner holds its own lock around every use."""

from __future__ import annotations


class CountWindow:
    """The last `size` outcomes. `total`, `failures` and `slow` count them."""

    __slots__ = ("_next", "_ring", "failures", "size", "slow", "total")

    def __init__(self, size: int) -> None:
        self.size = size
        self._ring = bytearray(size)
        self._next = self.total = self.failures = self.slow = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:
        old = self._ring[self._next]
        if self.total == self.size:
            self.failures -= old & 1
            self.slow -= old >> 1
        else:
            self.total += 1
        self.failures += failed
        self.slow += slow
        self._ring[self._next] = failed | slow << 1
        self._next = (self._next + 1) % self.size

    def move(self, now: float) -> None:
        """Outcomes leave this window by number, not by time."""


class TimeWindow:
    """The outcomes of the last `seconds`, in `buckets` equal spans: constant memory, whatever the load.

    A span leaves as a whole, so what is counted covers between `seconds` less one span and `seconds`. `total`,
    `failures` and `slow` are right after `add` or `move`.
    """

    __slots__ = (
        "_edge",
        "_failures",
        "_newest",
        "_place",
        "_slow",
        "_span",
        "_total",
        "buckets",
        "failures",
        "seconds",
        "slow",
        "total",
    )

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self.seconds = seconds
        self.buckets = buckets
        self._span = seconds / buckets
        self._total, self._failures, self._slow = [0] * buckets, [0] * buckets, [0] * buckets
        self._newest: int | None = None
        self._place = 0
        self._edge = float("-inf")
        self.total = self.failures = self.slow = 0

    def add(self, failed: bool, slow: bool, now: float) -> None:
        if now >= self._edge:
            self.move(now)
        place = self._place
        self.total += 1
        self._total[place] += 1
        if failed:
            self.failures += 1
            self._failures[place] += 1
        if slow:
            self.slow += 1
            self._slow[place] += 1

    def move(self, now: float) -> None:
        """Lets go of what has become too old. Time that stands still or seems to go back moves nothing."""
        span = int(now // self._span)
        if self._newest is not None and span <= self._newest:
            return
        oldest = span - self.buckets + 1
        for passed in range(oldest if self._newest is None else max(self._newest + 1, oldest), span + 1):
            place = passed % self.buckets
            self.total -= self._total[place]
            self.failures -= self._failures[place]
            self.slow -= self._slow[place]
            self._total[place] = self._failures[place] = self._slow[place] = 0
        self._newest, self._place = span, span % self.buckets
        self._edge = (span + 1) * self._span


class Durations:
    """The last `size` durations, and their quantiles; for delays that are learned."""

    __slots__ = ("_fresh", "_next", "_quantile", "_ring", "_value", "size")

    def __init__(self, quantile: float, size: int = 512) -> None:
        self.size = size
        self._quantile = quantile
        self._ring: list[float] = []
        self._next = 0
        self._fresh = 0
        self._value = 0.0

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, duration: float) -> None:
        if len(self._ring) < self.size:
            self._ring.append(duration)
        else:
            self._ring[self._next] = duration
            self._next = (self._next + 1) % self.size
        self._fresh -= 1

    def value(self) -> float:
        """Returns the quantile, counted anew after every sixteen durations."""
        if self._fresh <= 0:
            self._fresh = 16
            ordered = sorted(self._ring)
            self._value = ordered[min(len(ordered) - 1, int(self._quantile * len(ordered)))]
        return self._value
