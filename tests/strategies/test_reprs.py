"""What strategies, pipelines and pools show of themselves in a debugger or an error."""

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
    Strategy,
    Timeout,
    WorkerPool,
)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (
            Retry(on=ConnectionError, backoff=0.5, name="retry shown"),
            "Retry(on=ConnectionError, max_attempts=3, backoff=0.5 s, max_elapsed=30, max_retry_after=30, "
            "name='retry shown')",
        ),
        (
            Retry(
                on=(OSError, KeyError),
                on_result=bool,
                backoff=Backoff.exponential(2, jitter="full"),
                max_elapsed=None,
                retry_after=False,
                budget=RetryBudget(),
                name="all shown",
            ),
            "Retry(on=(OSError, KeyError), on_result=bool, max_attempts=3, backoff=2, 4, 8 ... s (full jitter), "
            "max_elapsed=unbounded, budget=RetryBudget(rate=0.2, min_concurrent=3), name='all shown')",
        ),
        (
            CircuitBreaker(failures=5, name="breaker shown"),
            "CircuitBreaker(failures=5, open_for=30, probes=1, on=Exception, name='breaker shown')",
        ),
        (Timeout(2.5, name="timeout shown"), "Timeout(seconds=2.5, name='timeout shown')"),
        (
            Bulkhead(5, name="bulkhead shown"),
            "Bulkhead(max_concurrent=5, max_waiting=0, name='bulkhead shown')",
        ),
        (Fallback("secret", len, on=OSError, name="shown"), "Fallback(sources=(value, len), on=OSError, name='shown')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_strategy_shows_its_settings(strategy: Strategy, text: str) -> None:
    """As it could be written, without what is not set, with its name."""
    assert text == repr(strategy)


@pytest.mark.parametrize("make", [lambda: Timeout(1), lambda: RateLimit(5), Hedge])
def test_a_strategy_without_a_name_shows_its_kind(make: Any) -> None:
    """Until it is given one."""
    strategy = make()
    assert repr(strategy).endswith(f"name={strategy.word!r})")
    assert repr(strategy).startswith(f"{type(strategy).__name__}(")


def test_a_local_function_is_shown_by_its_own_name() -> None:
    """Not by the function around it."""

    def known(error: Exception) -> bool:
        return True

    retry = Retry(on=known, name="local predicate")
    assert repr(retry).startswith("Retry(on=known, ")
    alone = Timeout(1)

    @alone
    def work() -> None:
        """Works."""

    assert ("work", "work") == (alone.name, work.__name__)


def test_a_pipeline_shows_what_it_is_made_of() -> None:
    """The classes, outermost first."""
    assert "Pipeline('alone shown')" == repr(Pipeline("alone shown"))
    assert "Pipeline('also shown', RateLimit, Timeout)" == repr(Pipeline("also shown", RateLimit(5), Timeout(1)))


def test_a_pool_shows_its_figures() -> None:
    """Name, threads, places in the queue."""
    assert "WorkerPool('pool shown', 4, 20)" == repr(WorkerPool("pool shown", threads=4, max_waiting=20))
