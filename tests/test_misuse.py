"""Misuse: a wrong argument is refused where it is given; the error names it, its value, and what would be right."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from seawall import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    RetryBudget,
    Timeout,
    WorkerPool,
    deadline,
)
from seawall.testing import CrashRunner, FakeClock

Make = Callable[..., Any]
INF, NAN = math.inf, math.nan
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Sort:
    """A sort of argument: what it refuses by type and by value, and how the error says what would be right."""

    right: str
    wrong_type: tuple[object, ...]
    wrong_value: tuple[object, ...]

    def optional(self) -> "Sort":
        """The same, where None is a value of its own."""
        return Sort(self.right, tuple(bad for bad in self.wrong_type if bad is not None), self.wrong_value)

    def also(self, *good: object) -> "Sort":
        """The same, where these are allowed."""
        return Sort(self.right, self.wrong_type, tuple(bad for bad in self.wrong_value if bad not in good))


NO_NUMBER = ("5", b"5", True, False, None, [1], 1j)
NO_WHOLE = (*NO_NUMBER, 1.5, 2.0, NAN, INF)
OUT = (NAN, -INF, -1, -0.001)
SECONDS = Sort("a duration above 0", NO_NUMBER, (*OUT, INF, 0, 0.0, timedelta(0), timedelta(seconds=-1)))
FROM_ZERO = Sort("a duration of at least 0", NO_NUMBER, (*OUT, INF, timedelta(seconds=-1)))
RATE = Sort("a number above 0 to 1", NO_NUMBER, (*OUT, INF, 0, 1.01, 100)).optional()
MATCHER = Sort("an exception class, a tuple of classes, or a function", (None, 5, "ValueError", int, object), ())
PREDICATE = Sort("use a ", (5, "no", True), ())
NAME = Sort("use a text such as", (5, True, b"x", ["x"], ""), ())
RNG = Sort("returns a number in [0, 1)", (5, "x", True), ())
CLOCK = Sort("use ", (5, "now", True), ())
BUDGET = Sort("RetryBudget(", (5, "x", True, 0.2), ())


def whole(least: int) -> Sort:
    """Whole numbers of at least `least`."""
    return Sort(f"a whole number of at least {least}", NO_WHOLE, tuple({least - 1, -1, -(10**30)}))


def number(right: str, *wrong: object) -> Sort:
    """Numbers within bounds."""
    return Sort(right, NO_NUMBER, (NAN, INF, -INF, *wrong))


def retry(**given: Any) -> Retry:
    """A Retry that is right but for what is given."""
    return Retry(**{"on": ConnectionError, **given})


def breaker(**given: Any) -> CircuitBreaker:
    """A CircuitBreaker that is right but for what is given."""
    return CircuitBreaker(**{"failures": 3, **given})


def windowed(**given: Any) -> CircuitBreaker:
    """A CircuitBreaker over a window that is right but for what is given."""
    return CircuitBreaker(**{"failure_rate": 0.5, "window": 30, **given})


def slow(**given: Any) -> CircuitBreaker:
    """A CircuitBreaker of slow calls that is right but for what is given."""
    return CircuitBreaker(**{"slow_rate": 0.5, "slow_after": 1, "window": 30, **given})


def bulkhead(**given: Any) -> Bulkhead:
    """A Bulkhead that is right but for what is given."""
    return Bulkhead(**{"max_concurrent": 1, "max_waiting": 1, **given})


def limit(**given: Any) -> RateLimit:
    """A RateLimit that is right but for what is given."""
    return RateLimit(**{"rate": 10, **given})


def fallback(**given: Any) -> Fallback:
    """A Fallback that is right but for what is given."""
    return Fallback(1, **{"on": ValueError, **given})


def timeout(**given: Any) -> Timeout:
    """A Timeout that is right but for what is given."""
    return Timeout(**{"seconds": 1, **given})


def pool(**given: Any) -> WorkerPool:
    """A WorkerPool that is right but for what is given."""
    return WorkerPool(**{"name": f"misused pool {next(NUMBERS)}", "threads": 1, **given})


def linear(**given: Any) -> Backoff:
    """A linear Backoff that is right but for what is given."""
    return Backoff.linear(**{"base": 1, **given})


def exponential(**given: Any) -> Backoff:
    """An exponential Backoff that is right but for what is given."""
    return Backoff.exponential(**{"base": 1, **given})


def pipeline(**given: Any) -> Pipeline:
    """A Pipeline that is right but for what is given."""
    return Pipeline(given.pop("name", f"misused pipeline {next(NUMBERS)}"), **given)


def runner(**given: Any) -> CrashRunner:
    """A CrashRunner that is right but for what is given."""
    return CrashRunner(**{"command": ["python"], **given})


FACTOR, TO_ONE, SPREAD = (
    number("a number from 1", 0.5, 0, -1),
    number("a number from 0 to 1", -0.1, 1.5),
    FROM_ZERO.right,
)
TABLE: tuple[tuple[Make, str, Sort], ...] = (
    (retry, "on", MATCHER),
    (retry, "on_result", PREDICATE),
    (retry, "max_attempts", whole(1)),
    (retry, "backoff", Sort("use ", ("5", True, None, [1]), (NAN, INF, -1, timedelta(seconds=-1)))),
    (retry, "max_elapsed", SECONDS.optional()),
    (retry, "budget", BUDGET),
    (retry, "retry_after", Sort("use ", ("yes", 5, None), ())),
    (retry, "max_retry_after", SECONDS.also(INF)),
    (retry, "rng", RNG),
    (breaker, "failures", whole(1).optional()),
    (windowed, "failure_rate", RATE),
    (windowed, "window", SECONDS.optional()),
    (windowed, "min_calls", whole(1).optional()),
    (
        lambda window_calls: CircuitBreaker(failure_rate=0.5, window_calls=window_calls),
        "window_calls",
        whole(1).optional(),
    ),
    (slow, "slow_after", SECONDS.optional()),
    (slow, "slow_rate", RATE),
    (breaker, "open_for", SECONDS.also(INF)),
    (breaker, "open_for_factor", FACTOR),
    (breaker, "open_for_cap", SECONDS.optional()),
    (breaker, "open_for_jitter", TO_ONE),
    (breaker, "probes", whole(1)),
    (breaker, "successes", whole(1)),
    (breaker, "probe_lease", SECONDS.optional()),
    (breaker, "on", MATCHER),
    (breaker, "ignore", MATCHER),
    (breaker, "on_result", PREDICATE),
    (breaker, "rng", RNG),
    (timeout, "seconds", SECONDS),
    (bulkhead, "max_concurrent", whole(1)),
    (bulkhead, "max_waiting", whole(0)),
    (bulkhead, "max_wait", SECONDS.optional()),
    (limit, "rate", number("a number above 0", 0, -1)),
    (lambda rate: RateLimit(rate, algorithm="sliding_window"), "rate", number("use a ", 0, -1)),
    (limit, "per", SECONDS),
    (limit, "burst", number("a number from 1", 0, 0.5, -1).optional()),
    (limit, "max_wait", FROM_ZERO),
    (fallback, "on", MATCHER),
    (Hedge, "after", Sort("seconds, or a quantile", (), ("5", "p0", "p100", "95", "px", ""))),
    (Hedge, "after", Sort(FROM_ZERO.right, (True, None, [1]), (NAN, -1, timedelta(seconds=-1)))),
    (Hedge, "max_extra", whole(1)),
    (Hedge, "on", MATCHER),
    (Hedge, "budget", BUDGET),
    (Hedge, "min_samples", whole(1)),
    (Hedge, "dispose", Sort("a function of the result", (5, "x", True), ())),
    (Backoff.fixed, "seconds", FROM_ZERO),
    (lambda delays: Backoff.listed(1, delays), "delays", FROM_ZERO),
    (linear, "base", FROM_ZERO),
    (linear, "step", FROM_ZERO.optional()),
    (linear, "cap", SECONDS),
    (exponential, "base", FROM_ZERO),
    (exponential, "factor", FACTOR),
    (exponential, "cap", SECONDS),
    (lambda spread: Backoff.fixed(1, jitter="proportional", spread=spread), "spread", TO_ONE.optional()),
    (lambda spread: linear(jitter="additive", spread=spread), "spread", number("a number from 0", -1).optional()),
    (RetryBudget, "rate", number("a number from 0", -0.1)),
    (RetryBudget, "min_concurrent", whole(0)),
    (pool, "threads", whole(1)),
    (pool, "max_waiting", whole(0)),
    (deadline, "seconds", FROM_ZERO.also(INF)),
    (FakeClock, "start", number("use ")),
    (FakeClock, "wall", number("use ")),
    (FakeClock, "grace", number("use ", -1).optional()),
    (runner, "command", Sort("an argument list", ("python", 5, None, [5]), ([], ()))),
    (runner, "timeout", number("use ", -1, 0)),
    *(
        (make, "name", NAME)
        for make in (retry, breaker, timeout, bulkhead, limit, fallback, Hedge, RetryBudget, pool, pipeline)
    ),
    *((make, "clock", CLOCK) for make in (retry, breaker, timeout, bulkhead, limit, fallback, Hedge, pipeline)),
    (lambda clock: deadline(1, clock=clock), "clock", CLOCK),
)


def rows() -> Iterator[Any]:
    """Each bad value of each argument, as one test."""
    for make, argument, sort in TABLE:
        what = f"{getattr(make, '__qualname__', '').replace('<lambda>', 'made')}-{argument}"
        for kind, values in ((TypeError, sort.wrong_type), (ValueError, sort.wrong_value)):
            for value in values:
                yield pytest.param(make, argument, value, kind, sort.right, id=f"{what}-{value!r}")


@pytest.mark.parametrize(("make", "argument", "value", "kind", "right"), list(rows()))
def test_a_wrong_argument_is_refused(
    make: Make, argument: str, value: object, kind: type[Exception], right: str
) -> None:
    """The error is of the right kind, and names the argument, the value, and what would be right."""
    with pytest.raises(kind) as caught:
        make(**{argument: value})
    shown = "nan" if value != value else repr(value[0] if argument == "command" and value == [5] else value)
    assert [] == [part for part in (argument, shown, right) if part not in str(caught.value)], str(caught.value)


@pytest.mark.parametrize(
    ("make", "argument"),
    [(timeout, "seconds"), (retry, "max_elapsed"), (limit, "rate"), (bulkhead, "max_wait"), (deadline, "seconds")],
)
def test_a_number_too_large_for_a_float_is_refused_by_name(make: Make, argument: str) -> None:
    """An integer of 400 digits is out of range like any other, by an error that names the argument."""
    with pytest.raises(ValueError, match=argument):
        make(**{argument: 10**400})


GOOD_SECONDS = (0.001, 1, 1.0, 7200, timedelta(milliseconds=1), timedelta(days=1), 1e-9)
GOOD_WHOLE = (1, 2, 10**9)
VALID: tuple[tuple[Make, str, tuple[object, ...]], ...] = (
    (retry, "max_attempts", GOOD_WHOLE),
    (retry, "backoff", (0, *GOOD_SECONDS, Backoff.fixed(1), lambda number: 1.0)),
    (retry, "max_elapsed", (None, *GOOD_SECONDS)),
    (retry, "max_retry_after", (INF, *GOOD_SECONDS)),
    (retry, "on", (ValueError, BaseException, (), (ValueError, OSError), lambda error: True)),
    (breaker, "failures", GOOD_WHOLE),
    (breaker, "open_for", (0.5, 1, 300, 600, 300.0, timedelta(minutes=5), INF, lambda attempt: 1.0)),
    (breaker, "open_for_factor", (1, 1.0, 2.5)),
    (breaker, "open_for_cap", (None, 30, 30.0, 10**6, timedelta(hours=1))),
    (breaker, "open_for_jitter", (0, 0.0, 0.5, 1, 1.0)),
    (breaker, "probe_lease", (None, *GOOD_SECONDS)),
    (windowed, "failure_rate", (0.001, 0.5, 1, 1.0)),
    (windowed, "window", GOOD_SECONDS),
    (windowed, "min_calls", GOOD_WHOLE),
    (slow, "slow_after", GOOD_SECONDS),
    (slow, "slow_rate", (0.001, 1, 1.0)),
    (timeout, "seconds", GOOD_SECONDS),
    (bulkhead, "max_concurrent", (1, 2, 1000)),
    (bulkhead, "max_wait", (None, *GOOD_SECONDS)),
    (limit, "rate", (0.1, 1, 10, 1e6)),
    (limit, "per", GOOD_SECONDS),
    (limit, "burst", (None, 1, 1.5, 1000)),
    (limit, "max_wait", (0, 0.0, timedelta(0), *GOOD_SECONDS)),
    (Hedge, "after", (0, 0.0, INF, timedelta(0), "p1", "p50", "p99", *GOOD_SECONDS)),
    (Backoff.fixed, "seconds", (0, 0.0, timedelta(0), 10**5, *GOOD_SECONDS)),
    (linear, "step", (None, 0, 0.5, timedelta(seconds=2))),
    (exponential, "factor", (1, 1.0, 1.5, 10)),
    (exponential, "cap", (1, 30.0, timedelta(minutes=1))),
    (RetryBudget, "rate", (0, 0.2, 1, 5.0)),
    (RetryBudget, "min_concurrent", (0, 1, 100)),
    (deadline, "seconds", (0, INF, timedelta(0), *GOOD_SECONDS)),
)


@pytest.mark.parametrize(
    ("make", "argument", "value"),
    [
        pytest.param(make, argument, value, id=f"{argument}-{value!r}"[:40])
        for make, argument, good in VALID
        for value in good
    ],
)
def test_no_valid_argument_is_refused(make: Make, argument: str, value: object) -> None:
    """Integers, floats and timedeltas within bounds are taken alike, and so is each documented special value."""
    make(**{argument: value})


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: CircuitBreaker(), ("CircuitBreaker()", "failures=5")),
        (lambda: breaker(window=10, window_calls=5), ("window=10", "window_calls=5", "give one")),
        (lambda: CircuitBreaker(failure_rate=0.5), ("failure_rate", "window=30", "window_calls=100")),
        (lambda: CircuitBreaker(slow_rate=0.5, slow_after=1), ("slow_rate", "window=30")),
        (lambda: windowed(slow_after=1), ("slow_after", "slow_rate", "give both")),
        (lambda: windowed(slow_rate=0.5), ("slow_after", "slow_rate", "give both")),
        (lambda: breaker(min_calls=4), ("min_calls=4", "window=30")),
        (
            lambda: CircuitBreaker(failure_rate=0.5, window_calls=5, min_calls=6),
            ("min_calls=6", "window_calls=5", "at most 5"),
        ),
        (lambda: breaker(failures=6, window_calls=5), ("failures=6", "window_calls=5", "at most 5")),
        (lambda: breaker(successes=3, probes=2), ("successes=3", "probes=3")),
        (lambda: windowed(successes=2, probes=5), ("successes=2", "probes")),
        (lambda: breaker(open_for=60, open_for_cap=30), ("open_for=60", "open_for_cap=60")),
        (lambda: breaker(open_for=lambda n: 1.0, open_for_factor=2), ("open_for_factor=2", "open_for")),
        (lambda: Bulkhead(1, max_wait=5), ("max_wait=5", "max_waiting=1")),
        (lambda: limit(burst=5, algorithm="sliding_window"), ("burst=5", "sliding_window", "leave it out")),
        (lambda: limit(algorithm="leaky"), ("algorithm='leaky'", "'token_bucket', 'sliding_window', 'gcra'")),
        (lambda: Backoff.fixed(1, jitter="some"), ("jitter='some'", "'none', 'full', 'equal'")),  # type: ignore[arg-type]
        (lambda: Backoff.fixed(1, spread=0.5), ("spread=0.5", "jitter='none'", "'additive' or 'proportional'")),
        (lambda: Backoff.exponential(5, cap=2), ("base=5", "cap=2", "at least 5")),
        (lambda: Backoff.listed(), ("Backoff.listed()", "Backoff.listed(1, 5, 15)")),
    ],
)
def test_figures_that_do_not_go_together_are_refused(make: Make, parts: tuple[str, ...]) -> None:
    """A ValueError names the arguments that contradict each other, and the way out."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        make()
    assert [] == [part for part in parts if part not in str(caught.value)], str(caught.value)


