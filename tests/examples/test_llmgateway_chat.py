"""Chat requests over real sockets: which provider answers, what goes with a request, and how a stream ends."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway.provider import BEFORE, Fault, Faults
from examples.llmgateway.streaming import EventStream
from examples.llmgateway.system import System
from examples.llmgateway.wire import ChatDone
from seawall import Bulkhead, CircuitBreaker
from tests.examples.llmgateway import KEYS, error_of, events_of, gateway, question, streamed

Scenario = Callable[[Callable[[System, httpx2.AsyncClient], Coroutine[Any, Any, None]]], None]
SENTENCE = "A wall in the sea takes the force out of the waves, so that what lies behind it stays as it is. "


async def until(reached: Callable[[], object], patience: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(patience):
        while not reached():  # noqa: ASYNC110 - it is the state of others
            await asyncio.sleep(0.01)


def running(system: System, name: str) -> int:
    """Return how many places of a provider's bulkhead are taken."""
    return system.policies[name].get(Bulkhead).snapshot().running


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[asyncio.Runner, System, httpx2.AsyncClient]]:
    """A gateway in an event loop of its own, for all tests here: starting and stopping one takes half a second."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        system, client = runner.run(stack.enter_async_context(gateway()))
        yield runner, system, client
        runner.run(stack.aclose())


@pytest.fixture
def scenario(shared: tuple[asyncio.Runner, System, httpx2.AsyncClient]) -> Iterator[Scenario]:
    """Runs a test against the gateway, which is then, and was before, as new."""
    runner, system, client = shared
    yield lambda test: runner.run(test(system, client))
    for name, provider in system.providers.items():
        provider.faults = Faults()
        provider.first_word, provider.word, provider.most, provider.abandoned = 0.04, 0.002, 0, 0
        provider.asked.clear()
        system.policies[name].get(CircuitBreaker).reset()
    runner.run(until(lambda: not any(running(system, name) for name in system.providers)))


def test_both_providers_answer_whole_and_streamed(scenario: Scenario) -> None:
    """Each in its own words; the customer sees one format. The parts of a stream make up the whole answer."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for provider, models in (("anthropic", ("haiku-like", "opus-like")), ("openai", ("mini-like", "full-like"))):
            for tier, model in zip(("small", "large"), models, strict=True):
                response = await client.post("/v1/chat", json=question(provider=provider, tier=tier))
                answer = response.json()
                assert (200, provider, model) == (response.status_code, answer["provider"], answer["model"])
                assert (SENTENCE, False) == (answer["text"], answer["usedFallback"])
                assert {"inputTokens": 5, "outputTokens": 22} == answer["usage"]
            *deltas, (last, done) = await streamed(client, provider=provider)
            assert [("delta", SENTENCE)] == [("delta", "".join(said["text"] for _, said in deltas))]
            assert ("done", provider, {"inputTokens": 5, "outputTokens": 22}) == (last, done["provider"], done["usage"])

    scenario(test)


def test_without_a_wish_the_providers_take_turns(scenario: Scenario) -> None:
    """So that both are known to work, and neither has all the load."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        asked = [await client.post("/v1/chat", json=question(provider=None)) for _ in range(4)]
        turns = [response.json()["provider"] for response in asked]
        assert turns in (["anthropic", "openai"] * 2, ["openai", "anthropic"] * 2)

    scenario(test)


def test_while_a_provider_fails_the_other_one_answers(scenario: Scenario) -> None:
    """Whole and streamed, whatever the fault, and the answer says so; the key is the same at both."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for fault in BEFORE:
            system.providers["anthropic"].faults = Faults(1.0, (fault,))
            sent = {"Idempotency-Key": f"mine, {fault}".replace(" ", ""), "X-Correlation-Id": "request-1"}
            response = await client.post("/v1/chat", json=question(), headers=sent)
            answer = response.json()
            assert (200, "openai", True) == (response.status_code, answer["provider"], answer["usedFallback"])
            asked = [asked for each in system.providers.values() for asked in each.asked]
            assert len([each for each in asked if each.key == sent["Idempotency-Key"]]) >= 2
            assert all(float(each.seconds or 0) > 0 for each in asked)
            *_, (last, done) = await streamed(client)
            assert ("done", "openai", True) == (last, done["provider"], done["usedFallback"])
            system.policies["anthropic"].get(CircuitBreaker).reset()
        assert all(each.correlation for provider in system.providers.values() for each in provider.asked)
        assert "request-1" in {each.correlation for each in asked}

    scenario(test)


