"""The tables as SQLAlchemy describes them: the same that `upgrade` makes, on both databases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from seawall.durable import status, upgrade
from seawall.durable.schema import VERSION
from seawall.integrations.sqlalchemy import SqlStore, metadata
from seawall.integrations.sqlalchemy.tables import read
from tests.servers import PostgreSQL

COLUMNS = """SELECT table_name, column_name, data_type, is_nullable, column_default, identity_generation
    FROM information_schema.columns WHERE table_name LIKE 'seawall%' ORDER BY 1, 2"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'seawall%' ORDER BY 1, 2"
CONSTRAINTS = """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text LIKE 'seawall%' ORDER BY 1, 2"""


def on_postgresql(connection: Connection) -> list[Any]:
    """What a database of PostgreSQL says of its tables."""
    return [connection.execute(text(query)).all() for query in (COLUMNS, INDEXES, CONSTRAINTS)]


def on_sqlite(connection: Connection) -> list[Any]:
    """What a file of SQLite says of its tables: the columns with type, default and key, and the indexes."""
    names = [row[0] for row in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))]
    said: list[Any] = []
    for name in sorted(names):
        for _, column, kind, required, default, key in connection.exec_driver_sql(f"PRAGMA table_info({name})"):
            said.append((name, column, kind, bool(required or key), default, key))  # a key is never NULL
        made = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": name}).scalar_one()
        said.append("AUTOINCREMENT" in made)
        indexes = connection.exec_driver_sql(f"PRAGMA index_list({name})").all()
        for index, unique, origin, partial in sorted(row[1:] for row in indexes):
            columns = [row[2] for row in connection.exec_driver_sql(f"PRAGMA index_info({index})")]
            where = connection.execute(
                text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": index}
            ).scalar_one()
            said.append(
                (index, unique, origin, partial, columns, " ".join((where or "").split()).partition("WHERE")[2])
            )
    return said


def looked_at(url: str, make: Callable[[Any], object], look: Callable[[Connection], Any]) -> Any:
    """Makes the tables in an empty database, and returns what it says of them."""
    engine = create_engine(url, poolclass=NullPool)
    make(engine)
    with engine.connect() as connection:
        return look(connection)


def by_upgrade(engine: Any) -> None:
    """Makes the tables as seawall does."""
    upgrade(SqlStore(engine))


def test_postgresql_has_the_same_tables(postgresql_server: PostgreSQL) -> None:
    """Columns, types, keys, indexes with their conditions, and the names of all that."""
    with postgresql_server.database() as one, postgresql_server.database() as other:
        made = looked_at(one.psycopg_url, by_upgrade, on_postgresql)
        assert made == looked_at(other.psycopg_url, metadata.create_all, on_postgresql)
    assert len(metadata.tables) == len({row[0] for row in made[0]})


def test_sqlite_has_the_same_tables(tmp_path: Path) -> None:
    """The same on SQLite."""
    made = looked_at(f"sqlite:///{tmp_path}/one.db", by_upgrade, on_sqlite)
    assert made == looked_at(f"sqlite:///{tmp_path}/other.db", metadata.create_all, on_sqlite)


def test_tables_of_ones_own_migration_are_current_once_their_version_is_written(tmp_path: Path) -> None:
    """Until then `upgrade` would make them again, and fails."""
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=NullPool)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(metadata.tables["seawall_schema"].insert(), {"version": VERSION, "applied_at": 0.0})
    store = SqlStore(engine)
    assert status(store).is_current
    assert VERSION == upgrade(store)


@pytest.mark.parametrize("statement", ["DROP TABLE seawall_txn", "CREATE TABLE x (id {id}, CHECK (id > 0))"])
def test_a_statement_that_is_not_understood_is_said(statement: str) -> None:
    """Whoever writes a migration that says something new hears of it."""
    with pytest.raises(ValueError, match="is neither"):
        read([statement])
