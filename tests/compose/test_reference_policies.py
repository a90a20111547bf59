"""Policies of the reference systems (requirements, "Policies"), built as pipelines and driven on the fake clock."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from seawall import (
    Backoff,
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Pipeline,
    Retry,
    SeawallWarning,
    Timeout,
)
from seawall.testing import FakeClock


class StatusError(Exception):
    """An answer with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def transient(error: Exception) -> bool:
    """R1: 5xx, 408, 429, time-outs and network failures; every other answer is the caller's error."""
    if isinstance(error, StatusError):
        return error.status >= 500 or error.status in (408, 429)
    return isinstance(error, ConnectionError | TimeoutError)


def server_error(error: Exception) -> bool:
    """TicketWave: status >= 500."""
    return isinstance(error, StatusError) and error.status >= 500


class Dependency:
    """Fails with `error` until that is None; keeps the instant of each call."""

    def __init__(self, clock: FakeClock, error: Exception | None) -> None:
        self.clock = clock
        self.error = error
        self.calls: list[float] = []

    def __call__(self) -> str:
        """One call."""
        self.calls.append(self.clock.now())
        if self.error is not None:
            raise self.error
        return "ok"

    def through(self, pipeline: Pipeline) -> str:
        """Calls through a pipeline; returns the answer, or the name of the error's class."""
        self.calls.clear()
        self.clock.slept.clear()
        try:
            return pipeline.call(self)
        except Exception as error:
            return type(error).__name__


def doubling(on: Any, retries: int = 3, **given: Any) -> Retry:
    """So many retries after 2, 4, 8 s."""
    return Retry(on=on, max_attempts=1 + retries, backoff=Backoff.exponential(2.0), **given)


def test_dhanman_http() -> None:
    """Retry 2, 4, 8 s outside a breaker of 5 / 30 s: it counts attempts, and opens within the second call."""
    with FakeClock() as clock:
        with pytest.warns(SeawallWarning, match="time unbounded"):  # the document has no time-out here
            pipeline = Pipeline(
                "dhanman-http",
                doubling(transient, max_elapsed=60),
                Bulkhead(10, max_waiting=20),
                CircuitBreaker(failures=5, open_for=30, on=transient),
            )
        service = Dependency(clock, StatusError(503))
        assert "StatusError" == service.through(pipeline)
        assert ([0.0, 2.0, 6.0, 14.0], [2.0, 4.0, 8.0]) == (service.calls, clock.slept)
        assert "CircuitOpenError" == service.through(pipeline)
        assert ([14.0], [2.0]) == (service.calls, clock.slept)
        snapshot = pipeline.get(CircuitBreaker).snapshot()
        assert ("open", 28.0) == (snapshot.state, snapshot.retry_after)
        assert ("CircuitOpenError", []) == (service.through(pipeline), service.calls)
        clock.advance(28)
        service.error = None
        assert ("ok", [44.0]) == (service.through(pipeline), service.calls)
        assert "closed" == pipeline.get(CircuitBreaker).state


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_dhanman_http_leaves_the_callers_errors_alone(status: int) -> None:
    """Neither retried nor counted as a failure."""
    with FakeClock() as clock:
        pipeline = Pipeline(
            f"dhanman-http-{status}",
            doubling(transient, max_elapsed=60),
            CircuitBreaker(failures=1, open_for=30, on=transient),
            Timeout(10),
        )
        service = Dependency(clock, StatusError(status))
        for _ in range(5):
            assert ("StatusError", []) == (service.through(pipeline), clock.slept)
        assert "closed" == pipeline.get(CircuitBreaker).state


def test_dhanman_critical_and_other_calls_have_their_own_slots() -> None:
    """Critical 10 + 20 queued, other 5 + 10: the 31st and the 16th at once are rejected."""

    async def main() -> list[tuple[int, int]]:
        return [await _rejected(pipeline, calls) for pipeline, calls in ((critical, 40), (other, 40))]

    with FakeClock():
        critical = Pipeline("critical", Bulkhead(10, max_waiting=20, max_wait=30), Timeout(10))
        other = Pipeline("other", Bulkhead(5, max_waiting=10, max_wait=30), Timeout(10))
        assert [(30, 10), (15, 25)] == asyncio.run(main())


async def _rejected(pipeline: Pipeline, calls: int) -> tuple[int, int]:
    """Makes calls of 1 s at once; returns how many were served and how many rejected."""
    ends = await asyncio.gather(*(pipeline.acall(asyncio.sleep, 1, "ok") for _ in range(calls)), return_exceptions=True)
    return ends.count("ok"), sum(isinstance(end, BulkheadFullError) for end in ends)


