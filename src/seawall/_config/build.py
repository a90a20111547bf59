"""A policy's strategies out of its table: each key is a strategy's word, each value its constructor's arguments."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from seawall._config.problems import Problem
from seawall._core import errors
from seawall._core.backoff import Backoff
from seawall._core.budget import RetryBudget
from seawall._core.nearest import nearest
from seawall._core.outcome import asker
from seawall._core.strategy import Strategy
from seawall._strategies.breaker import CircuitBreaker
from seawall._strategies.bulkhead import Bulkhead
from seawall._strategies.fallback import Fallback
from seawall._strategies.hedge import Hedge
from seawall._strategies.ratelimit import RateLimit
from seawall._strategies.retry import Retry
from seawall._strategies.timeout import Timeout

KINDS: Final[dict[str, type[Strategy]]] = {
    kind.word: kind for kind in (Fallback, Retry, RateLimit, Bulkhead, CircuitBreaker, Timeout, Hedge)
}
_MATCHERS: Final = frozenset({"on", "ignore"})
_FUNCTIONS: Final = frozenset({"on_result", "dispose"})
_NOT_HERE: Final = frozenset({"clock", "rng", "name"})
Names = Mapping[str, Any]


class Builder:
    """Makes strategies, and takes down what is wrong instead of stopping at the first thing.

    Args:
        names: what a configuration may name: exceptions, predicates, functions.
        origin: says where the value of a key is from.
    """

    def __init__(self, names: Names, origin: Callable[[tuple[str, ...]], str]) -> None:
        self._names = names
        self._origin = origin
        self.problems: list[Problem] = []

    def policy(self, key: tuple[str, ...], table: object, unchanged: Mapping[str, Strategy]) -> dict[str, Strategy]:
        """Returns the strategies of a policy in the order of its keys, the outermost first.

        Args:
            key: where the policy stands.
            table: its strategies.
            unchanged: those that need not be made anew.
        """
        if not isinstance(table, dict) or not table:
            self.wrong(key, table, "a policy is a table of strategies, outermost first: retry = {...}, timeout = 10.0")
            return {}
        made = {word: unchanged.get(word) or self._strategy((*key, word), word, value) for word, value in table.items()}
        return {word: strategy for word, strategy in made.items() if strategy is not None}

    def _strategy(self, key: tuple[str, ...], word: str, value: object) -> Strategy | None:
        word = word.partition(" ")[0]
        kind = KINDS.get(word)
        if kind is None:
            near = nearest(word, KINDS)
            hint = f"did you mean {near}?" if near else f"use one of {', '.join(KINDS)}"
            self.wrong(key, value, f"there is no strategy {word!r}; {hint}")
            return None
        arguments = value if isinstance(value, dict) else {_first(kind): value}
        before = len(self.problems)
        known = {}
        for argument, given in arguments.items():
            if argument in _NOT_HERE:
                self.wrong((*key, argument), given, "it cannot be set in a file")
            else:
                known[argument] = self._argument((*key, argument), argument, given)
        return self._made(key, kind, known, value, len(self.problems) > before)

    def _made(
        self, key: tuple[str, ...], kind: type[Strategy], known: dict[str, Any], value: Any, doubtful: bool
    ) -> Strategy | None:
        """Calls the constructor; where it refuses an argument, again without it, until all that is wrong is known."""
        left = dict(known)
        given = value if isinstance(value, dict) else dict.fromkeys(known, value)
        while True:
            try:
                made = _call(kind, left)
            except (TypeError, ValueError) as error:
                doubtful = True
                blamed = _blamed(str(error), left)
                if blamed is None:
                    if len(left) == len(known) or "lacks the argument" not in str(error):
                        self.wrong(key, value, str(error))
                    return None
                place = (*key, blamed) if isinstance(value, dict) else key
                self.wrong(place, given[blamed], str(error).removeprefix(f"{blamed}={left[blamed]!r} "))
                if blamed in _required(kind):
                    left[blamed] = 1  # right for all of them, so that what follows is looked at too
                else:
                    del left[blamed]
            else:
                return None if doubtful else made

    def _argument(self, key: tuple[str, ...], argument: str, value: Any) -> Any:
        if argument in _MATCHERS:
            return self._matcher(key, value)
        if argument in _FUNCTIONS or (argument == "sources" and isinstance(value, str)):
            return self._named(key, value, "a function")
        if argument == "backoff" and isinstance(value, dict):
            return self._backoff(key, value)
        if argument == "budget":
            return self._budget(key, value)
        return value

    def _matcher(self, key: tuple[str, ...], value: object) -> Any:
        """Returns what `on` or `ignore` names: classes, or one predicate that asks all of them."""
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.wrong(
                key, value, 'use the name of an exception or predicate, or a list: ["ConnectionError", "transient"]'
            )
            return ()
        found = [self._named(key, name, "an exception or predicate") for name in names]
        if all(isinstance(each, type) for each in found):
            return tuple(found)
        if len(found) == 1:
            return found[0]
        return _any_of(found, names)

    def _named(self, key: tuple[str, ...], name: object, what: str) -> Any:
        if isinstance(name, str):
            for space in (self._names, vars(errors), vars(builtins)):
                found = space.get(name)
                if callable(found) and (space is self._names or _is_error(found)):
                    return found
        known = ", ".join(sorted(self._names)) or "none"
        self.wrong(
            key, name, f"it is not the name of {what}; known are Python's and seawall's own errors, and: {known}"
        )
        return Exception

    def _backoff(self, key: tuple[str, ...], table: dict[str, Any]) -> Any:
        kinds = [word for word in ("fixed", "listed", "linear", "exponential") if word in table]
        if len(kinds) != 1:
            self.wrong(key, table, "use seconds, or one of { fixed | listed | linear | exponential = ..., cap = ... }")
            return 0.0
        rest = {name: value for name, value in table.items() if name != kinds[0]}
        first = table[kinds[0]]
        try:
            make = getattr(Backoff, kinds[0])
            return make(*first, **rest) if kinds[0] == "listed" and isinstance(first, list) else make(first, **rest)
        except (TypeError, ValueError) as error:
            self.wrong(key, table, str(error))
            return 0.0

    def _budget(self, key: tuple[str, ...], table: object) -> Any:
        try:
            if not isinstance(table, dict):
                raise TypeError("use a table: { rate = 0.2, min_concurrent = 3 }")
            return RetryBudget(**table)
        except (TypeError, ValueError) as error:
            self.wrong(key, table, str(error))
            return None

    def wrong(self, key: tuple[str, ...], value: object, reason: str) -> None:
        """Takes down a problem."""
        self.problems.append(Problem(self._origin(key), ".".join(key), repr(value), reason))


def _any_of(matchers: list[Any], names: list[str]) -> Callable[[Exception], bool]:
    """Returns a predicate that asks several classes and predicates, called by all their names."""
    askers = [asker(each) for each in matchers]

    def any_of(error: Exception) -> bool:
        return any(ask(error) for ask in askers)

    any_of.__qualname__ = f"({', '.join(names)})"
    return any_of


def _first(kind: type[Strategy]) -> str:
    """Returns the argument that a bare value stands for: the constructor's first one."""
    parameters = inspect.signature(kind).parameters.values()
    return next(each.name for each in parameters)


def _required(kind: type[Strategy]) -> set[str]:
    parameters = inspect.signature(kind).parameters.values()
    return {each.name for each in parameters if each.default is each.empty}


def _call(kind: type[Strategy], arguments: dict[str, Any]) -> Strategy:
    """Calls a constructor by names; the values of a Fallback are positional."""
    if kind is Fallback:
        rest = dict(arguments)
        sources = rest.pop("sources", [])
        return Fallback(*(sources if isinstance(sources, list) else [sources]), **rest)
    return kind(**arguments)


def _blamed(message: str, arguments: dict[str, Any]) -> str | None:
    """Returns the argument that an error of a constructor is about, if it is about one that was given."""
    found = re.match(r"(\w+)=", message) or re.search(r"has no argument (\w+)=", message)
    return found[1] if found and found[1] in arguments else None


def _is_error(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseException)
