"""From events to instruments: every event of the core is told, once, with the right labels."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    Fallback,
    Pipeline,
    RateLimit,
    RateLimitedError,
    RejectedError,
    Retry,
    SeawallWarning,
    Timeout,
)
from seawall._core import events
from seawall._core.chain import Call, Kind, Place
from seawall._core.events import Event, Hub
from seawall._core.strategy import Layer
from seawall.observe import Metrics
from seawall.testing import FakeClock
from tests.both import Colour, both, pipeline


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Metrics that listen, of this process alone."""
    with Metrics() as metrics:
        yield metrics


def told(metrics: Metrics, name: str) -> dict[tuple[str, ...], Any]:
    """Returns an instrument's series that are not zero; of a distribution how many values it has, and their sum."""
    figures: dict[tuple[str, ...], Any] = metrics.figures().get(name, {})
    shown = {key: (sum(each[:-1]), each[-1]) if isinstance(each, list) else each for key, each in figures.items()}
    return {key: value for key, value in shown.items() if value not in (0, (0, 0))}


def fail() -> None:
    """Fails as a dependency does."""
    raise ConnectionError("gone")


@both
def test_calls_are_told_by_how_they_ended(colour: Colour) -> None:
    """Success, failure with its class, rejection, cancellation, an answer from a fallback; each with its duration."""
    with Metrics() as metrics:
        answered = pipeline(Fallback("spare", on=ConnectionError), Timeout(5.0))
        plain = pipeline(Timeout(5.0))
        full = pipeline(RateLimit(1, per=1000))

        def wait(outcome: Any) -> Any:
            colour.clock.advance(0.5)
            return outcome

        fn = colour.script(lambda: wait("done"), lambda: wait(ConnectionError("gone")), lambda: wait("done"))
        assert ["done", "spare", "done"] == [colour.call(answered, fn) for _ in range(3)]
        for outcome in (ValueError("bad"), KeyboardInterrupt()):
            with pytest.raises(type(outcome)):
                colour.call(plain, colour.script(outcome))
        colour.call(full, colour.script("done"))
        with pytest.raises(RateLimitedError):
            colour.call(full, colour.script("done"))
    seen = told(metrics, "seawall.pipeline.duration")
    ours = {key: each for key, each in seen.items() if key[0] in (answered.name, plain.name, full.name)}
    assert {
        (answered.name, "success", ""): (2, 1.0),
        (answered.name, "degraded", ""): (1, 0.5),
        (plain.name, "failure", "ValueError"): (1, 0.0),
        (plain.name, "cancelled", "KeyboardInterrupt"): (1, 0.0),
        (full.name, "success", ""): (1, 0.0),
        (full.name, "rejected", "RateLimitedError"): (1, 0.0),
    } == ours


@both
def test_retries_are_told_by_attempt_and_by_how_they_ended(colour: Colour) -> None:
    """A call that recovers at the third attempt and one that gives up at the fourth."""
    with Metrics() as metrics:
        retry = Retry(on=ConnectionError, max_attempts=4, backoff=1.0, name=f"retry-{colour.clock.now()}-{id(colour)}")
        colour.call(retry, colour.script(ConnectionError(), ConnectionError(), "done"))
        with pytest.raises(ConnectionError):
            colour.call(retry, colour.script(ConnectionError()))
        attempts, calls = told(metrics, "seawall.retry.attempts"), told(metrics, "seawall.retry.calls")
    assert {(retry.name, "2"): 2, (retry.name, "3"): 2, (retry.name, "4"): 1} == attempts
    assert {(retry.name, "recovered"): 1, (retry.name, "gave_up"): 1} == calls


def test_attempts_beyond_the_ninth_are_not_told_apart(metrics: Metrics) -> None:
    """A label with a value for every number would be too many."""
    retry = Retry(on=ConnectionError, max_attempts=15, backoff=0.0, name="many attempts")
    with pytest.raises(ConnectionError):
        retry(fail)()
    assert (1, 6) == tuple(told(metrics, "seawall.retry.attempts")[retry.name, number] for number in ("9", "10+"))


