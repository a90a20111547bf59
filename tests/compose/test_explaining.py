"""What a pipeline says of itself, and what its linter finds: each finding once, each with a counterexample."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from seawall import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Finding,
    Hedge,
    Pipeline,
    RateLimit,
    Retry,
    SeawallWarning,
    Strategy,
    Timeout,
)

NUMBERS = itertools.count()
Make = Callable[[], Sequence[Strategy]]


def findings(strategies: Sequence[Strategy]) -> tuple[Finding, ...]:
    """What the linter finds; checks that the construction warned of exactly that."""
    name = f"linted {next(NUMBERS)}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline = Pipeline(name, *strategies)
    found = pipeline.explain().findings
    assert [f"pipeline {name!r}: {finding}" for finding in found] == [str(each.message) for each in caught]
    assert all(each.category is SeawallWarning for each in caught)
    assert all(__file__ == each.filename for each in caught), "the warning points at the user's line"
    return found


def quick_retry() -> Retry:
    """A Retry whose delays fit."""
    return Retry(on=OSError, backoff=1)


CASES: dict[str, tuple[str, tuple[str, ...], Make, Make]] = {
    "fallback within a retry": (
        "inner fallback hides an outer retry",
        ("list the Fallback before the Retry",),
        lambda: [quick_retry(), Fallback(1, on=OSError), Timeout(1)],
        lambda: [Fallback(1, on=OSError), quick_retry(), Timeout(1)],
    ),
    "attempt longer than the total": (
        "attempt time-out above the total",
        ("'long attempt' (10 s)", "'short total' (5 s)", "shorten"),
        lambda: [Timeout(5, name="short total"), Timeout(10, name="long attempt")],
        lambda: [Timeout(10, name="long total"), Timeout(5, name="short attempt")],
    ),
    "attempt longer than max_elapsed": (
        "attempt time-out above the total",
        ("(40 s)", "max_elapsed", "(30 s)", "never retried"),
        lambda: [quick_retry(), Timeout(40)],
        lambda: [Retry(on=OSError, backoff=1, max_elapsed=100), Timeout(40)],
    ),
    "breaker around a waiting bulkhead": (
        "breaker outside a waiting bulkhead or limiter",
        ("list the breaker after it",),
        lambda: [CircuitBreaker(failures=5), Bulkhead(5, max_waiting=5, max_wait=1), Timeout(1)],
        lambda: [Bulkhead(5, max_waiting=5, max_wait=1), CircuitBreaker(failures=5), Timeout(1)],
    ),
    "breaker around a waiting limiter": (
        "breaker outside a waiting bulkhead or limiter",
        ("list the breaker after it",),
        lambda: [CircuitBreaker(failures=5), RateLimit(5, max_wait=1), Timeout(1)],
        lambda: [CircuitBreaker(failures=5), RateLimit(5), Bulkhead(5), Timeout(1)],
    ),
    "window too short": (
        "breaker window below twice the time-out",
        ("19 s", "10 s", "window=20 or more"),
        lambda: [CircuitBreaker(failures=5, window=19), Timeout(10)],
        lambda: [CircuitBreaker(failures=5, window=20), Timeout(10)],
    ),
    "hedge too late": (
        "hedge delay above the time-out",
        ("5 s", "less than 5 s"),
        lambda: [Hedge(5), Timeout(5)],
        lambda: [Hedge(4.9), Timeout(5)],
    ),
    "delays too long": (
        "delays do not fit",
        ("add up to 14 s", "max_elapsed=10", "raise max_elapsed or lower max_attempts"),
        lambda: [Retry(on=OSError, max_attempts=4, backoff=Backoff.exponential(2), max_elapsed=10), Timeout(1)],
        lambda: [Retry(on=OSError, max_attempts=4, backoff=Backoff.exponential(2), max_elapsed=15), Timeout(1)],
    ),
    "no time-out": (
        "time unbounded",
        ("add a Timeout as the innermost strategy",),
        lambda: [quick_retry()],
        lambda: [quick_retry(), Timeout(1)],
    ),
    "wait without end": (
        "time unbounded",
        ("give the Bulkhead a max_wait",),
        lambda: [Bulkhead(1, max_waiting=5), Timeout(1)],
        lambda: [Timeout(9), Bulkhead(1, max_waiting=5)],
    ),
    "outside the fallback": (
        "strategy outside the fallback",
        ("has no fallback", "list the Fallback first"),
        lambda: [Bulkhead(1), Fallback(1, on=OSError), Timeout(1)],
        lambda: [Fallback(1, on=OSError), Bulkhead(1), Timeout(1)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_linter_finds(case: str) -> None:
    """The finding, alone, with what to do about it."""
    rule, parts, doubtful, _ = CASES[case]
    found = findings(doubtful())
    assert [rule] == [finding.rule for finding in found]
    assert [] == [part for part in parts if part not in found[0].advice], found[0].advice
    assert f"{rule}: {found[0].advice}" == str(found[0])


@pytest.mark.parametrize("case", CASES)
def test_the_linter_is_silent(case: str) -> None:
    """About the same pipeline, put right."""
    assert () == findings(CASES[case][3]())


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: [Timeout(1)],
        lambda: [RateLimit(5)],
        lambda: [Fallback(1, on=OSError)],
        lambda: [Timeout(60), quick_retry(), Timeout(5)],
        lambda: [Retry(on=OSError), CircuitBreaker(failures=5), Timeout(10)],
        lambda: [CircuitBreaker(failures=5), quick_retry(), Timeout(10)],
        lambda: [
            Fallback(1, on=OSError),
            quick_retry(),
            RateLimit(5, max_wait=1),
            Bulkhead(5, max_waiting=5, max_wait=1),
            CircuitBreaker(failure_rate=0.5, window=30),
            Timeout(10),
        ],
    ],
)
def test_the_linter_is_silent_about_sound_pipelines(make: Make) -> None:
    """The recommended order, and parts of it; layered time-outs too."""
    assert () == findings(make())


@pytest.mark.parametrize(
    ("on_retry", "on_fallback", "hides"),
    [
        (OSError, KeyError, False),
        ((OSError, ValueError), (KeyError, IndexError), False),
        (OSError, ConnectionError, True),
        (ConnectionError, OSError, True),
        ((ValueError, OSError), (KeyError, OSError), True),
        (lambda error: True, KeyError, True),
        (OSError, lambda error: True, True),
    ],
)
def test_an_inner_fallback_hides_only_what_it_may_answer_for(on_retry: Any, on_fallback: Any, hides: bool) -> None:
    """Classes that have nothing in common hide nothing from one another; of a predicate nobody knows."""
    found = findings([Retry(on=on_retry, backoff=1), Fallback(1, on=on_fallback), Timeout(1)])
    assert hides == ("inner fallback hides an outer retry" in [finding.rule for finding in found])


def test_findings_come_with_every_place() -> None:
    """Two inner fallbacks: two findings."""
    found = findings(
        [
            quick_retry(),
            Fallback(1, on=OSError, name="one hidden"),
            Fallback(2, on=OSError, name="two hidden"),
            Timeout(1),
        ]
    )
    assert ["inner fallback hides an outer retry"] * 2 == [finding.rule for finding in found]


@pytest.mark.parametrize(
    ("make", "attempts", "duration"),
    [
        (list, 1, math.inf),
        (lambda: [Timeout(10)], 1, 10.0),
        (lambda: [Timeout(5, name="worst total"), Timeout(1, name="worst attempt")], 1, 1.0),
        (lambda: [Bulkhead(1, max_waiting=1, max_wait=3), Timeout(10)], 1, 13.0),
        (lambda: [RateLimit(1, max_wait=3), Timeout(10)], 1, 13.0),
        (lambda: [Timeout(12), Retry(on=OSError, max_attempts=4, backoff=1, retry_after=False)], 4, 12.0),
        (lambda: [Retry(on=OSError, max_attempts=4, backoff=1, retry_after=False), Timeout(2)], 4, 11.0),
        (lambda: [Retry(on=OSError, max_attempts=9, backoff=4, retry_after=False), Timeout(2)], 9, 32.0),
        (
            lambda: [
                Retry(on=OSError, max_attempts=4, backoff=Backoff.exponential(2), max_elapsed=None, retry_after=False),
                Timeout(30),
            ],
            4,
            134.0,
        ),
        (lambda: [Retry(on=OSError, backoff=1, max_elapsed=None, max_retry_after=20), Timeout(1)], 3, 43.0),
        (lambda: [Hedge(0.1, max_extra=2), Timeout(2)], 3, 2.2),
        (lambda: [Fallback(1, on=OSError), CircuitBreaker(failures=5), Timeout(2)], 1, 2.0),
    ],
)
def test_the_worst_case(make: Make, attempts: int, duration: float) -> None:
    """Attempts, and seconds that one async call can last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explained = Pipeline(f"worst {next(NUMBERS)}", *make()).explain()
    assert (attempts, duration) == (explained.worst_attempts, pytest.approx(explained.worst_duration))


