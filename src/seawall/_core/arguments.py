"""Checks of constructor arguments: each error names the argument, the value and what would be right."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from seawall._core.clock import DEFAULT_CLOCK, Clock, DefaultClock

Seconds: TypeAlias = float | timedelta
"""A duration: a number of seconds, or a timedelta."""

Matcher: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""Which exceptions: a class, a tuple of classes, or a function that is asked."""

Rng: TypeAlias = Callable[[], float]
"""A source of numbers in [0, 1), such as `random.random`."""

Choice = TypeVar("Choice", bound=str)


class Random(Protocol):
    """What is asked of a `random.Random`."""

    def random(self) -> float: ...


def _number(argument: str, value: object, wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument}={value!r} is not a number; use {wanted}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{argument}, a whole number beyond 1e308, is too large; use {wanted}") from None
    if math.isnan(number):
        raise ValueError(f"{argument}=nan; use {wanted}")
    return number


def seconds(argument: str, value: Seconds, *, zero: bool = False, infinite: bool = False) -> float:
    """Returns `value` in seconds; positive unless `zero`, finite unless `infinite`."""
    bound = "of at least 0" if zero else "above 0"
    wanted = f"a duration {bound}, in seconds or as a timedelta"
    number = value.total_seconds() if isinstance(value, timedelta) else _number(argument, value, wanted)
    if number < 0 or (number == 0 and not zero) or (math.isinf(number) and not infinite):
        raise ValueError(f"{argument}={value!r} is out of range; use {wanted}")
    return number


def whole(argument: str, value: int, *, least: int) -> int:
    """Returns `value`, a whole number of at least `least`."""
    wanted = f"a whole number of at least {least}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument}={value!r} is not a whole number; use {wanted}")
    if value < least:
        raise ValueError(f"{argument}={value!r} is too small; use {wanted}")
    return value


def number(argument: str, value: float, *, least: float, most: float = math.inf, above: bool = False) -> float:
    """Returns `value`, a finite number from `least` (or above it) to `most`."""
    span = f"{'above' if above else 'from'} {least:g}" + ("" if math.isinf(most) else f" to {most:g}")
    wanted = f"a number {span}"
    got = _number(argument, value, wanted)
    if math.isinf(got) or got < least or got > most or (above and got == least):
        raise ValueError(f"{argument}={value!r} is out of range; use {wanted}")
    return got


def choice(argument: str, value: Choice, allowed: Iterable[str]) -> Choice:
    """Returns `value`, one of the allowed words."""
    words = tuple(allowed)
    if value not in words:
        raise ValueError(f"{argument}={value!r} is unknown; use one of {', '.join(map(repr, words))}")
    return value


def matcher(argument: str, value: Matcher) -> Matcher:
    """Returns `value`: an exception class, a tuple of them, or a predicate."""
    wanted = "an exception class, a tuple of classes, or a function of the exception"
    if isinstance(value, tuple):
        for item in value:
            if not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(f"{argument} holds {item!r}, which is no exception class; use {wanted}")
        return value
    if isinstance(value, type):
        if not issubclass(value, BaseException):
            raise TypeError(f"{argument}={value!r} is no exception class; use {wanted}")
        return value
    if isinstance(value, list | set | frozenset):
        raise TypeError(f"{argument}={value!r} is a {type(value).__name__}; use {wanted}")
    function(argument, value, wanted)
    return value


def check_names(cls: type, kwargs: Mapping[str, object], given: int, example: str) -> None:
    """Raises TypeError for unknown and missing arguments of a constructor, with what would be right.

    Args:
        cls: the class that is being made.
        kwargs: the arguments given by name.
        given: how many were given by position.
        example: a right use.
    """
    parameters = list(inspect.signature(cls).parameters.values())
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    for name, value in kwargs.items():
        if name not in known:
            import difflib

            near = difflib.get_close_matches(_MEANT.get(name, name), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}."
            raise TypeError(f"{cls.__name__}() has no argument {name}={value!r}; {hint} As in {example}")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if given > len(positional) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise TypeError(
            f"{cls.__name__}() takes {len(positional)} positional arguments and was given {given}; "
            f"give the others by name, as in {example}"
        )
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.name not in kwargs
        and p not in positional[:given]
    ]
    if missing:
        raise TypeError(
            f"{cls.__name__}() lacks the argument {missing[0]}, which has no default; use it as in {example}"
        )


_MEANT: Final = {
    "attempts": "max_attempts",
    "base": "seconds",
    "cooldown": "open_for",
    "count": "max_attempts",
    "delay": "backoff",
    "exceptions": "on",
    "failure_threshold": "failures",
    "fail_max": "failures",
    "max_queue": "max_waiting",
    "max_retries": "max_attempts",
    "max_time": "max_elapsed",
    "queue": "max_waiting",
    "recovery_timeout": "open_for",
    "reset_timeout": "open_for",
    "retries": "max_attempts",
    "retry_on": "on",
    "stop": "max_attempts",
    "tries": "max_attempts",
    "timeout": "seconds",
    "wait": "backoff",
}
"""Words of other libraries, and ours for them."""


def flag(argument: str, value: bool) -> bool:
    """Returns `value`, which must be True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument}={value!r} is neither True nor False; use one of them")
    return value


def clock(argument: str, value: Clock | None) -> Clock | DefaultClock:
    """Returns `value`, or the default clock for None."""
    if value is None:
        return DEFAULT_CLOCK
    for part in ("now", "wall", "sleep", "asleep", "wait", "drive"):
        if not callable(getattr(value, part, None)):
            raise TypeError(f"{argument}={value!r} is no clock, it has no {part}(); use one such as FakeClock()")
    return value


def function(argument: str, value: Any, wanted: str) -> Any:
    """Returns `value`, which must be callable."""
    if not callable(value):
        raise TypeError(f"{argument}={value!r} cannot be called; use {wanted}")
    return value


def rng(argument: str, value: object) -> Rng:
    """Returns a function that gives numbers in [0, 1): `value` itself, its `random` method, or `random.random`."""
    if value is None:
        import random  # 2 ms at import, for hashes that chance does not need

        return random.random
    method = getattr(value, "random", value)
    return function(argument, method, "a random.Random or a function that returns a number in [0, 1)")  # type: ignore[no-any-return]