def test_an_open_circuit_costs_no_time(scenario: Scenario) -> None:
    """A provider that was found to be down is not asked, and the other one is at once."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        system.providers["anthropic"].faults = Faults(1.0, ("error",))
        for _ in range(3):
            assert 200 == (await client.post("/v1/chat", json=question())).status_code
        asked = len(system.providers["anthropic"].asked)
        for _ in range(3):
            assert "openai" == (await client.post("/v1/chat", json=question())).json()["provider"]
        assert asked == len(system.providers["anthropic"].asked)
        health = (await client.get("/metrics")).text
        assert 'seawall_circuit_breaker_status{strategy_name="anthropic.breaker",state="open"} 1' in health

    scenario(test)


def test_when_nobody_answers_the_error_says_when_to_come_again(scenario: Scenario) -> None:
    """Both providers fail: 503 in the error format with Retry-After, for whole answers and before a stream begins."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for provider in system.providers.values():
            provider.faults = Faults(1.0, ("error",))
        for stream in (False, True, False, True):
            response = await client.post("/v1/chat", json=question(stream=stream))
            assert (503, "application/json") == (response.status_code, response.headers["content-type"])
            assert error_of(response)["code"] in ("PROVIDER_FAILED", "CIRCUIT_OPEN", "EXTERNAL_SERVICE_ERROR")
            assert 1 <= int(response.headers["Retry-After"]) <= 37

    scenario(test)