def test_the_explanation_as_text() -> None:
    """Strategies with settings, the worst case, and findings: what a person reads."""
    with pytest.warns(SeawallWarning, match="attempt time-out above the total"):
        pipeline = Pipeline(
            "explained",
            Fallback("stale", on=(OSError, KeyError)),
            Retry(on=OSError, max_attempts=4, backoff=Backoff.exponential(2.0, cap=30.0), max_elapsed=60),
            RateLimit(10, per=2, max_wait=1.5),
            Bulkhead(20, max_waiting=40, max_wait=30.0, name="slots of explained"),
            CircuitBreaker(failure_rate=0.5, window=150, open_for=60.0),
            Timeout(70),
        )
    assert [
        "pipeline 'explained', outermost first",
        "  Fallback 'explained.fallback': sources=(value), on=(OSError, KeyError)",
        "  Retry 'explained.retry': on=OSError, max_attempts=4, backoff=2, 4, 8 ... s, max_elapsed=60, "
        "max_retry_after=30",
        "  RateLimit 'explained.ratelimit': rate=10, per=2, algorithm=token_bucket, max_wait=1.5, burst=10",
        "  Bulkhead 'slots of explained': max_concurrent=20, max_waiting=40, max_wait=30",
        "  CircuitBreaker 'explained.breaker': failure_rate=0.5, window=150, min_calls=10, open_for=60, probes=1, "
        "on=Exception",
        "  Timeout 'explained.timeout': seconds=70",
        "  at worst, when async: 4 attempts, 161.5 s",
        "  ! attempt time-out above the total: 'explained.timeout' (70 s) is longer than max_elapsed of "
        "'explained.retry' (60 s), so an attempt that times out is never retried; raise max_elapsed",
    ] == str(pipeline.explain()).splitlines()
    assert pipeline.explain().findings == pipeline.explain().findings
    assert "explained" == pipeline.explain().name


