"""seawall's tables as SQLAlchemy describes tables, for migrations that are the user's own.

They are read from the statements that make them, so that both are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from seawall.durable.schema import MIGRATIONS

_TYPES: Final[dict[str, TypeEngine[Any]]] = {
    "text": Text(),
    "int": BigInteger().with_variant(Integer(), "sqlite"),
    "id": BigInteger().with_variant(Integer(), "sqlite"),
    "float": Double().with_variant(REAL(), "sqlite"),
    "blob": LargeBinary(),
}
_VERSIONS: Final = "CREATE TABLE seawall_schema (version {int} NOT NULL PRIMARY KEY, applied_at {float} NOT NULL)"
_TABLE: Final = re.compile(r"CREATE TABLE (\w+) \((.*)\)", re.DOTALL)
_KEY: Final = re.compile(r"PRIMARY KEY \(([\w, ]+)\)")
_COLUMN: Final = re.compile(r"(\w+) \{(\w+)\}( NOT NULL)?( PRIMARY KEY)?( UNIQUE)?")
_INDEX: Final = re.compile(r"CREATE INDEX (\w+) ON (\w+) \(([\w, ]+)\)(?:\s+WHERE (.+))?", re.DOTALL)
_PARTS: Final = re.compile(r",\s*(?![^()]*\))")


def read(statements: Iterable[str]) -> MetaData:
    """Returns the tables that statements make. Raises ValueError for a statement that says something else."""
    found = MetaData()
    for statement in statements:
        if made := _TABLE.fullmatch(statement):
            _table(found, *made.groups())
        elif made := _INDEX.fullmatch(statement):
            _index(found, *made.groups())
        else:
            raise ValueError(f"{statement!r} is neither a table nor an index")
    return found


def _table(found: MetaData, name: str, body: str) -> None:
    parts = _PARTS.split(body.strip())
    autoincrement = any("{id}" in part for part in parts)
    Table(name, found, *(item for part in parts for item in _items(part)), sqlite_autoincrement=autoincrement)


def _items(part: str) -> Iterator[Any]:
    """Gives what one part of a table's body stands for."""
    if key := _KEY.fullmatch(part):
        yield PrimaryKeyConstraint(*key[1].split(", "))
    elif column := _COLUMN.fullmatch(part):
        name, kind, required, is_key, unique = column.groups()
        if kind == "id":
            yield Column(name, _TYPES[kind], Identity(), primary_key=True)
        else:
            yield Column(name, _TYPES[kind], nullable=not required, primary_key=bool(is_key), autoincrement=False)
        if unique:
            yield UniqueConstraint(name)
    else:
        raise ValueError(f"{part!r} is neither a column nor a key")


def _index(found: MetaData, name: str, table: str, columns: str, where: str | None) -> None:
    only = None if where is None else text(" ".join(where.split()))
    columns_of = found.tables[table].c
    Index(name, *(columns_of[each] for each in columns.split(", ")), postgresql_where=only, sqlite_where=only)


metadata: Final = read([_VERSIONS, *(statement for migration in MIGRATIONS for statement in migration)])
"""seawall's tables, for Alembic and `create_all()`. What makes them writes their version into `seawall_schema` too."""