def test_more_than_both_providers_may_have_at_once_are_told_to_come_again(scenario: Scenario) -> None:
    """20 at once are answered, the 21st gets 503 OVERLOADED; a stream holds its place until its end."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for provider in system.providers.values():
            provider.first_word, provider.word = 0.1, 0.2
        streams = [asyncio.create_task(streamed(client, provider=None, maxTokens=10)) for _ in range(20)]
        await until(lambda: all(running(system, name) == 10 for name in system.providers))
        asked = (client.post("/v1/chat", json=question(stream=stream)) for stream in (False, True))
        for response in await asyncio.gather(*asked):
            assert (503, "OVERLOADED") == (response.status_code, error_of(response)["code"])
        assert [("done", False)] * 20 == [
            (events[-1][0], events[-1][1]["usedFallback"]) for events in await asyncio.gather(*streams)
        ]
        assert [10, 10] == [provider.most for provider in system.providers.values()]
        assert [0, 0] == [running(system, name) for name in system.providers]

    scenario(test)


BROKEN: list[tuple[Fault, str]] = [
    ("cut", "STREAM_BROKEN"),
    ("error midway", "STREAM_BROKEN"),
    ("stall midway", "STREAM_STALLED"),
]


def test_a_stream_that_breaks_ends_with_an_error(scenario: Scenario) -> None:
    """Never silently, never with words of the other provider; the error is in the format of all errors."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for provider, each in system.providers.items():
            for fault, code in BROKEN:
                each.faults = Faults(1.0, (fault,))
                *deltas, (last, said) = await streamed(client, provider=provider)
                assert ["delta"] * 3 == [event for event, _ in deltas]
                assert ("error", code, KEYS) == (last, said["error"]["code"], set(said["error"]))
                await until(lambda: not any(running(system, name) for name in system.providers))
        failures = [system.policies[name].get(CircuitBreaker).snapshot().failures for name in system.providers]
        assert [3, 3] == failures  # the breaker hears of a stream that broke in the middle, too

    scenario(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_customer_who_goes_away_stops_the_provider(scenario: Scenario, stream: bool) -> None:
    """Its work is cancelled, before and after the first word, and its place is free again."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        provider = system.providers["anthropic"]
        provider.word = 3600.0
        if stream:
            async with client.stream("POST", "/v1/chat", json=question(stream=True)) as response:
                async for event, _ in events_of(response):
                    assert "delta" == event
                    break
        else:
            asking = asyncio.create_task(client.post("/v1/chat", json=question()))
            await until(lambda: provider.working)
            asking.cancel()
        await until(lambda: provider.working == 0 and running(system, "anthropic") == 0)
        assert system.app.in_flight == 0 or await system.app.drained(5) == 0
        assert 0 == running(system, "openai")

    scenario(test)


def test_a_stream_whose_customer_is_gone_before_its_first_event_is_closed() -> None:
    """Whatever sending raises, the provider's stream is closed, though nobody has read from it."""
    closed = []

    class Waiting:
        async def aclose(self) -> None:
            closed.append(True)

    async def gone(message: Any = None) -> Any:
        raise OSError("the customer has gone")

    async def test() -> None:
        response = EventStream(Waiting(), ChatDone)  # type: ignore[arg-type]
        with pytest.raises((OSError, ClientDisconnect, ExceptionGroup)):
            await response({"type": "http", "asgi": {"spec_version": "2.4"}, "method": "POST"}, gone, gone)

    asyncio.run(test())
    assert [True] == closed


def test_what_the_request_is_to_blame_for_is_asked_once(scenario: Scenario) -> None:
    """A provider that does not accept a request is not asked again, nor is the other one."""

    async def test(system: System, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
        from examples.llmgateway import upstream

        monkeypatch.setitem(upstream.MODELS["anthropic"], "small", "unknown")
        for stream in (False, True):
            response = await client.post("/v1/chat", json=question(stream=stream))
            assert (400, "REFUSED_BY_PROVIDER") == (response.status_code, error_of(response)["code"])
        assert [2, 0] == [len(provider.asked) for provider in system.providers.values()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("examples.llmgateway.standins.MODELS", {"anthropic": {"small": "x"}, "openai": {"small": "y"}})
        scenario(lambda system, client: test(system, client, patch))


def test_the_customers_deadline_bounds_everything(scenario: Scenario) -> None:
    """Both providers say nothing: 408 when the customer's time is up, and neither is blamed for it."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for provider in system.providers.values():
            provider.faults = Faults(1.0, ("stall",))
        for stream in (False, True):
            began = asyncio.get_running_loop().time()
            response = await client.post("/v1/chat", json=question(stream=stream), headers={"X-Request-Timeout": "0.5"})
            assert (408, "TIMEOUT") == (response.status_code, error_of(response)["code"])
            assert 0.45 < asyncio.get_running_loop().time() - began < 5
        await until(lambda: not any(running(system, name) for name in system.providers))

    scenario(test)


WRONG: list[tuple[str, str, Any, int]] = [
    ("POST", "/v1/chat", {}, 400),
    ("POST", "/v1/chat", {"messages": []}, 400),
    ("POST", "/v1/chat", question(provider="nobody"), 400),
    ("POST", "/v1/chat", question(agentId="a"), 400),
    ("POST", "/v1/chat", question(projectId="p", agentId="a"), 404),
    ("POST", "/v1/chat", b"{", 400),
    ("POST", "/v1/chat", b"\xff\xfe", 400),
    ("GET", "/v1/chat", None, 405),
    ("GET", "/v1/nothing", None, 404),
    ("GET", "/v1/projects/none", None, 404),
    ("GET", "/v1/projects/none/usage", None, 404),
    ("PUT", "/v1/projects/no%20name", {"name": "x"}, 400),
    ("PUT", "/v1/projects/p/agents/a", {"name": "x"}, 404),
    ("POST", "/health", None, 405),
    ("GET", "/health/nothing", None, 404),
]


def test_every_error_is_in_one_format(scenario: Scenario) -> None:
    """Whatever is wrong, the five keys, the id of the header, and the status that the table says."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        for method, path, body, status in WRONG:
            content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json"}
            response = await client.request(method, path, content=content, headers=headers)
            assert (status, method, path) == (response.status_code, method, path), response.text
            error_of(response)

    scenario(test)


def test_a_hundred_requests_at_once_keep_their_ids(scenario: Scenario) -> None:
    """What the providers see belongs to the request: no id is lost or mixed up."""

    async def test(system: System, client: httpx2.AsyncClient) -> None:
        async def ask(number: int) -> int:
            sent = {"X-Correlation-Id": f"id-{number}", "Idempotency-Key": f"key-{number}"}
            async with at_once:
                response = await client.post("/v1/chat", json=question(provider=None), headers=sent)
            assert sent["X-Correlation-Id"] == response.headers["X-Correlation-Id"]
            return response.status_code

        at_once = asyncio.Semaphore(10)
        assert [200] * 100 == await asyncio.gather(*map(ask, range(100)))
        seen = [asked for provider in system.providers.values() for asked in provider.asked]
        assert {f"id-{number}" for number in range(100)} == {asked.correlation for asked in seen}
        assert all(asked.key == f"key-{str(asked.correlation).removeprefix('id-')}" for asked in seen)

    scenario(test)
