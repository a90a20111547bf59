"""An empty database by each driver: `world` by all of them, `pg` by those of PostgreSQL, `lite` by those of SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.sqlalchemy.databases import DRIVERS, POSTGRESQL, SQLITE, World, postgresql_world, sqlite_world
from tests.servers import PostgreSQL


@pytest.fixture(params=DRIVERS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A fresh database, by every driver."""
    if request.param in POSTGRESQL:
        with postgresql_world(request.getfixturevalue("postgresql_server"), request.param) as made:
            yield made
    else:
        with sqlite_world(tmp_path, request.param) as made:
            yield made


@pytest.fixture(params=POSTGRESQL)
def pg(request: pytest.FixtureRequest, postgresql_server: PostgreSQL) -> Iterator[World]:
    """A fresh database of PostgreSQL, by each of its drivers."""
    with postgresql_world(postgresql_server, request.param) as made:
        yield made


@pytest.fixture(params=SQLITE)
def lite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A fresh database of SQLite, by each of its drivers."""
    with sqlite_world(tmp_path, request.param) as made:
        yield made


@pytest.fixture(params=["asyncpg", "psycopg_async"])
def async_pg(request: pytest.FixtureRequest, postgresql_server: PostgreSQL) -> Iterator[World]:
    """An empty database of PostgreSQL, by each of its async drivers."""
    with postgresql_world(postgresql_server, request.param) as made:
        yield made


@pytest.fixture
def asyncpg(postgresql_server: PostgreSQL) -> Iterator[World]:
    """An empty database of PostgreSQL by asyncpg."""
    with postgresql_world(postgresql_server, "asyncpg") as made:
        yield made
