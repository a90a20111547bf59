"""The LLM gateway's database, queue and external API: each under its policy, and what is seen while it is away."""

import asyncio
import io
import logging
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway import messages
from examples.llmgateway.database import usable
from examples.llmgateway.memory_queue import MemoryQueue
from examples.llmgateway.messages import Publisher
from examples.llmgateway.system import System
from examples.llmgateway.wire import Usage, UsageMessage
from seawall import CircuitBreaker, Pipeline, Retry, Timeout, snapshot
from seawall.chaos import Proxy
from seawall.observe import TextFormatter
from tests.examples.llmgateway import error_of, free_names, gateway, question, streamed
from tests.examples.test_llmgateway_chat import until
from tests.servers import PostgreSQL

SECRET = "S3CRET-pa55word"
PROJECT, AGENT = "/v1/projects/p1", "/v1/projects/p1/agents/a1"


async def project(client: httpx2.AsyncClient) -> None:
    """Make a project and an agent; see that they can be changed and are there."""
    for name in ("first", "second"):
        assert {"name": name, "projectId": "p1"} == (await client.put(PROJECT, json={"name": name})).json()
    agent = {"name": "A", "tier": "large", "provider": "openai", "instructions": "Be brief."}
    assert 200 == (await client.put(AGENT, json=agent)).status_code
    assert {**agent, "projectId": "p1", "agentId": "a1"} == (await client.get(AGENT)).json()
    assert "second" == (await client.get(PROJECT)).json()["name"]


async def usage(client: httpx2.AsyncClient, requests: int) -> dict[str, object]:
    """Return a project's usage as soon as so many requests were counted."""
    async with asyncio.timeout(5):
        while (found := (await client.get(f"{PROJECT}/usage")).json())["requests"] < requests:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return dict(found)


def test_an_agent_says_how_a_question_is_answered_and_its_project_what_it_took() -> None:
    """Its provider and tier; the usage of whole and streamed answers is counted, through the queue, each once."""

    async def test() -> None:
        async with gateway() as (_, client):
            await project(client)
            asked = question(provider=None, projectId="p1", agentId="a1", tier="small")
            answer = (await client.post("/v1/chat", json=asked)).json()
            assert ("openai", "full-like") == (answer["provider"], answer["model"])
            *_, (last, done) = await streamed(client, provider=None, projectId="p1", agentId="a1", maxTokens=3)
            assert ("done", "full-like") == (last, done["model"])
            expected = {"projectId": "p1", "requests": 2, "inputTokens": 14, "outputTokens": 25}
            assert expected == await usage(client, 2)

    asyncio.run(test())


def test_a_locked_database_costs_its_time_and_no_more() -> None:
    """A writer that holds SQLite's lock: 503 after three attempts, readers go on, and chat without an agent too."""

    async def test() -> None:
        async with gateway() as (system, client):
            await project(client)
            lock = sqlite3.connect(str(system.database.engine.url.database), isolation_level=None)
            lock.execute("BEGIN IMMEDIATE")
            began = asyncio.get_running_loop().time()
            response = await client.put(PROJECT, json={"name": "third"})
            assert (503, "DATABASE_UNAVAILABLE") == (response.status_code, error_of(response)["code"])
            assert 0.9 < asyncio.get_running_loop().time() - began < 10  # three times 0.32 s, and not the driver's 30 s
            assert "second" == (await client.get(PROJECT)).json()["name"]
            assert 200 == (await client.post("/v1/chat", json=question(projectId="p1"))).status_code
            assert "connected" == system.database.state
            lock.execute("ROLLBACK")
            lock.close()
            assert 200 == (await client.put(PROJECT, json={"name": "third"})).status_code
            assert 1 == (await usage(client, 1))["requests"]  # it waited until the database was back

    asyncio.run(test())