def test_a_breaker_tells_transitions_rejections_and_the_time_to_recover() -> None:
    """Opened, probed in vain, opened again and closed: one recovery, of the whole time."""
    with FakeClock() as clock, Metrics() as metrics:
        breaker = CircuitBreaker(failures=1, open_for=30, name="told breaker")
        protected, works = breaker(fail), breaker(lambda: None)
        with pytest.raises(ConnectionError):
            protected()
        with pytest.raises(CircuitOpenError):
            protected()
        clock.advance(40)
        with pytest.raises(ConnectionError):
            protected()
        clock.advance(30)
        works()
        with breaker.isolate(), pytest.raises(CircuitIsolatedError):
            works()
        transitions, rejected = (
            told(metrics, f"seawall.circuit_breaker.{name}") for name in ("transitions", "rejected")
        )
        recovery = told(metrics, "seawall.circuit_breaker.recovery.duration")
    name = breaker.name
    states = {(name, "open"): 2, (name, "half_open"): 2, (name, "closed"): 2, (name, "isolated"): 1}
    assert (states, {(name,): 2}, {(name,): (1, 70.0)}) == (transitions, rejected, recovery)


def test_rejections_are_told_by_who_rejected(metrics: Metrics) -> None:
    """A full bulkhead and a rate limit."""
    bulkhead, limit = Bulkhead(1, name="told bulkhead"), RateLimit(1, per=1000, name="told limit")
    permit = bulkhead.acquire()
    limit.acquire()
    for _ in range(2):
        with pytest.raises(BulkheadFullError):
            bulkhead.acquire()
        with pytest.raises(RateLimitedError):
            limit.acquire()
    permit.release()
    assert {(bulkhead.name,): 2} == told(metrics, "seawall.bulkhead.rejected")
    assert {(limit.name,): 2} == told(metrics, "seawall.rate_limiter.rejected")


def test_time_in_fallback_lasts_until_the_dependency_answers_again() -> None:
    """From the first answer of a fallback, over any number of them, to the next call that needs none."""
    with FakeClock() as clock, Metrics() as metrics:
        rates = Pipeline("told rates", Fallback("spare", on=ConnectionError), Timeout(5.0))
        rates.call(fail)
        clock.advance(100)
        rates.call(fail)
        assert {(rates.name,): 1} == told(metrics, "seawall.fallback.active")
        with pytest.raises(ValueError, match="other"):
            rates.call(_other_failure)
        clock.advance(20)
        rates.call(lambda: None)
        assert {} == told(metrics, "seawall.fallback.active")
        assert {(rates.name,): (1, 120.0)} == told(metrics, "seawall.fallback.duration")
        rates.call(lambda: None)
        assert {(rates.name,): (1, 120.0)} == told(metrics, "seawall.fallback.duration")


def _other_failure() -> None:
    raise ValueError("other")


def test_concurrent_calls_are_not_mistaken_for_one_another(metrics: Metrics) -> None:
    """A hundred tasks through one pipeline, every second one answered by a fallback: 50 are degraded, 50 are not."""
    shared = Pipeline("told shared", Fallback("spare", on=ConnectionError), Timeout(5.0))

    @shared
    async def call(number: int) -> str:
        await asyncio.sleep(0)
        if number % 2:
            raise ConnectionError
        await asyncio.sleep(0)
        return "done"

    async def main() -> list[str]:
        return await asyncio.gather(*(call(number) for number in range(100)))

    assert ["done", "spare"] * 50 == asyncio.run(main())
    assert {("success", ""): 50, ("degraded", ""): 50} == ends(metrics, shared)


class Particular(Layer):
    """A strategy of a user's own that does something about spare answers."""

    word = "particular"
    example = "Particular(print)"

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(None, None)
        self.act = act

    def settings(self) -> dict[str, object]:
        """There are none."""
        return {}

    def link(self, kind: Kind, inner: Call, place: Place) -> Call:
        """Looks at each answer."""

        def call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            answer = inner(fn, args, kwargs)
            if answer == "spare":
                self.act()
            return answer

        return call


def test_a_fallback_that_answers_in_vain_leaves_no_mark(metrics: Metrics) -> None:
    """Its call fails further out: that is a failure, and the next call is a success."""
    with pytest.warns(SeawallWarning, match="outside the fallback"):
        outside = Pipeline(
            "told outside", Particular(_other_failure), Fallback("spare", on=ConnectionError), Timeout(5)
        )
    with pytest.raises(ValueError, match="other"):
        outside.call(fail)
    outside.call(lambda: "done")
    assert {("failure", "ValueError"): 1, ("success", ""): 1} == ends(metrics, outside)


def test_a_call_answered_by_a_fallback_is_that_whatever_happens_meanwhile(metrics: Metrics) -> None:
    """Before it ends, another one is answered by the dependency itself, which ends the time in fallback."""

    def meanwhile() -> None:
        thread = threading.Thread(target=beside.call, args=(lambda: "done",))
        thread.start()
        thread.join()

    with pytest.warns(SeawallWarning, match="outside the fallback"):
        beside = Pipeline("told beside", Particular(meanwhile), Fallback("spare", on=ConnectionError), Timeout(5.0))
    assert "spare" == beside.call(fail)
    beside.call(lambda: "done")
    assert {("degraded", ""): 1, ("success", ""): 2} == ends(metrics, beside)