def test_a_sliding_window_needs_a_whole_rate() -> None:
    """2.5 starts in any span of `per` is no rule that can be kept."""
    with pytest.raises((TypeError, ValueError), match=r"rate=2\.5 .*use a whole number"):
        RateLimit(2.5, algorithm="sliding_window")


ALL_STRATEGIES = (retry, breaker, timeout, bulkhead, limit, fallback, Hedge)


@pytest.mark.parametrize("make", [*ALL_STRATEGIES, linear, exponential, RetryBudget, pool, FakeClock, runner, pipeline])
def test_an_unknown_argument_is_refused_by_name(make: Make) -> None:
    """A misspelt argument is never taken silently."""
    with pytest.raises(TypeError, match="retires"):
        make(retires=3)


@pytest.mark.parametrize("make", [Retry, Fallback, lambda: Fallback(1)])
def test_on_has_no_default(make: Make) -> None:
    """Which failures are safe to repeat or to replace, only the user knows."""
    with pytest.raises(TypeError, match=r"\bon\b|nothing to answer"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Retry(ValueError),  # type: ignore[call-arg, misc]
        lambda: CircuitBreaker(5),  # type: ignore[call-arg, misc]
        lambda: Bulkhead(5, 5),  # type: ignore[call-arg, misc]
        lambda: RateLimit(5, 5),  # type: ignore[call-arg, misc]
        lambda: Timeout(5, "x"),  # type: ignore[call-arg, misc]
        lambda: Hedge(5, 5),  # type: ignore[call-arg, misc]
        lambda: Backoff.exponential(1, 2),  # type: ignore[call-arg, misc]
    ],
)
def test_arguments_are_keyword_only(make: Make) -> None:
    """All but the first obvious one must be named."""
    with pytest.raises(TypeError, match="positional argument"):
        make()


def test_a_fallback_without_a_source_is_refused() -> None:
    """It would have nothing to answer with."""
    with pytest.raises(TypeError, match=r"Fallback\(\) has nothing to answer with; give a value or a function"):
        Fallback(on=ValueError)


def test_one_bad_class_in_a_tuple_is_named() -> None:
    """The error shows the item, not the whole tuple."""
    with pytest.raises(TypeError, match=r"on holds 'OSError', which is no exception class; use an exception class"):
        Retry(on=(ValueError, "OSError"))  # type: ignore[arg-type]
