"""The policies of TicketWave: each figure of its table, and what the figures come to in time."""

import asyncio

import httpx2
import pytest

from examples.ticketwave import policies
from examples.ticketwave.policies import IN_EARNEST, Pace
from seawall import Backoff, Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from seawall.testing import FakeClock
from tests.examples.ticketwave import Scripted, broken, client, free_names, in_virtual_time, refused


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    """Let each test make pipelines of the same names."""
    free_names()


def kinds(pipeline: Pipeline) -> list[str]:
    """Return the kinds of its strategies, outermost first."""
    return [name.partition(" ")[0] for name, _ in pipeline.explain().strategies]


def delays(retry: Retry) -> list[tuple[float, float]]:
    """Return each delay without its jitter, and at its longest."""
    backoff = retry.backoff
    assert isinstance(backoff, Backoff)
    return [(backoff.plain(number), backoff.longest(number)) for number in range(1, retry.max_attempts)]


def settings(pipeline: Pipeline, name: str) -> dict[str, object]:
    """Return the settings of a strategy by its name."""
    return next(each for listed, each in pipeline.explain().strategies if listed.endswith(f"'{name}'"))


def test_service_clients_have_the_figures_of_the_table() -> None:
    """Breaker 5 / 30 s, 15 s a call, 3 retries after 2, 4, 8 s without jitter, 10 s an attempt."""
    pipeline = policies.service("svc", IN_EARNEST)
    breaker, retry = pipeline.get(CircuitBreaker).settings(), pipeline.get(Retry)

    assert ["CircuitBreaker", "Timeout", "Retry", "Timeout"] == kinds(pipeline)
    assert (5, 30.0) == (breaker["failures"], breaker["open_for"])
    assert (4, [(2.0, 2.0), (4.0, 4.0), (8.0, 8.0)]) == (retry.max_attempts, delays(retry))
    assert (15, 10) == (settings(pipeline, "svc call")["seconds"], settings(pipeline, "svc attempt")["seconds"])
    assert (15.0, ()) == (pipeline.explain().worst_duration, pipeline.explain().findings)


def test_providers_have_the_figures_of_the_table() -> None:
    """External APIs 20 at once and 30 s of waiting; breaker 3 / 120 s; 2 retries after 1 s; 6 s a call."""
    shared = policies.external(IN_EARNEST)
    stripe, paypal = (policies.provider(name, IN_EARNEST, shared) for name in ("stripe", "paypal"))
    for pipeline in (stripe, paypal):
        breaker, retry, slots = pipeline.get(CircuitBreaker).settings(), pipeline.get(Retry), pipeline.get(Bulkhead)

        assert ["Bulkhead", "CircuitBreaker", "Retry", "Timeout"] == kinds(pipeline)
        assert (20, 30.0) == (slots.max_concurrent, slots.max_wait)
        assert (3, 120.0) == (breaker["failures"], breaker["open_for"])
        assert (3, [(1.0, 1.0)] * 2) == (retry.max_attempts, delays(retry))
        assert 6.0 == pipeline.get(Timeout).seconds < IN_EARNEST.attempt
        assert () == pipeline.explain().findings
    assert stripe.get(Bulkhead) is paypal.get(Bulkhead)
    assert stripe.get(CircuitBreaker) is not paypal.get(CircuitBreaker)


def test_a_hundred_bookings_at_once_have_a_place() -> None:
    """And the queue for the providers is long enough for all of them."""
    bookings = policies.bookings()

    assert (100, 0) == (bookings.max_concurrent, bookings.max_waiting)
    assert 100 == policies.external(IN_EARNEST).max_waiting


def test_a_pace_divides_waits_and_breaks() -> None:
    """Waits and time-outs by one factor, breaks by the other; lists are never kept shorter than 5 minutes."""
    fast = Pace(waits=30, breaks=10)
    pipeline, stripe = policies.service("fast", fast), policies.provider("swift", fast, policies.external(fast))

    assert [3.0, 12.0] == [each.get(CircuitBreaker).settings()["open_for"] for each in (pipeline, stripe)]
    assert 0.5 == pipeline.explain().worst_duration
    assert pytest.approx([2 / 30, 4 / 30, 8 / 30]) == [plain for plain, _ in delays(pipeline.get(Retry))]
    assert (300.0, 300.0, 3000.0) == (IN_EARNEST.kept, fast.kept, Pace(breaks=0.1).kept)


async def calls(pipeline: Pipeline, server: Scripted, method: str = "GET", number: int = 1) -> list[str]:
    """Call a scripted server so many times through a pipeline; return how the calls ended."""
    ends = []
    async with client("server", server, pipeline) as protected:
        for _ in range(number):
            try:
                response = await protected.request(method, "/", headers={"Idempotency-Key": "key"})
            except httpx2.HTTPError as error:
                ends.append(type(error).__name__)
            else:
                ends.append(str(response.status_code))
    return ends


