"""What a row of the table is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from benchmarks.measure import (
    Entrant,
    Result,
    Settings,
    acall_loop,
    araising_loop,
    call_loop,
    own_copy,
    raising_loop,
    take_turns,
)

Protect: TypeAlias = Callable[[Any], Any]
"""Returns the function that it is given, protected by a library. Raises ImportError where that is not installed."""


def work(value: int) -> int:
    return value + 1


async def awork(value: int) -> int:
    return value + 1


def failing(value: int) -> int:
    raise ConnectionError("down")


async def afailing(value: int) -> int:
    raise ConnectionError("down")


def bare(fn: Any) -> Any:
    """The contender that everything is compared with."""
    return fn


@dataclass(frozen=True)
class Row:
    """One kind of work. `measured` is overridden by rows that time no calls."""

    key: str
    title: str

    def measured(self, settings: Settings) -> Result:
        raise NotImplementedError


@dataclass(frozen=True)
class CallRow(Row):
    """Calls of `fn` as each contender protects it, against the bare call. `around` holds contexts to call within."""

    fn: Any
    contenders: Mapping[str, Protect]
    around: Mapping[str, Callable[[], AbstractContextManager[Any]]] = field(default_factory=dict)

    def measured(self, settings: Settings) -> Result:
        result = Result()
        is_async = inspect.iscoroutinefunction(self.fn)
        if self.fn in (failing, afailing):
            loop = araising_loop if is_async else raising_loop
        else:
            loop = acall_loop if is_async else call_loop
        entrants = {}
        for name, protect in {"bare": bare, **self.contenders}.items():
            around = self.around.get(name, nullcontext)
            try:
                call = protect(own_copy(self.fn))
                with around():
                    self._check(name, call)
            except ImportError as error:
                result.missing[name] = f"not installed ({error.name or error})"
            else:
                entrants[name] = Entrant(call, own_copy(loop), around)
        result.figures = take_turns(entrants, settings)
        return result

    def _check(self, name: str, call: Callable[[int], Any]) -> None:
        """Raises AssertionError where a contender does not do what the row is about. Opens the circuit where it is."""
        if self.fn not in (failing, afailing):
            assert _result_of(call) == 2, f"{self.title}: {name} returns another value"
        elif name != "bare":
            outcomes = [_result_of(call) for _ in range(20)]
            rejected = not isinstance(outcomes[-1], ConnectionError) and isinstance(outcomes[-1], Exception)
            assert rejected, f"{self.title}: {name} does not reject but {outcomes[-1]!r}"


def _result_of(call: Callable[[int], Any]) -> Any:
    """Returns what a call returns, or the exception that it raises."""

    async def awaited() -> Any:
        return await call(1)

    try:
        return asyncio.run(awaited()) if inspect.iscoroutinefunction(call) else call(1)
    except Exception as error:
        return error