def ends(metrics: Metrics, of: Pipeline) -> dict[tuple[str, ...], int]:
    """Returns how many calls of a pipeline ended how."""
    return {key[1:]: each[0] for key, each in told(metrics, "seawall.pipeline.duration").items() if key[0] == of.name}


EXAMPLES: dict[str, Event] = {
    "retried": events.Retried("told hub", 1, 0.5, None),
    "retry_stopped": events.RetryStopped("told hub", 3, "attempts", 1.0, None),
    "recovered": events.Recovered("told hub", 2),
    "circuit_changed": events.CircuitChanged("told hub", "closed", "open"),
    "call_rejected": events.CallRejected("told hub", RejectedError("told hub")),
    "call_timed_out": events.CallTimedOut("told hub", 1.0),
    "call_overran": events.CallOverran("told hub", 1.0, 2.0),
    "fell_back": events.FellBack("told hub", "spare", ConnectionError()),
    "hedged": events.Hedged("told hub", 2, "slow"),
    "budget_refused": events.BudgetRefused("told hub", "budget"),
}


def test_no_event_of_the_core_is_forgotten() -> None:
    """Those below are all that there are, save `CallEnded`, which is told as a duration."""
    known = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert {type(event) for event in EXAMPLES.values()} == {
        kind for kind in known if not kind.__name__.startswith("_") and kind not in (Event, events.CallEnded)
    }


@pytest.mark.parametrize("word", EXAMPLES)
def test_every_event_is_counted_by_kind_severity_and_strategy(metrics: Metrics, word: str) -> None:
    """Once, without a pipeline where the strategy stands alone."""
    Hub("told hub").tell(EXAMPLES[word])
    (key,) = told(metrics, "seawall.strategy.events")
    assert (word, "", "told hub") == (key[0], *key[2:])
    assert key[1] in ("debug", "info", "warning")


def test_events_name_the_pipeline_of_their_strategy(metrics: Metrics) -> None:
    """However the strategy is called."""
    owner = Pipeline("told owner", Timeout(0.01, name="told own name"))

    @owner
    async def slow() -> None:
        await asyncio.sleep(60)

    with pytest.raises(CallTimeoutError):
        asyncio.run(slow())
    assert {("call_timed_out", "warning", "told owner", "told own name"): 1} == told(metrics, "seawall.strategy.events")


class ErrorAnswered(events._Record):
    """As the web layer's, which this floor cannot import."""

    status, code = 503, "CIRCUIT_OPEN"


class HealthChanged(events._Record):
    """As the health monitor's."""


class RecoveryStarted(events._Record):
    """As the health monitor's."""


class RecoveryEnded(events._Record):
    """As the health monitor's."""

    succeeded = True


class RecoveryGaveUp(events._Record):
    """As the health monitor's."""


def test_events_of_web_and_health_are_told_by_their_own_instruments(metrics: Metrics) -> None:
    """And not as something that a strategy did."""
    for kind in (ErrorAnswered, HealthChanged, RecoveryStarted, RecoveryEnded, RecoveryGaveUp):
        Hub("any").tell(kind("app" if kind is ErrorAnswered else "database"))
    assert {("CIRCUIT_OPEN", "503"): 1} == told(metrics, "seawall.http.errors")
    assert {("database", "succeeded"): 1, ("database", "gave_up"): 1} == told(metrics, "seawall.recovery.actions")
    assert {} == told(metrics, "seawall.strategy.events")


def test_nothing_is_heard_before_the_start_and_after_the_stop() -> None:
    """What was counted stays; a second start or stop is none."""
    metrics = Metrics()
    alone = Pipeline("told alone", Timeout(5.0))
    alone.call(lambda: None)
    for _ in range(2):
        metrics.start()
    alone.call(lambda: None)
    for _ in range(2):
        metrics.stop()
    alone.call(lambda: None)
    assert {("told alone", "success", ""): 1} == {
        key: each[0] for key, each in told(metrics, "seawall.pipeline.duration").items()
    }


def test_the_short_way_counts_what_the_long_one_does(metrics: Metrics) -> None:
    """A thousand successes of one pipeline, by eight threads, around failures: every one is in the distribution."""
    shared = Pipeline("told threads", Timeout(5.0))

    def work(number: int) -> None:
        if number % 10 == 0:
            with pytest.raises(ConnectionError):
                shared.call(fail)
        shared.call(int.__call__)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1000)))
    assert {("success", ""): 1000, ("failure", "ConnectionError"): 100} == ends(metrics, shared)
