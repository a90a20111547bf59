"""The pipeline: strategies linked around calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, ClassVar, ParamSpec, TypeVar

from seawall._core import arguments
from seawall._core.chain import Call, Chain, Kind, check_kind, decorate, refuse_coroutine
from seawall._core.clock import Clock, DefaultClock
from seawall._core.context import NOTHING, Trace, current, surround
from seawall._core.events import EVERYWHERE, CallEnded, Event, Hub, Listener
from seawall._core.meter import meter
from seawall._core.names import NAMES, check_name, warn
from seawall._core.outcome import Outcome
from seawall._core.strategy import Strategy, join, refuse_strategy, refuse_unless_class
from seawall._pipeline.explain import Explanation, explain, lint

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Strategy)
_COROUTINE = 0x80  # inspect.CO_COROUTINE


class Pipeline:
    """Strategies around calls, first listed = outermost.

    Recommended order: Fallback, Retry, RateLimit, Bulkhead, CircuitBreaker, Timeout. A pipeline is a decorator, and
    calls functions without decorating them; one pipeline serves any number of functions, threads and event loops, sync
    and async, at the same time, with one state. An exception of the function itself is never wrapped.

    Args:
        name: shown in errors, events and snapshots.
        *strategies: outermost first; each may be in several pipelines, and then shares its state between them.
        clock: where the durations in outcomes and `CallEnded` events come from; default: the system's monotonic clock.
    """

    protects: ClassVar[bool] = True

    def __init__(self, name: str, /, *strategies: Strategy, clock: Clock | None = None) -> None:
        check_name(name)
        self.name = name
        self._hub = Hub(name)
        self._clock = arguments.clock("clock", clock)
        self._listening: list[_Listening] = []
        self.strategies = _checked(strategies)
        self._name_them()
        self._chain = Chain(self._hub, self.strategies, partial(_join_metered, self._hub, self._clock))
        NAMES.register(name, self)
        for finding in lint(self.strategies):
            warn(f"pipeline {name!r}: {finding}")

    def __repr__(self) -> str:
        return f"Pipeline({', '.join([repr(self.name), *(type(strategy).__name__ for strategy in self.strategies)])})"

    def _name_them(self) -> None:
        words: Counter[str] = Counter()
        for strategy in self.strategies:
            words[strategy.word] += 1
            number = words[strategy.word]
            strategy.call_it(f"{self.name}.{strategy.word}{number if number > 1 else ''}")

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Returns `fn` protected: functions, async functions, generators, methods, partials, callable objects.

        Raises TypeError where a strategy cannot serve this kind of function.
        """
        refuse_strategy(fn)
        return decorate(self._chain, fn, self)  # type: ignore[no-any-return]

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls a plain function through the pipeline."""
        check_kind("call", fn, "call", "use acall() for async functions, and decorate generators")
        chain = self._chain
        link = (chain.call or chain.prepare("call")) if current() is None else chain.watch("call")
        result = link(fn, args, kwargs)
        return refuse_coroutine(result, fn) if type(result) is CoroutineType else result  # type: ignore[no-any-return]

    async def acall(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls an async function through the pipeline."""
        code = getattr(fn, "__code__", None)
        if code is None or not code.co_flags & _COROUTINE:
            check_kind(
                "acall",
                fn,
                "acall",
                "use call() for it, or wrap it in an async function where it returns an awaitable; decorate generators",
            )
        chain = self._chain
        link = (chain.acall or chain.prepare("acall")) if current() is None else chain.watch("acall")
        return await link(fn, args, kwargs)  # type: ignore[no-any-return]

    def call_outcome(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """Calls a plain function and says how it went. A call that fails raises, as with `call`."""
        trace, start = _Traced(), self._clock.now()
        try:
            value = self.call(fn, *args, **kwargs)
        finally:
            trace.end()
        return Outcome(value, trace.served_by, trace.attempts, self._clock.now() - start)

    async def acall_outcome(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[R]:
        """Calls an async function and says how it went. A call that fails raises, as with `acall`."""
        trace, start = _Traced(), self._clock.now()
        try:
            value = await self.acall(fn, *args, **kwargs)
        finally:
            trace.end()
        return Outcome(value, trace.served_by, trace.attempts, self._clock.now() - start)

    def get(self, kind: type[S]) -> S:
        """Returns the pipeline's strategy of a kind. Raises LookupError where there is none, or more than one."""
        refuse_unless_class(kind)
        found = [strategy for strategy in self.strategies if isinstance(strategy, kind)]
        if len(found) != 1:
            raise LookupError(f"{len(found) or 'no'} {kind.__name__} in {self!r}; get() needs exactly one")
        return found[0]

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of the events of this pipeline's strategies; returns the function that stops it.

        Ask for `CallEnded` by name to be told of every call.
        """
        listening = _Listening(listener, types)
        self._listening.append(listening)
        listening.follow(self.strategies)
        listening.removers.append(self._hub.listen(listener, types))
        self.meter_anew()

        def remove() -> None:
            if listening in self._listening:
                self._listening.remove(listening)
            for each in listening.removers:
                each()
            self.meter_anew()

        return remove

    def meter_anew(self) -> None:
        """Links anew after a change of who listens to every call."""
        self._chain.relink(self.strategies)

    def relink(self, *strategies: Strategy) -> None:
        """Replaces the strategies, for all functions that this pipeline protects, from their next call on.

        A strategy that was in the pipeline keeps its state. A new one takes over the state of the old one of its class
        (and name, where it has one of its own): breaker windows and states, slots in use, bookings, learned delays; a
        changed window shape starts empty. Calls in flight end on the old links.
        """
        if not strategies:
            raise TypeError("relink() was given no strategies, which would end all protection; give at least one")
        checked = _checked(strategies)
        self._chain.try_out(checked)
        left = [old for old in self.strategies if old not in checked]
        for strategy in checked:
            if strategy in self.strategies:
                continue
            alike = [old for old in left if type(old) is type(strategy)]
            old = next((old for old in alike if old.name == strategy.name), alike[0] if alike else None)
            if old is not None:
                strategy.adopt(old)
                left.remove(old)
            else:
                for listening in self._listening:
                    listening.follow([strategy])
        self.strategies = checked
        self._name_them()
        self._chain.relink(self.strategies)

    def explain(self) -> Explanation:
        """Returns the strategies with their settings, the worst case, and the linter's findings; print it to read."""
        return explain(self.name, self.strategies)

    def snapshot(self) -> dict[str, Any]:
        """Returns what the strategies say of themselves now, by name."""
        snapshots = {strategy.name: strategy.snapshot() for strategy in self.strategies}
        return {name: state for name, state in snapshots.items() if state is not None}


def _join_metered(
    hub: Hub,
    clock: Clock | DefaultClock,
    strategies: Sequence[Any],
    policy: str,
    kind: Kind,
    leaf: Call,
    watchful: bool,
) -> Call:
    """Links strategies and, outside them all, a meter for those who listen to every call."""
    linked = join(strategies, policy, kind, leaf, watchful)
    metering = [each for each in (*hub.listeners, *EVERYWHERE) if CallEnded in each.types]
    return meter(kind, hub.name, metering, clock, linked) if metering else linked


def _checked(strategies: Sequence[Strategy]) -> tuple[Strategy, ...]:
    for strategy in strategies:
        if not isinstance(strategy, Strategy):
            hint = "give strategies one by one, such as Retry(on=ConnectionError)"
            if isinstance(strategy, type) and issubclass(strategy, Strategy):
                hint = f"give an instance, such as {strategy.example}"
            raise TypeError(f"{strategy!r} is no strategy; {hint}")
        if sum(other is strategy for other in strategies) > 1:
            raise ValueError(f"{strategy.name!r} is listed twice; make two, or list it once")
    return tuple(strategies)


class _Listening:
    """A listener to a whole pipeline, which follows its strategies through every relinking."""

    __slots__ = ("_listener", "_types", "removers")

    def __init__(self, listener: Listener, types: tuple[type[Event], ...]) -> None:
        self._listener = listener
        self._types = types
        self.removers: list[Callable[[], None]] = []

    def follow(self, strategies: Sequence[Strategy]) -> None:
        types = tuple(kind for kind in self._types if kind is not CallEnded)
        if types or not self._types:
            self.removers += [strategy.listen(self._listener, *types) for strategy in strategies]


class _Traced(Trace):
    """A trace that surrounds the call that it is of."""

    __slots__ = ("_outer",)

    def __init__(self) -> None:
        super().__init__()
        ambient = current() or NOTHING
        self._outer = ambient.trace
        surround(ambient._replace(trace=self))

    def end(self) -> None:
        surround((current() or NOTHING)._replace(trace=self._outer))