def test_while_the_list_of_models_is_away_the_last_one_is_shown() -> None:
    """503 as long as there was none; then fresh, then the last one, marked; and an open circuit is not asked."""

    async def test() -> None:
        async with gateway() as (system, client):
            system.catalog.trouble = 500
            response = await client.get("/v1/models")
            assert (503, "MODELS_UNAVAILABLE") == (response.status_code, error_of(response)["code"])
            system.catalog.trouble = None
            system.policies["external"].get(CircuitBreaker).reset()
            fresh = (await client.get("/v1/models")).json()
            assert (4, False) == (len(fresh["models"]), fresh["isFallback"])
            system.catalog.trouble = 503
            for _ in range(3):
                assert {**fresh, "isFallback": True} == (await client.get("/v1/models")).json()
            asked = system.catalog.asked
            assert (await client.get("/v1/models")).json()["isFallback"]
            assert asked == system.catalog.asked
            gone = {"X-Request-Timeout": "0"}
            assert (await client.get("/v1/models", headers=gone)).json()["isFallback"]

    asyncio.run(test())


def message(number: int) -> UsageMessage:
    """Return a message about usage."""
    return UsageMessage(message_id=f"m{number}", project_id="p1", provider="openai", model="m", usage=Usage())


class Moody(MemoryQueue):
    """A queue that is away at first."""

    away = 7

    async def publish(self, message: UsageMessage) -> None:
        """Fail so many times."""
        if self.away:
            self.away -= 1
            raise ConnectionError("the broker is away")
        await super().publish(message)


def test_messages_wait_for_a_queue_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is published once the queue is back, and handled, also by a handler that fails first; none is lost."""
    monkeypatch.setattr(messages, "PAUSE", 0.01)
    handled: list[str] = []

    async def handler(message: UsageMessage) -> None:
        handled.append(message.message_id)
        if len(handled) in (2, 3):
            raise ConnectionError("the database is away")

    async def test() -> None:
        free_names()
        queue = Moody()
        publisher = Publisher(
            queue, Pipeline("queue", Retry(on=ConnectionError, max_attempts=2, backoff=0.01), Timeout(5))
        )
        publisher.send(message(0))  # before it is started
        publisher.start()
        await queue.start(handler)
        for number in range(1, 50):
            publisher.send(message(number))
        await publisher.stop()
        await queue.stop()
        assert {f"m{number}" for number in range(50)} == set(handled)
        assert (52, 0, 0) == (len(handled), publisher.lost, publisher.waiting)

    asyncio.run(test())


def test_a_full_queue_is_bounded_and_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What waits to be published is bounded; beyond that a message is lost, loudly. Health says slow, then absent."""
    monkeypatch.setattr(messages, "ROOM", 3)
    monkeypatch.setattr(messages, "PAUSE", 0.01)

    async def test() -> None:
        free_names()
        queue = MemoryQueue(5, slow_after=0.02)
        publisher = Publisher(queue, Pipeline("queue", Retry(on=asyncio.QueueFull, max_attempts=1), Timeout(5)))
        look = queue.check().look
        assert "unhealthy" == (await look()).status  # type: ignore[misc,union-attr]
        never = asyncio.Event()

        async def handler(message: UsageMessage) -> None:
            await never.wait()

        await queue.start(handler)
        assert "healthy" == (await look()).status  # type: ignore[misc,union-attr]
        for number in range(5):
            publisher.send(message(number))
        assert (2, 3) == (publisher.lost, publisher.waiting)
        publisher.start()
        await asyncio.sleep(0.05)
        assert "degraded" == (await look()).status  # type: ignore[misc,union-attr]
        await publisher.stop()
        await queue.stop(0.05)
        assert "unhealthy" == (await look()).status  # type: ignore[misc,union-attr]

    asyncio.run(test())
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert 2 == sum("is lost: 3 messages wait" in each for each in said)
    assert "3 messages about usage were not handled" in said


@asynccontextmanager
async def on_postgresql(port: int) -> AsyncIterator[tuple[System, httpx2.AsyncClient, Proxy]]:
    """Run a gateway whose database is PostgreSQL, behind a proxy."""
    async with Proxy("127.0.0.1", port) as proxy:
        url = f"postgresql://postgres:{SECRET}@127.0.0.1:{proxy.port}/postgres"
        async with gateway(database=url, health_token="token") as (system, client):
            yield system, client, proxy


def test_postgresql_by_url_comes_back_by_itself_and_shows_its_password_to_nobody(
    postgresql_server: PostgreSQL,
) -> None:
    """Refused, stalled and reset connections: 503 in time, listeners hear, ready says so, then all is as before.

    Nowhere, in no body, header, metric, health detail, log line or span, is there the password of its URL.
    """
    seen = io.StringIO()
    spans = recorded_spans(seen)
    handler = logging.StreamHandler(seen)
    handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        asyncio.run(_stormy(postgresql_server.port, seen))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        spans()
    assert "DATABASE_UNAVAILABLE" in seen.getvalue()
    assert "span database" in seen.getvalue()
    assert SECRET not in seen.getvalue()
    assert SECRET not in repr(snapshot())


