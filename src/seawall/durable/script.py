"""Scripts: what is said to a database, written once, as generators of statements that any executor can run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Rows: TypeAlias = Sequence[Sequence[Any]]
"""What a statement gave back: a query or a RETURNING; nothing otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One SQL statement, the same text for every database.

    Parameters are named (`:owner`); what a parameter's name means, and so its type, is the same in every statement
    (`PARAMETERS` in dialect.py). The few words that differ are in braces: `{now}` is the time in seconds since 1970, by
    the database's clock where it has one; `{skip_locked}` leaves out, at the end of a SELECT, rows that another
    transaction holds, and locks the rest; `{listed}` is a table of one column, `value`, of text, made of the parameter
    `:listed`, a JSON array: so one statement is about many rows; `{tables}` is a table of the names of all tables;
    `{upgrade_lock}`, selected, waits until no other transaction has selected it; `{text}`, `{int}`, `{float}`, `{blob}`
    and `{id}` are the types of columns.
    """

    text: str


Step: TypeAlias = tuple[Statement, Mapping[str, Any]]
Script: TypeAlias = Generator[Step, Rows, T]
"""A conversation with a database inside one transaction: yields statements, is sent their rows, returns its result.

It may be run again from its beginning, when the transaction did not come about or its end is unknown: so it changes
nothing but rows, and a second run after a first that did commit must give the same answer. Scripts therefore find
their own rows again by the owner that wrote them.
"""


class Executor(Protocol):
    """Runs scripts, each in one transaction, in one colour or both."""

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script on this thread's time; the transaction has been committed when this returns."""
        ...

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """Runs a script without blocking the event loop; the transaction has been committed when this returns.

        A caller that is cancelled does not know whether it was.
        """
        ...