def test_dhanman_reports() -> None:
    """Five minutes over all attempts and their waits: the third attempt is cut short."""
    calls: list[float] = []

    async def report() -> None:
        calls.append(clock.now())
        await asyncio.sleep(145)
        raise ConnectionError

    async def main() -> None:
        clock.drive(asyncio.get_running_loop())
        with pytest.raises(CallTimeoutError, match="its limit is 300 s"):
            await pipeline.acall(report)

    with FakeClock() as clock:
        pipeline = Pipeline("dhanman-reports", Timeout(300), doubling(ConnectionError, max_elapsed=None))
        asyncio.run(main())
        assert ([0.0, 147.0, 296.0], [2.0, 4.0], 300.0) == (calls, clock.slept, clock.now())


def test_ticketwave_stripe() -> None:
    """Breaker of 3 / 120 s around 2 retries of 1 s: it counts calls, not attempts."""
    with FakeClock() as clock:
        pipeline = Pipeline(
            "stripe",
            CircuitBreaker(failures=3, open_for=120, on=server_error),
            Retry(on=server_error, max_attempts=3, backoff=1),
            Timeout(10),
        )
        stripe = Dependency(clock, StatusError(500))
        for call in range(3):
            assert "closed" == pipeline.get(CircuitBreaker).state
            assert "StatusError" == stripe.through(pipeline)
            assert ([2.0 * call, 2.0 * call + 1, 2.0 * call + 2], [1.0, 1.0]) == (stripe.calls, clock.slept)
        assert 120.0 == pipeline.get(CircuitBreaker).snapshot().retry_after
        assert ("CircuitOpenError", []) == (stripe.through(pipeline), stripe.calls)
        clock.advance(119.5)
        assert ("CircuitOpenError", []) == (stripe.through(pipeline), stripe.calls)
        clock.advance(0.5)
        assert ("StatusError", [126.0, 127.0, 128.0]) == (stripe.through(pipeline), stripe.calls)
        assert "open" == pipeline.get(CircuitBreaker).state


def test_ticketwave_stripe_does_not_retry_a_declined_card() -> None:
    """402 is an answer: one call, and good news for the breaker."""
    with FakeClock() as clock:
        pipeline = Pipeline(
            "stripe-declined",
            CircuitBreaker(failures=3, open_for=120, on=server_error),
            Retry(on=server_error, max_attempts=3, backoff=1),
            Timeout(10),
        )
        stripe = Dependency(clock, StatusError(500))
        for error in (StatusError(500), StatusError(500), StatusError(402), StatusError(500), StatusError(500)):
            stripe.error = error
            stripe.through(pipeline)
            assert ([] if error.status == 402 else [1.0, 1.0]) == clock.slept
        assert "closed" == pipeline.get(CircuitBreaker).state


