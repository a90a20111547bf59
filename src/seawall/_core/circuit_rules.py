"""A circuit breaker's figures, and what they say of a window's counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from seawall._core.events import LOGGER
from seawall._core.window import CountWindow, TimeWindow


class Rules(NamedTuple):
    """A breaker's figures, checked."""

    failures: int | None
    failure_rate: float | None
    window: float | None
    window_calls: int | None
    min_calls: int
    slow_after: float | None
    slow_rate: float | None
    open_for: Callable[[int], float]
    open_for_cap: float
    probes: int
    successes: int
    probe_lease: float | None
    judge: Callable[[BaseException], str]
    bad_result: Callable[[Any], bool] | None

    @property
    def quick(self) -> bool:
        """Whether a call needs no permit of its own: neither its result nor its duration is judged."""
        return self.bad_result is None and self.slow_after is None

    def new_window(self) -> CountWindow | TimeWindow | None:
        if self.window is not None:
            return TimeWindow(self.window)
        return None if self.window_calls is None else CountWindow(self.window_calls)

    def same_shape(self, other: Rules) -> bool:
        return (self.window, self.window_calls) == (other.window, other.window_calls)

    def trips(self, window: CountWindow | TimeWindow) -> bool:
        """Whether what a window holds opens the circuit."""
        if window.total < self.min_calls:
            return False
        if self.failures is not None and window.failures >= self.failures:
            return True
        return self.too_bad(window.total, window.failures, window.slow)

    def too_bad(self, total: int, failures: int, slow: int) -> bool:
        """Whether a rate is reached."""
        by_failure = self.failure_rate is not None and failures >= self.failure_rate * total
        return by_failure or (self.slow_rate is not None and slow >= self.slow_rate * total)

    def opening(self, attempt: int, name: str) -> float:
        """Returns the seconds that an opening lasts. Asks a user's function: to be called without a lock."""
        try:
            duration = float(self.open_for(attempt))
        except OverflowError:
            return self.open_for_cap
        except Exception:
            LOGGER.exception(
                "open_for of %r raised; the circuit stays open for its cap of %g s", name, self.open_for_cap
            )
            return self.open_for_cap
        return min(self.open_for_cap, max(0.0, duration)) if math.isfinite(duration) else self.open_for_cap
