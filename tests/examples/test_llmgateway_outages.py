"""The LLM gateway on a real PostgreSQL and a real RabbitMQ, while either is stopped, killed or silent, and after.

Health tells from the second run of its check on, so within two periods; a chat is answered or refused within its
policies, never hangs; afterwards all goes on without a restart, and no usage is lost or counted twice.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway import checks, database, rabbit_queue
from examples.llmgateway.system import System
from tests.examples.llmgateway import BRISK, error_of, gateway, question, streamed
from tests.examples.test_llmgateway_program import PATIENCE as ENDING
from tests.examples.test_llmgateway_program import lines, started
from tests.servers import Database, RabbitMQ, Server

PATIENCE = 60.0
LONGEST = 20.0
"""Real seconds that an answer may take: the policies allow a call of the database 2 s."""
QUICK = {
    **BRISK,
    "SEAWALL_POLICIES__DATABASE__TIMEOUT": "0.6",
    "SEAWALL_POLICIES__QUEUE__BREAKER__OPEN_FOR": "0.3",
}
PROJECT = "/v1/projects/p1"


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Health looks twice a second; what the broker's client says of lost connections is no news."""
    for where, name, seconds in (
        (checks, "PERIOD", 0.5),
        (checks, "TIMEOUT", 0.3),
        (rabbit_queue, "ANSWERING", 0.3),
        (rabbit_queue, "COMING_BACK", 0.2),
        (rabbit_queue, "GOODBYE", 0.5),
        (database, "GOODBYE", 0.5),
    ):
        monkeypatch.setattr(where, name, seconds)
    loggers = [logging.getLogger(name) for name in ("aiormq", "aio_pika")]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something that others do."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.02)


class Customer:
    """Asks the gateway, each time within bounds, and knows how many answers it got."""

    def __init__(self, system: System, client: httpx2.AsyncClient) -> None:
        self.system, self.client = system, client
        self.answered = 0

    async def ask(self, **given: Any) -> httpx2.Response:
        """Asks a question of the project; a refusal has the format of all errors."""
        async with asyncio.timeout(LONGEST):
            response = await self.client.post("/v1/chat", json=question(projectId="p1", **given))
        if response.status_code == 200:
            self.answered += 1
        else:
            assert error_of(response)["code"]
        return response

    async def prepare(self) -> None:
        """Makes a project and an agent, and sees that all works."""
        agent = {"name": "A", "tier": "large", "provider": "openai", "instructions": "Be brief."}
        for path, what in ((PROJECT, {"name": "first"}), (f"{PROJECT}/agents/a1", agent)):
            assert 200 == (await self.client.put(path, json=what)).status_code
        await self.all_is_well()

    async def all_is_well(self) -> None:
        """Health says so, a question that needs the database is answered, and every answer's usage is counted once."""
        await until(self.healthy)
        await until(self.answers)
        await until(self.counted)

    async def answers(self) -> bool:
        """Whether a question that needs the database is answered, which on a busy machine may take a second try."""
        return (await self.ask(agentId="a1")).status_code == 200

    async def healthy(self) -> bool:
        """Whether what the gateway needs is there."""
        return {"healthy"} == {entry.status for entry in self.needed()}

    def needed(self) -> list[Any]:
        """Returns the checks of the database and the queue."""
        return [each for each in self.system.monitor.report().checks if each.name in ("database", "message-queue")]

    async def counted(self) -> bool:
        """Whether the usage of every answer is counted. None may be counted twice."""
        response = await self.client.get(f"{PROJECT}/usage")
        found = response.json()["requests"] if response.status_code == 200 else 0
        assert found <= self.answered
        return bool(found == self.answered)

    async def notices(self, name: str) -> None:
        """Waits until health tells of an outage, which it does from the check's second run on."""

        def entry() -> Any:
            return next(each for each in self.needed() if each.name == name)

        async def told() -> bool:
            return bool(entry().bad_in_a_row >= 2)

        runs = entry().runs  # one that is under way may have had its answer already
        await until(told)
        assert entry().runs - entry().bad_in_a_row <= runs + 1
        assert 503 == (await self.client.get("/health")).status_code
        assert 200 == (await self.client.get("/health/live")).status_code
        ready = (await self.client.get("/health/ready")).status_code
        assert (503 if name == "database" else 200) == ready


@asynccontextmanager
async def customer(database: Database, broker: str) -> AsyncIterator[Customer]:
    """A customer of a gateway on real servers; nothing of it is left at the end."""
    connections = await asyncio.to_thread(database.server.clients)
    async with gateway(database=database.url, broker=broker, environ=QUICK) as (system, client):
        it = Customer(system, client)
        await it.prepare()
        yield it
        assert 0 == system.publisher.lost

    async def nothing_is_left() -> bool:
        return (await asyncio.to_thread(database.server.clients)) <= connections

    await until(nothing_is_left)
    await until(only_this_task)