@pytest.mark.parametrize("failure", [500, 503, 408, 429, refused(), broken()])
def test_service_calls_that_may_pass_are_made_four_times(failure: object) -> None:
    """At once and after 2, 4 and 8 s: the bound on all attempts cuts none of them."""

    async def test(clock: FakeClock) -> None:
        server = Scripted(failure)
        await calls(policies.service("svc", IN_EARNEST), server)
        assert [0.0, 2.0, 6.0, 14.0] == server.times

    in_virtual_time(test)


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
def test_answers_are_not_made_again(status: int) -> None:
    """The caller's errors and business answers, INSUFFICIENT_TICKETS too, are neither retried nor counted."""

    async def test(clock: FakeClock) -> None:
        server, pipeline = Scripted(status), policies.service("svc", IN_EARNEST)
        assert [str(status)] * 6 == await calls(pipeline, server, number=6)
        assert ([0.0] * 6, "closed") == (server.times, pipeline.get(CircuitBreaker).state)

    in_virtual_time(test)


def test_service_calls_that_hang_end_after_fifteen_seconds_and_count() -> None:
    """An attempt has 10 s, the call 15 s; five such calls open the circuit for 30 s."""

    async def test(clock: FakeClock) -> None:
        server, pipeline = Scripted(3600.0), policies.service("svc", IN_EARNEST)
        assert ["CallTimeoutError"] * 5 + ["CircuitOpenError"] == await calls(pipeline, server, number=6)
        assert [0.0, 12.0, 15.0, 27.0, 30.0, 42.0, 45.0, 57.0, 60.0, 72.0] == server.times
        assert (75.0, 30.0) == (clock.now(), pipeline.get(CircuitBreaker).snapshot().retry_after)

    in_virtual_time(test)


def test_while_all_calls_fail_one_of_them_retries() -> None:
    """The budget: ten customers at once make the 6 calls that open the circuit and the 3 retries of one, not 40."""

    async def test(clock: FakeClock) -> None:
        server, pipeline = Scripted(503), policies.service("svc", IN_EARNEST)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(calls(pipeline, server))
        assert (6 + 3, "open") == (len(server.times), pipeline.get(CircuitBreaker).state)

    in_virtual_time(test)


def test_a_slow_provider_that_fails_is_asked_three_times() -> None:
    """5.9 s for each answer of 500 and 1 s between them: 19.7 s that nothing cuts, and one failure for the breaker."""

    class Slow(Scripted):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            await asyncio.sleep(5.9)
            return response

    async def test(clock: FakeClock) -> None:
        server, pipeline = Slow(500), policies.provider("stripe", IN_EARNEST, policies.external(IN_EARNEST))
        assert ["500"] == await calls(pipeline, server, "POST")
        assert [0.0, 6.9, 13.8, 19.7] == pytest.approx([*server.times, clock.now()])
        assert ["500", "500", "CircuitOpenError"] == await calls(pipeline, server, "POST", 3)
        assert 120.0 == pytest.approx(pipeline.get(CircuitBreaker).snapshot().retry_after)

    in_virtual_time(test)


@pytest.mark.parametrize("failure", [3600.0, refused(), broken(), 429, 408])
def test_a_provider_is_asked_once_where_it_did_not_answer_with_a_5xx(failure: object) -> None:
    """Time-outs, broken connections and 429 are left to the other provider and to settling."""

    async def test(clock: FakeClock) -> None:
        server = Scripted(failure)
        await calls(policies.provider("stripe", IN_EARNEST, policies.external(IN_EARNEST)), server, "POST")
        assert ([0.0], 6.0 if failure == 3600.0 else 0.0) == (server.times, clock.now())

    in_virtual_time(test)


def test_twenty_calls_to_both_providers_together() -> None:
    """The twenty-first waits for a slot, whichever provider it is for."""

    async def test(clock: FakeClock) -> None:
        shared = policies.external(IN_EARNEST)
        stripe, paypal = Scripted(5.0), Scripted(5.0)
        first, second = (policies.provider(name, IN_EARNEST, shared) for name in ("stripe", "paypal"))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(calls(first, stripe, "POST"))
            await asyncio.sleep(1.0)
            tasks.create_task(calls(second, paypal, "POST"))
        assert ([0.0] * 20, [5.0]) == (stripe.times, paypal.times)

    in_virtual_time(test)


def test_an_open_circuit_is_not_retried() -> None:
    """What the breaker refuses is refused at once."""

    async def test(clock: FakeClock) -> None:
        pipeline = policies.service("svc", IN_EARNEST)
        with pipeline.get(CircuitBreaker).isolate():
            assert ["CircuitIsolatedError"] == await calls(pipeline, Scripted(200))
        assert 0.0 == clock.now()

    in_virtual_time(test)
