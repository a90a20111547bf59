"""Scripts on a connection of SQLAlchemy's. Async connections run them too, by `run_sync`: one change of colour each."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

from sqlalchemy import BigInteger, Connection, Double, LargeBinary, Text, TextClause, bindparam, text
from sqlalchemy.types import TypeEngine

from seawall._core.clock import DEFAULT_CLOCK
from seawall.durable.dialect import PARAMETERS, POSTGRESQL, SQLITE, Dialect, ParameterType
from seawall.durable.script import Rows, Script

T = TypeVar("T")

DIALECTS: Final[dict[str, Dialect]] = {dialect.name: dialect for dialect in (POSTGRESQL, SQLITE)}
TYPES: Final[dict[ParameterType, TypeEngine[Any]]] = {
    "text": Text(),
    "float": Double(),
    "int": BigInteger(),
    "blob": LargeBinary(),
}
MOST_KEPT: Final = 512
"""Statements that are kept ready; a program of ours has about a hundred."""


def converse(connection: Connection, script: Script[T], dialect: Dialect) -> T:
    """Runs a script in the transaction of a connection, and returns its result."""
    by_own_clock = {"now": DEFAULT_CLOCK.wall()} if dialect is SQLITE else {}
    rows: Rows
    try:
        statement, values = next(script)
        while True:
            result = connection.execute(prepared(statement.text, dialect.name), {**by_own_clock, **values})
            rows = result.fetchall() if result.returns_rows else ()
            statement, values = script.send(rows)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


@lru_cache(MOST_KEPT)
def prepared(statement: str, dialect: str) -> TextClause:
    """Returns a statement in a database's words, its parameters typed: PostgreSQL's drivers must be told."""
    clause = text(DIALECTS[dialect].render(statement))
    return clause.bindparams(
        *(bindparam(name, type_=TYPES[PARAMETERS.get(name, "text")]) for name in clause._bindparams)
    )


def begin(connection: Connection, dialect: Dialect) -> None:
    """Begins the transaction of a connection that is to write.

    On SQLite it takes the write lock now. One that is taken later, after a read, is refused at once where another
    connection wrote meanwhile (SQLITE_BUSY_SNAPSHOT), whatever the time-out for waiting says.
    """
    if dialect is SQLITE:
        if getattr(connection.connection.driver_connection, "in_transaction", False):
            connection.exec_driver_sql("ROLLBACK")  # begun by a listener of the engine's, in the other mode, and empty
        connection.exec_driver_sql("BEGIN IMMEDIATE")