async def _stormy(port: int, seen: io.StringIO) -> None:
    async with on_postgresql(port) as (system, client, proxy):

        async def told(response: httpx2.Response) -> httpx2.Response:
            seen.write(f"{response.status_code} {response.headers!r} {response.text}\n")
            return response

        states: list[str] = []
        system.database.listen(lambda old, new: states.append(new))
        await project(client)
        assert 200 == (await client.post("/v1/chat", json=question(projectId="p1"))).status_code
        assert 1 == (await usage(client, 1))["requests"]
        for kind in ("refuse", "stall", "reset"):
            await proxy.strike(kind)  # type: ignore[arg-type]
            began = asyncio.get_running_loop().time()
            response = await told(await client.get(PROJECT))
            assert asyncio.get_running_loop().time() - began < 3  # 0.4 s three times; asyncpg's goodbyes took 2 s each
            assert (503, "DATABASE_UNAVAILABLE") == (response.status_code, error_of(response)["code"])
            assert "lost" == system.database.state
            async with asyncio.timeout(10):
                while kind == "refuse" and (await told(await client.get("/health/ready"))).status_code != 503:
                    await system.monitor.arefresh("ready")
                    await asyncio.sleep(0.05)
            await told(await client.get("/metrics"))
            await told(await client.get("/health", headers={"Authorization": "Bearer token"}))
            assert 200 == (await told(await client.get("/health/live"))).status_code
            await proxy.lift()
            await until(lambda: system.database.state == "connected", 10)  # without a call that finds out
            assert 200 == (await client.get(PROJECT)).status_code
        assert ["lost", "connected"] * 3 == states
        assert 1 == (await usage(client, 1))["requests"]


def recorded_spans(into: io.StringIO):  # type: ignore[no-untyped-def]
    """Write every span into a text, if there is an SDK; return the function that ends this."""
    trace = pytest.importorskip("opentelemetry.trace")
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="NO OpenTelemetry SDK: pip install opentelemetry-sdk")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")

    class Writing(export.SpanExporter):  # type: ignore[misc,name-defined]
        def export(self, spans):  # type: ignore[no-untyped-def]
            for span in spans:
                into.write(f"span {span.name} {span.to_json()}\n")
            return export.SpanExportResult.SUCCESS

    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(Writing()))
    before, trace._TRACER_PROVIDER = trace._TRACER_PROVIDER, provider

    def end() -> None:
        trace._TRACER_PROVIDER = before

    return end


def test_a_broker_that_is_away_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Answers come, their usage waits, health says that the queue is away, and its password is in no log."""
    caplog.set_level(logging.DEBUG)

    async def test() -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        broker = f"amqp://guest:{SECRET}@127.0.0.1:{port}/"
        async with gateway(broker=broker, health_token="token") as (system, client):
            await project(client)
            for _ in range(3):
                assert 200 == (await client.post("/v1/chat", json=question(projectId="p1"))).status_code
            assert 0 == (await usage(client, 0))["requests"]
            health = await client.get("/health", headers={"Authorization": "Bearer token"})
            shown = health.text + (await client.get("/metrics")).text
            assert {"message-queue": "unhealthy"} == {
                each["name"]: each["status"] for each in health.json()["checks"] if each["status"] == "unhealthy"
            }
            assert 200 == (await client.get("/health/ready")).status_code
            await system.publisher.stop(0.2)
        return shown

    assert SECRET not in asyncio.run(test()) + caplog.text
    assert "3 messages about usage could not be published" in caplog.text


@pytest.mark.parametrize("url", [f"mysql://u:{SECRET}@h/d", f"nonsense:{SECRET}", "", f"postgres ql://u:{SECRET}@h"])
def test_a_url_of_no_database_is_refused_without_being_shown(url: str) -> None:
    """What would be right, and nothing of what was wrong: it may be a password."""
    with pytest.raises(ValueError, match="use sqlite:///FILE or postgresql://USER@HOST/NAME") as refused:
        usable(url)
    assert SECRET not in repr(refused.value)