def test_cryptopay_rates() -> None:
    """Breaker of 50 % of at least 5 in 30 s / 60 s around 3 retries: six calls side by side, three of which fail."""

    async def main() -> list[str]:
        clock.drive(asyncio.get_running_loop())
        calls = [pipeline.acall(_rate, clock, failing=number >= 3) for number in range(6)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        return [type(end).__name__ for end in ends]

    async def later() -> None:
        with pytest.raises(CircuitOpenError) as caught:
            await pipeline.acall(_rate, clock, failing=False)
        assert 60.0 == caught.value.retry_after
        clock.advance(60)
        assert 1.0 == await pipeline.acall(_rate, clock, failing=False)

    with FakeClock() as clock:
        pipeline = Pipeline(
            "cryptopay-rates",
            CircuitBreaker(failure_rate=0.5, window=30, min_calls=5, open_for=60, on=transient),
            doubling(transient),
            Timeout(3),
        )
        assert ["float"] * 3 + ["ConnectionError"] * 3 == asyncio.run(main())
        assert 14.0 == clock.now()
        assert "open" == pipeline.get(CircuitBreaker).state
        asyncio.run(later())
        assert "closed" == pipeline.get(CircuitBreaker).state


async def _rate(clock: FakeClock, *, failing: bool) -> float:
    if failing:
        raise ConnectionError
    return 1.0


def test_cryptopay_rates_are_judged_from_the_fifth_call() -> None:
    """Four failures of four are not enough; what is older than 30 s no longer counts."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failure_rate=0.5, window=30, min_calls=5, open_for=60, on=transient)
        pipeline = Pipeline("cryptopay-judged", breaker, Timeout(3))
        api = Dependency(clock, ConnectionError())
        for _ in range(4):
            api.through(pipeline)
        assert "closed" == breaker.state
        clock.advance(31)
        api.through(pipeline)
        assert ("closed", 1) == (breaker.state, breaker.snapshot().calls)
        for _ in range(4):
            api.through(pipeline)
        assert "open" == breaker.state


def mmate(name: str) -> Pipeline:
    """3 retries of 2, 4, 8 s; 5 failures in 60 s, judged from the 10th call / 30 s; 30 s a call, 60 s a request."""
    return Pipeline(
        name,
        Timeout(60, name=f"{name} request"),
        doubling(transient, max_elapsed=None),
        CircuitBreaker(failures=5, window=60, min_calls=10, open_for=30, on=transient),
        Timeout(30, name=f"{name} call"),
    )


def test_mmate_calls() -> None:
    """The tenth attempt within the minute opens the circuit; the third call ends by it."""
    with FakeClock() as clock:
        pipeline = mmate("mmate")
        service = Dependency(clock, ConnectionError())
        for start in (0.0, 14.0):
            assert "ConnectionError" == service.through(pipeline)
            assert ([start, start + 2, start + 6, start + 14], [2.0, 4.0, 8.0]) == (service.calls, clock.slept)
        assert ("closed", 8) == (pipeline.get(CircuitBreaker).state, pipeline.get(CircuitBreaker).snapshot().failures)
        assert "CircuitOpenError" == service.through(pipeline)
        assert ([28.0, 30.0], [2.0, 4.0]) == (service.calls, clock.slept)
        assert 26.0 == pipeline.get(CircuitBreaker).snapshot().retry_after


def test_mmate_requests_that_hang() -> None:
    """Each call ends after 30 s, the request after 60 s: a second attempt is cut by the request's own limit."""

    async def main() -> None:
        with pytest.raises(CallTimeoutError, match="'mmate hangs request' did not end in time: its limit is 60 s"):
            await pipeline.acall(_hang, clock, calls)

    calls: list[float] = []
    with FakeClock() as clock:
        pipeline = mmate("mmate hangs")
        asyncio.run(main())
        assert ([0.0, 32.0], 60.0) == (calls, clock.now())
        assert 1 == pipeline.get(CircuitBreaker).snapshot().failures


async def _hang(clock: FakeClock, calls: list[float]) -> None:
    calls.append(clock.now())
    await asyncio.sleep(3600)


def llm(name: str) -> Pipeline:
    """Retry 2, 4, 8 s; breaker 5 / 30 s; 30 s; bulkhead 10: in this order, from the outside."""
    return Pipeline(
        name,
        doubling(transient, max_elapsed=150),
        CircuitBreaker(failures=5, open_for=30, on=transient),
        Timeout(30),
        Bulkhead(10),
    )


def test_llm_providers_that_hang() -> None:
    """Four attempts of 30 s with their waits are 134 s, which the bound on all attempts does not cut."""

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await pipeline.acall(_hang, clock, calls)
        assert ([0.0, 32.0, 66.0, 104.0], 134.0) == (calls, clock.now())
        calls.clear()
        with pytest.raises(CircuitOpenError):
            await pipeline.acall(_hang, clock, calls)

    calls: list[float] = []
    with FakeClock() as clock:
        pipeline = llm("llm")
        asyncio.run(main())
        assert ([134.0], 166.0) == (calls, clock.now())
        assert 28.0 == pipeline.get(CircuitBreaker).snapshot().retry_after


def test_llm_providers_under_load() -> None:
    """Of fifteen at once five are rejected: not retried, and no failure to the breaker."""
    with FakeClock():
        pipeline = llm("llm load")
        assert (10, 5) == asyncio.run(_rejected(pipeline, 15))
        assert "closed" == pipeline.get(CircuitBreaker).state


POLICIES: dict[str, tuple[Callable[[str], Pipeline], float]] = {
    "dhanman reports": (lambda name: Pipeline(name, Timeout(300), doubling(OSError, max_elapsed=None)), 300.0),
    "mmate": (mmate, 60.0),
    "llm": (llm, 180.0),
    "ticketwave": (
        lambda name: Pipeline(
            name,
            Timeout(15, name=f"{name} call"),
            CircuitBreaker(failures=5, open_for=30),
            doubling(TimeoutError),
            Timeout(10, name=f"{name} attempt"),
        ),
        15.0,
    ),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_states_its_total_time(policy: str) -> None:
    """And the linter finds nothing against it."""
    make, seconds = POLICIES[policy]
    explained = make(f"total of {policy}").explain()
    assert () == explained.findings
    assert seconds == explained.worst_duration
