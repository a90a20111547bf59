"""What every strategy has: a name, a clock, listeners, and a use of its own outside any pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

from seawall._core import arguments
from seawall._core.chain import Call, Chain, Kind, Place, decorate, name_of
from seawall._core.clock import Clock, DefaultClock
from seawall._core.events import Event, Hub, Listener
from seawall._core.guard import Guards, link_guards
from seawall._core.names import NAMES, check_name
from seawall._core.switch import SWITCHES

P = ParamSpec("P")
R = TypeVar("R")


class Strategy:
    """One protective behaviour. Every strategy alone is a decorator; a `Pipeline` links several.

    Args:
        name: shown in errors, events and snapshots; default: made of the pipeline's, or of the decorated function's.
        clock: where time comes from; default: the system's monotonic clock.
    """

    protects: ClassVar[bool] = True
    """Not a function to protect, but what protects them."""

    word: ClassVar[str]
    """What this kind of strategy is called in names: retry, breaker, ..."""

    example: ClassVar[str]
    """A right way to make one, for errors."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        arguments.check_names(cls, kwargs, len(args), cls.example)
        return super().__new__(cls)

    def __init__(self, name: str | None, clock: Clock | None) -> None:
        if name is not None:
            check_name(name)
        self.hub: Hub = Hub(name or self.word)
        self.named = False
        if name is not None:
            self.named, self.hub.name = True, name
            NAMES.register(name, self)
        self.clock: Clock | DefaultClock = arguments.clock("clock", clock)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={show(value)}" for key, value in self.settings().items() if value is not None)
        return f"{type(self).__name__}({shown}, name={self.name!r})"

    @property
    def name(self) -> str:
        """What this strategy is called."""
        return self.hub.name

    def call_it(self, name: str) -> None:
        """Gives a name to a strategy that has none yet."""
        if not self.named:
            self.named = True
            self.hub.name = name
            NAMES.register(name, self, chosen=False)

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of this strategy's events, of the given types or of all. Returns the function that stops it.

        The listener is called inline and must not block; what it raises is logged once.
        """
        return self.hub.listen(listener, types)

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Returns `fn` protected by this strategy alone; async functions and generators stay what they are."""
        refuse_strategy(fn)
        protected = decorate(self.chain(), fn, self)
        self.call_it(name_of(fn))
        return protected  # type: ignore[no-any-return]

    def chain(self) -> Chain:
        """Returns a chain that holds this strategy alone. It is not kept: that would be a cycle."""
        return Chain(self.hub, (self,), join)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Returns the strategy itself: a copy would be a second limit, or a second circuit, for the same thing."""
        return self

    def settings(self) -> dict[str, object]:
        """Returns the strategy's figures, for people."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """Returns the state as of now, as a frozen record; None where there is none. Looking changes nothing."""
        return None

    def adopt(self, old: Strategy) -> None:
        """Takes the place of `old`, of the same class: its name, its listeners and, where there is any, its state."""
        if not self.named:
            self.named, self.hub.name = old.named, old.hub.name
            NAMES.hand_over(old, self)
        heard = self.hub.listeners
        heard += [each for each in old.hub.listeners if each.types and each not in heard]


def refuse_strategy(fn: object) -> None:
    """Raises TypeError where a strategy or pipeline is given in the place of a function."""
    if getattr(type(fn), "protects", False):
        raise TypeError(f"{fn!r} is no function to protect; link them: Pipeline('name', Retry(...), Timeout(...))")


def refuse_unless_class(kind: object) -> None:
    """Raises TypeError for what is no class of strategies."""
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise TypeError(f"{kind!r} is no class of strategies; use one such as CircuitBreaker")


def show(value: object) -> str:
    """Returns a setting as a person would write it."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + ")"
    if isinstance(value, float):
        return f"{value:g}"
    return name_of(value) if callable(value) else str(value)


class Layer(Strategy):
    """A strategy with a frame of its own."""

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        """Returns this strategy's layer around `inner`. Raises TypeError for a kind of call that it cannot serve."""
        raise NotImplementedError


class Guard(Strategy):
    """A strategy that acquires before the call and settles after it. Neighbours share a frame."""

    rank: ClassVar[int]
    """The place in the shared frame, from the outside."""

    def port(self, guards: Guards) -> Guards:
        """Returns `guards` with this strategy's port in its place."""
        raise NotImplementedError


def join(strategies: Sequence[Any], policy: str, kind: Kind, leaf: Call, watchful: bool) -> Call:
    """Links the strategies of a policy that are switched on, outermost first, around a leaf."""
    shares = {id(each): SWITCHES.share(each.word, policy) for each in strategies}
    rest = [each for each in strategies if shares[id(each)] > 0]
    inner = leaf
    while rest:
        first, without = shares[id(rest[-1])], inner
        if isinstance(rest[-1], Guard):
            guards, last = Guards(), 99
            while rest and isinstance(rest[-1], Guard) and rest[-1].rank < last and shares[id(rest[-1])] == first:
                guard = rest.pop()
                guards, last = guard.port(guards), guard.rank
                if first < 1:
                    break  # each one that is rolled out in part is left out by itself
            inner = link_guards(kind, guards, inner)
        else:
            inner = rest.pop().link(kind, inner, Place(watchful, tuple(rest)))
        if first < 1:
            inner = _for_a_share(first, inner, without)
    return inner


def _for_a_share(share: float, inner: Call, without: Call) -> Call:
    """Returns a link that sends a share of the calls through `inner`, and the others past it."""

    def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (inner if random() < share else without)(fn, args, kwargs)

    return call
