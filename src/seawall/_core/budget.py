"""A retry budget: what all callers together may add to a struggling dependency's load."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from seawall._core import arguments
from seawall._core.forks import renew_after_fork
from seawall._core.names import check_name


class RetryBudget:
    """Bounds retries and hedges in flight to a share of the calls in flight.

    At every moment `retries in flight <= max(min_concurrent, rate x calls in flight)`, the asking call included. Share
    one budget among the `Retry` and `Hedge` strategies that guard one dependency. The rule is Envoy's
    (`retry_budget`: budget_percent, min_retry_concurrency).

    Args:
        rate: retries allowed for each call in flight; default 0.2.
        min_concurrent: retries always allowed; default 3.
        name: shown in events; default "budget".
    """

    def __init__(self, rate: float = 0.2, min_concurrent: int = 3, *, name: str = "budget") -> None:
        self.rate = arguments.number("rate", rate, least=0.0)
        self.min_concurrent = arguments.whole("min_concurrent", min_concurrent, least=0)
        check_name(name)
        self.name = name
        self._calls: deque[None] = deque()  # append, pop and len are atomic: no lock on the way of a plain call
        self._retries: deque[None] = deque()  # given back without the lock, since a finalizer may do it
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Makes a new lock; the calls in flight were those of threads that this process does not have."""
        self._lock = threading.Lock()
        self._calls.clear()
        self._retries.clear()

    def __repr__(self) -> str:
        return f"RetryBudget(rate={self.rate:g}, min_concurrent={self.min_concurrent})"

    @property
    def calls(self) -> int:
        """Calls in flight."""
        return len(self._calls)

    @property
    def retries(self) -> int:
        """Retries and hedges in flight."""
        return len(self._retries)

    def enter(self) -> None:
        """Counts a call in."""
        self._calls.append(None)

    def leave(self) -> None:
        """Counts a call out."""
        if self._calls:
            self._calls.pop()

    def try_acquire(self) -> bool:
        """Takes the right to one retry; give it back with `release` when the retry has ended."""
        with self._lock:
            if len(self._retries) + 1 > max(self.min_concurrent, self.rate * len(self._calls)):
                return False
            self._retries.append(None)
            return True

    def release(self) -> None:
        """Gives the right to a retry back."""
        if self._retries:
            self._retries.pop()


Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def counted_outside(budget: RetryBudget | None, outside: tuple[Any, ...]) -> bool:
    """Whether there is nothing to count here: no budget, or one that a strategy further out counts the call in."""
    return budget is None or any(getattr(strategy, "budget", None) is budget for strategy in outside)


def counted_call(budget: RetryBudget | None, inner: Call) -> Call:
    """A layer that counts sync calls in and out."""

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert budget is not None
        budget.enter()
        try:
            return inner(fn, args, kwargs)
        finally:
            budget.leave()

    return call


def counted_acall(budget: RetryBudget | None, inner: Call) -> Call:
    """A layer that counts async calls in and out."""

    async def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        assert budget is not None
        budget.enter()
        try:
            return await inner(fn, args, kwargs)
        finally:
            budget.leave()

    return call