def test_an_unbounded_pipeline_says_so() -> None:
    """In the text and in the figure."""
    explained = Pipeline("unbounded", RateLimit(1)).explain()
    assert str(explained).endswith("  at worst, when async: 1 attempt, without bound")
    assert math.inf == explained.worst_duration


@pytest.mark.parametrize(
    ("backoff", "text"),
    [
        (Backoff.exponential(2, cap=30, jitter="full"), "2, 4, 8 ... s (full jitter)"),
        (Backoff.exponential(1, jitter="equal"), "1, 2, 4 ... s (equal jitter)"),
        (Backoff.linear(1, step=2), "1, 3, 5 ... s"),
        (Backoff.listed(1, 5, 15, 60), "1, 5, 15, 60 s"),
        (Backoff.fixed(0.1), "0.1 s"),
    ],
)
def test_a_backoff_is_shown_as_its_delays(backoff: Backoff, text: str) -> None:
    """The first delays, or all where they are listed, and the jitter where there is some."""
    assert text == str(backoff)


def page_is_missing(page: object) -> bool:
    """Says of a result whether it is a failure."""
    return page is None


def test_a_retry_shows_what_it_does_to_results_and_hints() -> None:
    """`on_result` by its name, a `max_elapsed` that is none, and `max_retry_after` only where hints are honoured."""
    pipeline = Pipeline(
        "explained retry",
        Retry(on=OSError, on_result=page_is_missing, backoff=1, max_elapsed=None, retry_after=False),
        Timeout(1),
    )
    assert (
        "  Retry 'explained retry.retry': on=OSError, on_result=page_is_missing, max_attempts=3, backoff=1 s, "
        "max_elapsed=unbounded"
    ) == str(pipeline.explain()).splitlines()[1]


def test_the_breaker_shows_only_figures_that_matter() -> None:
    """Failures in a row need no least number of calls."""
    explained = Pipeline("figures", CircuitBreaker(failures=5, open_for=60.0), Timeout(1)).explain()
    (_, settings), _ = explained.strategies
    assert {"failures": 5, "open_for": 60.0, "probes": 1, "on": Exception} == settings
