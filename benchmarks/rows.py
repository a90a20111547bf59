"""What a row of the table is."""

from __future__ import annotations

import asyncio
import gc
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
    figure,
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
        rounds: dict[str, list[float]] = {}
        for _ in range(settings.batches):
            gc.collect()  # what was measured before
            entrants = self._entrants(result.missing)
            take_turns(entrants, settings)
            for name, entrant in entrants.items():
                rounds.setdefault(name, []).extend(entrant.per_call)
        result.figures = {name: figure(per_call) for name, per_call in rounds.items()}
        return result

    def _entrants(self, missing: dict[str, str]) -> dict[str, Entrant]:
        """Makes the contenders anew; notes in `missing` those that are not installed."""
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
                    self._check(name, call, is_async)
            except ImportError as error:
                missing[name] = f"not installed ({error.name or error})"
            else:
                entrants[name] = Entrant(call, own_copy(loop), around)
        return entrants

    def _check(self, name: str, call: Callable[[int], Any], is_async: bool) -> None:
        """Raises AssertionError where a contender does not do what the row is about. Opens the circuit where it is."""
        if self.fn not in (failing, afailing):
            assert _result_of(call, is_async) == 2, f"{self.title}: {name} returns another value"
        elif name != "bare":
            outcomes = [_result_of(call, is_async) for _ in range(20)]
            rejected = not isinstance(outcomes[-1], ConnectionError) and isinstance(outcomes[-1], Exception)
            assert rejected, f"{self.title}: {name} does not reject but {outcomes[-1]!r}"


def _result_of(call: Callable[[int], Any], is_async: bool) -> Any:
    """Returns what a call returns, or the exception that it raises."""

    async def awaited() -> Any:
        return await call(1)

    try:
        return asyncio.run(awaited()) if is_async else call(1)
    except Exception as error:
        return error
