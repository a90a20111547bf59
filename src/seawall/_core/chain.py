"""Chains: strategies linked around a call, once, for each kind of call that is really used.

Every link has the shape `(fn, args, kwargs)`, so a chain belongs to its pipeline and serves any number of functions.
Each kind is linked twice: plainly, for calls that have no surroundings, and watchfully, for those below a deadline,
inside a retry, or traced. A call chooses by one read of a context variable.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing
from types import CoroutineType
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias
from weakref import WeakSet

from seawall._core.context import current
from seawall._core.events import Hub
from seawall._core.forks import renew_after_fork
from seawall._core.leaf import PLAIN, WATCHFUL
from seawall._core.switch import SWITCHES

Call: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
Kind: TypeAlias = Literal["call", "acall", "stream", "astream"]
IN_WORDS: Final[dict[Kind, str]] = {
    "call": "a plain function",
    "acall": "an async function",
    "stream": "a generator",
    "astream": "an async generator",
}


class Place(NamedTuple):
    """Where in a chain a strategy is linked: whether the chain is the watchful one, and what lies outside."""

    watchful: bool = False
    outside: tuple[Any, ...] = ()


Joiner: TypeAlias = Callable[[Sequence[Any], str, Kind, Call, bool], Call]
"""Links a sequence of strategies, outermost first, of a policy, around a leaf; watchfully or not."""

CHAINS: Final[WeakSet[Chain]] = WeakSet()
"""Every chain that is alive, to be linked anew when a switch changes."""


class _Linking:
    """The lock around linking, which is rare and short."""

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self.lock = threading.RLock()


_LINKING: Final = _Linking()


class Chain:
    """The links of one pipeline. Relinking replaces them; calls in flight end on the old ones."""

    __slots__ = (
        "__weakref__",
        "_hub",
        "_join",
        "_used",
        "acall",
        "astream",
        "call",
        "strategies",
        "stream",
        "switched",
        "watchful",
    )

    def __init__(self, hub: Hub, strategies: Sequence[Any], join: Joiner) -> None:
        self._hub = hub
        self._join = join
        self._used: set[Kind] = set()
        self.relink(strategies)
        with _LINKING.lock:
            CHAINS.add(self)

    def relink(self, strategies: Sequence[Any]) -> None:
        """Links anew, each kind at its next use."""
        with _LINKING.lock:
            self.strategies = tuple(strategies)
            self.switched = any(SWITCHES.share(each.word, self._hub.name) < 1 for each in strategies)
            """Whether a switch takes something out of it, for wrappers that otherwise go past it."""
            self.call: Call | None = None
            self.acall: Call | None = None
            self.stream: Call | None = None
            self.astream: Call | None = None
            self.watchful: dict[Kind, Call] = {}

    def try_out(self, strategies: Sequence[Any]) -> None:
        """Raises TypeError where strategies cannot serve a kind of call that is in use."""
        for kind in self._used:
            self._join(strategies, self._hub.name, kind, PLAIN[kind], False)

    def prepare(self, kind: Kind) -> Call:
        """Links one kind for calls without surroundings. Raises TypeError where a strategy cannot serve it."""
        with _LINKING.lock:
            linked = self._join(self.strategies, self._hub.name, kind, PLAIN[kind], False)
            setattr(self, kind, linked)
            self._used.add(kind)
        return linked

    def watch(self, kind: Kind) -> Call:
        """Returns the link of one kind for calls with surroundings."""
        linked = self.watchful.get(kind)
        if linked is None:
            with _LINKING.lock:
                leaf = WATCHFUL[kind](self._hub)
                linked = self.watchful[kind] = self._join(self.strategies, self._hub.name, kind, leaf, True)
                self._used.add(kind)
        return linked


def relink_all() -> None:
    """Links every chain anew, after a change of the switches."""
    with _LINKING.lock:
        chains = list(CHAINS)
    for chain in chains:
        chain.relink(chain.strategies)


def kind_of(fn: Any) -> Kind:
    """Returns which kind of call `fn` makes; looks through partials, methods and callable objects."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    for look in (fn, getattr(fn, "__call__", None)):  # noqa: B004 - the bound method is wanted, not a yes or no
        if inspect.iscoroutinefunction(look):
            return "acall"
        if inspect.isasyncgenfunction(look):
            return "astream"
        if inspect.isgeneratorfunction(look):
            return "stream"
    return "call"