async def only_this_task() -> bool:
    """Whether no other task is left in the loop."""
    return {asyncio.current_task()} == asyncio.all_tasks()


async def outage(server: Server, how: str) -> None:
    """Lets a server go away; not while this loop waits."""
    await asyncio.to_thread(getattr(server, how))


@pytest.mark.parametrize("how", ["stop", "kill", "silence"])
def test_without_its_database(postgresql_database: Database, rabbitmq_url: str, how: str) -> None:
    """What needs it is refused in time, what does not is answered, and its usage counted when the database is back."""
    server = postgresql_database.server

    async def test() -> None:
        async with customer(postgresql_database, rabbitmq_url) as it:
            await outage(server, how)
            for _ in range(2):
                refused = await it.ask(agentId="a1")
                assert (503, "DATABASE_UNAVAILABLE") == (refused.status_code, error_of(refused)["code"])
                assert 200 == (await it.ask()).status_code
            await it.notices("database")
            assert 200 == (await it.ask()).status_code
            await asyncio.to_thread(server.recover)
            await it.all_is_well()

    asyncio.run(test())


@pytest.mark.parametrize("how", ["stop", "silence"])  # killed: the next one
def test_without_its_broker(
    postgresql_database: Database, rabbitmq_server: RabbitMQ, rabbitmq_url: str, how: str
) -> None:
    """Nobody but health notices: whole and streamed answers come, and their usage is counted when it is back."""

    async def test() -> None:
        async with customer(postgresql_database, rabbitmq_url) as it:
            await outage(rabbitmq_server, how)
            for _ in range(2):
                assert 200 == (await it.ask(agentId="a1")).status_code
                async with asyncio.timeout(LONGEST):
                    *_, (last, _) = await streamed(it.client, projectId="p1")
                assert "done" == last
                it.answered += 1
            await it.notices("message-queue")
            assert 200 == (await it.ask()).status_code
            await asyncio.to_thread(rabbitmq_server.recover)
            await it.all_is_well()

    asyncio.run(test())


def test_it_ends_in_time_while_all_are_silent(
    postgresql_database: Database, rabbitmq_server: RabbitMQ, rabbitmq_url: str
) -> None:
    """The server of neither says goodbye, for no connection of the pool; the gateway does not wait for each of them."""

    async def test() -> None:
        async with customer(postgresql_database, rabbitmq_url) as it:

            async def has_connections() -> bool:
                await asyncio.gather(*(it.client.get(PROJECT) for _ in range(5)))
                return it.system.database.engine.pool.checkedin() > 1  # type: ignore[attr-defined,no-any-return]

            await until(has_connections)
            await outage(postgresql_database.server, "silence")
            await outage(rabbitmq_server, "silence")
            async with asyncio.timeout(LONGEST):
                await it.system.drain()
            await asyncio.to_thread(rabbitmq_server.wake)
            await asyncio.to_thread(postgresql_database.server.wake)

    asyncio.run(test())


def test_the_program_outlives_all_its_servers(
    postgresql_database: Database, rabbitmq_server: RabbitMQ, rabbitmq_url: str
) -> None:
    """Both are killed at once and come back: refusals, answers, health and usage as they should be; SIGTERM ends it."""
    given = {**QUICK, "LLMGATEWAY_HEALTH_TOKEN": "t", "LLMGATEWAY_DATABASE": postgresql_database.url}
    with started("--broker", rabbitmq_url, **given) as process:
        url = lines(process)[-1].removeprefix("listening on ")
        with httpx2.Client(base_url=url, timeout=LONGEST, trust_env=False) as client:

            def health() -> int:
                return client.get("/health?fresh=1", headers={"Authorization": "Bearer t"}).status_code

            def chat() -> int:
                return client.post("/v1/chat", json=question(projectId="p1")).status_code

            assert 200 == client.put(PROJECT, json={"name": "kept"}).status_code
            eventually(lambda: health() == 200)
            assert 200 == chat()
            rabbitmq_server.settle()  # it would lose the queue, which is seconds old
            for server in (postgresql_database.server, rabbitmq_server):
                server.kill()
            assert (503, 200) == (client.get(PROJECT).status_code, chat())
            eventually(lambda: health() == 503)
            for server in (postgresql_database.server, rabbitmq_server):
                server.start()
            eventually(lambda: health() == 200)
            assert 200 == chat()
            eventually(lambda: client.get(f"{PROJECT}/usage").json().get("requests") == 3)
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=ENDING)
    assert ("", 0) == (output, process.returncode), log


def eventually(condition: Callable[[], bool]) -> None:
    """Waits for something that the program does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.05)
