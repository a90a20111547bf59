"""Instruments: counts, values and distributions of one process, exact over threads.

An update appends to a list, which is one step that nothing can interrupt, and now and then adds up what is there, under
a lock that no update ever waits for. So an update may come from any thread, a signal handler, or a finalizer that runs
while the same thread is adding up, and none is lost.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

from seawall._core.forks import renew_after_fork

Labels: TypeAlias = tuple[str, ...]
Tap: TypeAlias = Callable[[float, Labels], object]

MOST_SERIES: Final = 200
"""Label sets of one instrument; further ones are counted together under `other`."""
OTHER: Final = "other"
_INFINITE: Final = math.inf
_LONGEST_LABEL: Final = 200
BATCH: Final = 100
"""Updates that wait to be added up."""


class _Series:
    """What is known for one label set."""

    __slots__ = ("_lock", "key", "labels", "pending")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.key = json.dumps(labels)
        self.pending: list[Any] = []
        """Updates that are not added up yet."""
        self.reset()

    def reset(self) -> None:
        """Begins at zero, with a lock that nobody holds."""
        self._lock = threading.Lock()
        self.pending.clear()
        self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def try_to_add_up(self) -> None:
        """Adds up what is pending, unless somebody is just at it."""
        if self._lock.acquire(blocking=False):
            try:
                self._add_up()
            finally:
                self._lock.release()

    def _add_up(self) -> None:
        """Takes what is pending. Called with the lock."""
        pending = self.pending
        batch = pending[:]
        del pending[: len(batch)]  # what has come since lies behind it
        self._take(batch)

    def _take(self, batch: list[Any]) -> None:
        raise NotImplementedError


class CounterSeries(_Series):
    """The count of one label set."""

    __slots__ = ("_sum",)

    def _begin(self) -> None:
        self._sum: float = 0

    def add(self, amount: float = 1) -> None:
        """Counts `amount`. Raises ValueError for what is below 0 or not finite."""
        if not 0 <= amount < _INFINITE:
            raise ValueError(f"amount={amount!r} is nothing to count; use a finite number of at least 0")
        pending = self.pending
        pending.append(amount)
        if len(pending) >= BATCH:
            self.try_to_add_up()

    def _take(self, batch: list[Any]) -> None:
        more = sum(batch)
        self._sum += more

    def read(self) -> float:
        """Returns the count as of now."""
        with self._lock:
            self._add_up()
            return self._sum


class GaugeSeries(_Series):
    """The value of one label set."""

    __slots__ = ("_value",)

    def _begin(self) -> None:
        self._value: float = 0

    def set(self, value: float) -> None:
        """Makes it `value`."""
        self.pending.append((value,))
        if len(self.pending) >= BATCH:
            self.try_to_add_up()

    def add(self, amount: float = 1) -> None:
        """Adds `amount`, which may be negative."""
        self.pending.append(amount)
        if len(self.pending) >= BATCH:
            self.try_to_add_up()

    def _take(self, batch: list[Any]) -> None:
        for each in batch:
            self._value = each[0] if isinstance(each, tuple) else self._value + each

    def read(self) -> float:
        """Returns the value as of now."""
        with self._lock:
            self._add_up()
            return self._value


class HistogramSeries(_Series):
    """The distribution of one label set."""

    __slots__ = ("_bounds", "_counts", "_sum", "_taps")

    def __init__(self, labels: Labels, bounds: Sequence[float], taps: list[Tap]) -> None:
        self._bounds = bounds
        self._taps = taps
        super().__init__(labels)

    def _begin(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Takes note of a value. Raises ValueError for what is not finite."""
        if value - value != 0:  # the cheapest test for what is infinite or no number
            raise ValueError(f"value={value!r} has no place in a distribution; use a finite number")
        pending = self.pending
        pending.append(value)
        if len(pending) >= BATCH:
            self.try_to_add_up()
        if self._taps:
            for tap in self._taps:
                tap(value, self.labels)

    def _take(self, batch: list[Any]) -> None:
        batch.sort()  # then one search a bound, not one a value
        counts, below = self._counts, 0
        for bucket, bound in enumerate(self._bounds):
            up_to = bisect_right(batch, bound)
            counts[bucket] += up_to - below
            below = up_to
        counts[-1] += len(batch) - below
        more = sum(batch)
        self._sum += more

    def read(self) -> list[float]:
        """Returns how many values each bucket has, up to its bound and above the one before; at the end their sum."""
        with self._lock:
            self._add_up()
            return [*self._counts, self._sum]


S = TypeVar("S", CounterSeries, GaugeSeries, HistogramSeries)


class _Instrument(Generic[S]):
    """All label sets of one name."""

    def __init__(self, name: str, attributes: Sequence[str]) -> None:
        self.name = name
        self.attributes = tuple(attributes)
        self._series: dict[Labels, S] = {}
        self._numbers = itertools.count()
        self._full = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A child begins at zero: what its parent has counted is the parent's to tell."""
        for series in list(self._series.values()):
            series.reset()

    def labels(self, *values: str) -> S:
        """Returns the series of these label values, in the order of `attributes`; keep it where it is used often."""
        return self._series.get(values) or self._other_or_new(values)

    def _other_or_new(self, values: tuple[object, ...]) -> S:
        if len(values) != len(self.attributes):
            raise TypeError(f"{self.name!r} has the labels {self.attributes}, and was given {values}")
        labels = tuple([str(value)[:_LONGEST_LABEL] for value in values])
        series = self._series.get(labels)
        if series is None and not self._full and next(self._numbers) >= MOST_SERIES:
            self._full = True
        if series is None and self._full:
            labels = (OTHER,) * len(labels)
            series = self._series.get(labels)
        # Not under a lock: a finalizer may come by here. Of two who make the same series, both get the first one.
        return series or self._series.setdefault(labels, self._make(labels))

    def _make(self, labels: Labels) -> S:
        raise NotImplementedError

    def series(self) -> Iterator[S]:
        """Gives the series that there are."""
        yield from list(self._series.values())


class Counter(_Instrument[CounterSeries]):
    """A count that only grows, by label values. An update takes a fraction of a microsecond."""

    def add(self, amount: float = 1, *labels: str) -> None:
        """Counts `amount`, at least 0."""
        self.labels(*labels).add(amount)

    def _make(self, labels: Labels) -> CounterSeries:
        return CounterSeries(labels)


class Gauge(_Instrument[GaugeSeries]):
    """A value that rises and falls, by label values."""

    def set(self, value: float, *labels: str) -> None:
        """Makes it `value`."""
        self.labels(*labels).set(value)

    def add(self, amount: float = 1, *labels: str) -> None:
        """Adds `amount`, which may be negative."""
        self.labels(*labels).add(amount)

    def _make(self, labels: Labels) -> GaugeSeries:
        return GaugeSeries(labels)


class Histogram(_Instrument[HistogramSeries]):
    """A distribution of values, by label values. An update takes a fraction of a microsecond.

    Args:
        name: its name.
        attributes: the names of its labels.
        bounds: the upper bounds of its buckets, rising; each holds its own bound, and one more has no bound.
    """

    def __init__(self, name: str, attributes: Sequence[str], bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.taps: list[Tap] = []
        """Functions told of every value and its labels, at once: for exporters that cannot read distributions."""
        super().__init__(name, attributes)

    def observe(self, value: float, *labels: str) -> None:
        """Takes note of a value."""
        self.labels(*labels).observe(value)

    def _make(self, labels: Labels) -> HistogramSeries:
        return HistogramSeries(labels, self.bounds, self.taps)


Instrument: TypeAlias = Counter | Gauge | Histogram
