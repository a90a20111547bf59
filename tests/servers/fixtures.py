"""The servers as fixtures: started when a test first needs them, shared by all, brought back after every test."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.servers.needs import needs
from tests.servers.postgresql import Database, PostgreSQL
from tests.servers.process import Server
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis

S = TypeVar("S", bound=Server)
_STARTED: list[Server] = []


def _shared(kind: type[S]) -> Iterator[S]:
    needs(kind.name)
    with kind() as server:
        _STARTED.append(server)
        try:
            yield server
        finally:
            _STARTED.remove(server)


@pytest.fixture(autouse=True)
def back_to_normal() -> Iterator[None]:
    """Brings back every server that a test has stopped or silenced."""
    yield
    for server in _STARTED:
        server.recover()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    yield from _shared(PostgreSQL)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server."""
    yield from _shared(Redis)


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQ]:
    """A RabbitMQ broker."""
    yield from _shared(RabbitMQ)


@pytest.fixture
def postgresql_database(postgresql_server: PostgreSQL) -> Iterator[Database]:
    """A fresh database of PostgreSQL, dropped after the test."""
    with postgresql_server.database() as database:
        yield database


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """The URL of the Redis server, emptied."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMQ) -> str:
    """The URL of a fresh virtual host of RabbitMQ."""
    return rabbitmq_server.virtual_host()
