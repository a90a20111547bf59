"""The policies of the LLM gateway: each figure of its table, and what the figures come to in time."""

import asyncio
from typing import Any

import httpx2
import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway import failures
from examples.llmgateway.system import POLICIES, PROVIDERS
from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    DeadlineExceededError,
    Hedge,
    Pipeline,
    Policies,
    Retry,
    Timeout,
)
from seawall.integrations.httpx import protect
from seawall.testing import FakeClock
from tests.examples.llmgateway import free_names

AS_PROVIDERS = ["retry", "breaker", "timeout", "bulkhead"]
TABLE = {  # retries: their delays; breaker: failures, seconds; time-out; bulkhead
    "anthropic": (AS_PROVIDERS, [2, 4, 8], (5, 30), 30, 10),
    "openai": (AS_PROVIDERS, [2, 4, 8], (5, 30), 30, 10),
    "database": (["retry", "timeout"], [1, 2], None, 5, None),
    "database connection": (["retry", "timeout"], [2, 4, 8], None, 30, None),
    "external": (AS_PROVIDERS, [2, 4, 8], (3, 60), 10, 5),
    "queue": (AS_PROVIDERS, [2, 4, 8, 16, 32], (10, 60), 5, 20),
}


@pytest.fixture
def policies() -> Policies:
    """The policies as they are in the file."""
    free_names()
    return Policies(POLICIES, environ={})


@pytest.mark.parametrize("name", TABLE)
def test_each_has_the_figures_of_the_table(policies: Policies, name: str) -> None:
    """Order, retries and their delays without jitter, breaker, time-out of an attempt, bulkhead without a queue."""
    order, delays, breaking, seconds, at_once = TABLE[name]
    policy = policies[name]
    retry = policy.get(Retry)

    assert order == [strategy.word for strategy in policy.strategies]
    assert len(delays) + 1 == retry.max_attempts
    for plainly in (retry.backoff.plain, retry.backoff.longest):
        assert delays == [plainly(number) for number in range(1, len(delays) + 1)]
    assert seconds == policy.get(Timeout).seconds
    if breaking is not None:
        settings = policy.get(CircuitBreaker).settings()
        assert breaking == (settings["failures"], settings["open_for"])
    if at_once is not None:
        assert (at_once, 0) == (policy.get(Bulkhead).max_concurrent, policy.get(Bulkhead).max_waiting)


def test_there_are_no_others_and_nothing_to_complain_of(policies: Policies) -> None:
    """The linter finds nothing, and connecting to the database waits at most 30 s between attempts, however often."""
    assert {"chat", *TABLE} == set(policies)
    assert [()] * len(policies) == [each.findings for each in policies.explain()]
    backoff = policies["database connection"].get(Retry).backoff
    assert 30 == max(backoff.longest(number) for number in range(1, 20))


@pytest.mark.parametrize("name", TABLE)
def test_no_total_time_cuts_its_policy(policies: Policies, name: str) -> None:
    """The last attempt may begin after every one before has used up its time-out, and waited its delay, or 30 s."""
    _, delays, _, seconds, _ = TABLE[name]
    retry = policies[name].get(Retry)
    hinted = sum(delays) if "database" in name else sum(max(delay, retry.max_retry_after) for delay in delays)

    assert retry.max_elapsed is not None
    assert len(delays) * seconds + hinted <= retry.max_elapsed


def test_a_customer_waits_for_the_other_provider_and_not_for_retries(policies: Policies) -> None:
    """The chat policy: 60 s in all, the next attempt after 0.3 s or a failure, three at most, full house or not."""
    chat = policies["chat"]

    assert ["timeout", "hedge", "retry"] == [strategy.word for strategy in chat.strategies]
    assert (60, 0.3, 2) == (chat.get(Timeout).seconds, chat.get(Hedge).after, chat.get(Hedge).max_extra)
    assert 0.3 < policies[PROVIDERS[0]].get(Retry).backoff.plain(1)


class Failing(httpx2.AsyncBaseTransport):
    """A server that answers 500 always; `times` says when, on the event loop's clock."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Fail."""
        self.times.append(asyncio.get_running_loop().time())
        return httpx2.Response(500, request=request)


def in_virtual_time(pipeline: Pipeline, calls: int) -> tuple[list[float], list[Any]]:
    """Make calls under a policy while time passes only when everybody waits; return when they came, and results."""
    server = Failing()
    results: list[Any] = []

    async def ask() -> None:
        clock.drive(asyncio.get_running_loop())
        client = protect(httpx2.AsyncClient(transport=server, base_url="http://server", timeout=None), pipeline)
        for _ in range(calls):
            try:
                results.append((await client.post("/", headers={"Idempotency-Key": "k"})).status_code)
            except httpx2.TransportError as error:
                results.append(error)
        await client.aclose()

    with FakeClock() as clock:
        asyncio.run(ask())
    return [time - server.times[0] for time in server.times], results


def test_a_provider_is_asked_four_times_and_left_alone_after_five_failures() -> None:
    """Attempts at 0, 2, 6 and 14 s; the fifth failure in a row opens the circuit, and the retry meets it open."""
    free_names()
    with FakeClock():
        policies = Policies(POLICIES, environ={})
    times, results = in_virtual_time(policies["anthropic"], 2)

    assert pytest.approx([0, 2, 6, 14, 14], abs=0.01) == times
    assert 500 == results[0]
    assert isinstance(results[1], CircuitOpenError)


def test_the_queue_is_tried_for_a_minute() -> None:
    """All five retries are made: after 2, 4, 8, 16 and 32 s."""
    free_names()
    with FakeClock():
        policies = Policies(POLICIES, environ={}, names={"queue_away": Exception})
    times, _ = in_virtual_time(policies["queue"], 1)

    assert pytest.approx([0, 2, 6, 14, 30, 62], abs=0.01) == times


@pytest.mark.parametrize(
    ("failure", "elsewhere", "again"),
    [
        (CallTimeoutError("p", 30.0, False), True, True),
        (CallTimeoutError("p", 0.5, True), False, False),  # the customer's own time was up
        (DeadlineExceededError("p", None), False, False),
        (BulkheadFullError("p", None), True, False),
        (failures.ProviderRefusedError(), False, False),
        (failures.ProviderFailedError(), True, False),
        (failures.StreamBrokenError("cut"), True, True),
        (ValueError("a mistake of ours"), False, False),
    ],
)
def test_what_is_asked_elsewhere_and_what_again(failure: Exception, elsewhere: bool, again: bool) -> None:
    """The other provider only where it may do better; the same one, and the database, only where it may pass."""
    assert (elsewhere, again) == (failures.provider_away(failure), failures.provider_failed(failure))
    assert failures.database_away(failure) is again


def test_a_variable_replaces_a_figure() -> None:
    """One value of one policy; the rest stays."""
    free_names()
    policies = Policies(POLICIES, environ={"SEAWALL_POLICIES__OPENAI__RETRY__MAX_ATTEMPTS": "2"})

    assert [4, 2] == [policies[name].get(Retry).max_attempts for name in PROVIDERS]
