"""The servers that tests use: they come back with their data, are silenced whole, and outlive nobody."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Database, PostgreSQL, RabbitMQ, Redis, Server, needs
from tests.servers.process import descendants, living, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["postgresql_server", "redis_server", "rabbitmq_server"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the three."""
    found: Server = request.getfixturevalue(request.param)
    return found


def says_nothing(server: Server) -> bool:
    """Whether a connection is accepted and what it sends gets no answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        try:
            return not connection.recv(1)
        except TimeoutError:
            return True


def test_a_silent_server_accepts_and_never_answers_until_it_is_woken(server: Server) -> None:
    """The system takes its connections; the process is the same one before and after."""
    pid = server.pid
    server.silence()
    assert says_nothing(server)
    server.recover()
    assert (True, pid) == (server.answers(), server.pid)


@pytest.mark.parametrize("server", ["postgresql_server", "redis_server"], indirect=True)  # RabbitMQ: see below
def test_a_killed_server_takes_its_children_along_and_comes_back_on_its_port(server: Server) -> None:
    """No child is left that holds what the next start needs; a silent one can be killed, too."""
    pid, port = server.pid, server.port
    assert pid is not None
    family = descendants(pid)
    server.silence()
    server.kill()
    assert set() == (family | {pid}) & living()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    server.recover()
    assert (True, port) == (server.answers(), server.port)


def test_postgresql_keeps_its_rows_and_copies_a_template(postgresql_server: PostgreSQL) -> None:
    """Rows that were committed before a crash are there after it; the copy has the template's rows, and a new name."""
    template = postgresql_server.create("mine")
    try:
        template.sql("CREATE TABLE t (x int); INSERT INTO t VALUES (7)")
        postgresql_server.kill()
        postgresql_server.start()
        with postgresql_server.database(template="mine") as fresh, postgresql_server.database(template="mine") as other:
            fresh.sql("INSERT INTO t VALUES (8)")
            assert ("7\n8", "7") == (fresh.sql("SELECT x FROM t ORDER BY x"), other.sql("SELECT x FROM t"))
            assert fresh.name != other.name
    finally:
        postgresql_server.recover()
        postgresql_server.main.sql("DROP DATABASE mine")


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_urls_of_a_database_are_sqlalchemys(postgresql_database: Database, driver: str) -> None:
    """Each engine asks the database of its URL; a connection of it is counted."""
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
    aio = pytest.importorskip("sqlalchemy.ext.asyncio")
    before = postgresql_database.server.clients()

    async def ask() -> object:
        engine = aio.create_async_engine(getattr(postgresql_database, f"{driver}_url"))
        async with engine.connect() as connection:
            found = (await connection.execute(sqlalchemy.text("SELECT current_database()"))).scalar_one()
            assert before + 1 == postgresql_database.server.clients()
        await engine.dispose()
        return found

    assert postgresql_database.name == asyncio.run(ask())


def test_redis_keeps_what_it_has_answered(redis_server: Redis, redis_url: str) -> None:
    """A key outlives a crash, and a flush takes it."""
    assert "+OK\r\n" == redis_server.ask("SET key value")
    redis_server.kill()
    redis_server.start()
    assert "$5\r\nvalue\r\n" == redis_server.ask("GET key")
    redis_server.flush()
    assert ("$-1\r\n", 0) == (redis_server.ask("GET key"), redis_server.clients())


def test_rabbitmq_keeps_a_confirmed_message_of_a_settled_queue(rabbitmq_server: RabbitMQ, rabbitmq_url: str) -> None:
    """A quorum queue, declared just before the crash, has its message after it."""
    aio_pika = pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

    async def opened() -> tuple[object, ...]:
        connection = await aio_pika.connect(rabbitmq_url)
        channel = await connection.channel()
        return connection, channel, await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})

    async def put() -> None:
        connection, channel, _ = await opened()
        body = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(body, routing_key="q")  # type: ignore[attr-defined]
        assert 1 == await asyncio.to_thread(rabbitmq_server.clients)
        await connection.close()  # type: ignore[attr-defined]

    async def get() -> bytes:
        connection, _, queue = await opened()
        message = await queue.get(timeout=30)  # type: ignore[attr-defined]
        await message.ack()
        await connection.close()  # type: ignore[attr-defined]
        return bytes(message.body)

    asyncio.run(put())
    rabbitmq_server.settle()
    family = descendants(rabbitmq_server.pid or 0)
    rabbitmq_server.kill()
    assert (True, set()) == (len(family) > 0, family & living())
    rabbitmq_server.start()
    assert b"kept" == asyncio.run(get())


def test_the_servers_of_a_process_that_is_killed_end_with_it() -> None:
    """Also its folders go; and Ctrl-C ends it in good order."""
    needs("redis")
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.servers", "redis"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as script:
            assert script.stdout is not None
            url = script.stdout.readline().split()[1]
            assert "ready; Ctrl-C stops and removes them\n" == script.stdout.readline()
            port = int(url.rpartition(":")[2].removesuffix("/0"))
            family = descendants(script.pid)
            os.kill(script.pid, number)
            assert code == script.wait(20)
        until(lambda port=port, family=family: not family & living())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