def check_callable(fn: Any) -> None:
    """Raises TypeError for what cannot be protected."""
    if isinstance(fn, type):
        raise TypeError(f"{fn!r} is a class; protect a function or method of it instead")
    if not callable(fn):
        raise TypeError(f"{fn!r} cannot be called; protect a function, method or callable object")


def check_kind(method: str, fn: Any, wanted: Kind, instead: str) -> None:
    """Raises TypeError where `fn` is not of the kind that `method` calls."""
    check_callable(fn)
    got = kind_of(fn)
    if got != wanted:
        raise TypeError(f"{method}() takes {IN_WORDS[wanted]}, and {name_of(fn)} is {IN_WORDS[got]}; {instead}")


def name_of(fn: Any) -> str:
    """Returns a readable name of a callable."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", None) or type(fn).__qualname__).rpartition("<locals>.")[2]


def decorate(chain: Chain, fn: Any, owner: object) -> Any:
    """Returns `fn` protected by the chain: a function of the same kind, which may be a method.

    The function keeps its `owner` alive, as `__seawall__`: the pipeline or strategy that protects it.
    """
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(decorate(chain, fn.__func__, owner))
    check_callable(fn)
    kind = kind_of(fn)
    chain.prepare(kind)
    return owned(functools.update_wrapper(_WRAP[kind](chain, fn), fn), owner)


def owned(function: Any, owner: object) -> Any:
    """Returns a protected function that keeps its owner alive."""
    function.__seawall__ = owner
    return function


def _wrap_call(chain: Chain, fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is None:
            result = (chain.call or chain.prepare("call"))(fn, args, kwargs)
        else:
            result = chain.watch("call")(fn, args, kwargs)
        return refuse_coroutine(result, fn) if type(result) is CoroutineType else result

    return call


def refuse_coroutine(result: CoroutineType[Any, Any, Any], fn: Any) -> NoReturn:
    """Raises TypeError where a plain function turned out to return a coroutine: its work would not be protected."""
    result.close()
    raise TypeError(
        f"{name_of(fn)} is a plain function that returned a coroutine, whose work would not be protected; "
        "put an async function around it and protect that"
    )


def _wrap_acall(chain: Chain, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if current() is None:
            return await (chain.acall or chain.prepare("acall"))(fn, args, kwargs)
        return await chain.watch("acall")(fn, args, kwargs)

    return call


def _wrap_stream(chain: Chain, fn: Callable[..., Any]) -> Callable[..., Any]:
    def stream(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        link = (chain.stream or chain.prepare("stream")) if current() is None else chain.watch("stream")
        return (yield from link(fn, args, kwargs))

    return stream


def _wrap_astream(chain: Chain, fn: Callable[..., Any]) -> Callable[..., Any]:
    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        link = (chain.astream or chain.prepare("astream")) if current() is None else chain.watch("astream")
        async with aclosing(link(fn, args, kwargs)) as items:
            more: Callable[[], Awaitable[Any]] = items.__anext__
            while True:  # as in `stream.relay`, which cannot be it: this function has to be an async generator itself
                try:
                    item = await more()
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    more = functools.partial(items.athrow, thrown)
                else:
                    more = functools.partial(items.asend, sent)

    return stream


_WRAP: Final[dict[Kind, Callable[[Chain, Any], Callable[..., Any]]]] = {
    "call": _wrap_call,
    "acall": _wrap_acall,
    "stream": _wrap_stream,
    "astream": _wrap_astream,
}
