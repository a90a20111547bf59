"""Counters that several processes share."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall.durable.claims import Verb, new_owner
from seawall.durable.script import Executor, Script, Statement
from seawall.durable.store import RECORDS, Store, require

_MARK: Final = Statement("""
    INSERT INTO seawall_txn (id, at) VALUES (:mark, {now}) ON CONFLICT (id) DO NOTHING RETURNING id""")
_UNMARK: Final = Statement("DELETE FROM seawall_txn WHERE id = :mark")
_ADD: Final = Statement("""
    INSERT INTO seawall_counter AS held (name, value, expires_at) VALUES (:name, :by, {now} + :ttl)
    ON CONFLICT (name) DO UPDATE SET
        value = CASE WHEN held.expires_at <= {now} THEN excluded.value ELSE held.value + excluded.value END,
        expires_at = CASE WHEN held.expires_at <= {now} THEN excluded.expires_at ELSE held.expires_at END
    RETURNING value""")
_READ: Final = Statement("""
    SELECT value FROM seawall_counter WHERE name = :name AND (expires_at IS NULL OR expires_at > {now})""")


@dataclass(frozen=True, slots=True)
class AddCount(Verb[int]):
    """Adds to a counter, and returns its new value.

    `mark` tells a second run of this addition from another one; none where it runs in the user's transaction. `old` is
    the mark of one that has ended, and is not needed any more.
    """

    name: str
    by: int
    ttl: float | None
    mark: str
    old: str

    def _script(self) -> Script[int]:
        if self.old:
            yield _UNMARK, {"mark": self.old}
        if self.mark and not (yield _MARK, {"mark": self.mark}):
            return (yield from ReadCount(self.name)())
        rows = yield _ADD, {"name": self.name, "by": self.by, "ttl": self.ttl}
        return int(rows[0][0])


@dataclass(frozen=True, slots=True)
class ReadCount(Verb[int]):
    """Returns the value of a counter."""

    name: str

    def _script(self) -> Script[int]:
        rows = yield _READ, {"name": self.name}
        return int(rows[0][0]) if rows else 0


class Counter:
    """A whole number under a name, shared by processes. No addition is lost, and none counts twice.

    Args:
        store: where it is kept: SQLite (one host), PostgreSQL or Redis.
        name: which counter.
        ttl: seconds after which it begins at 0 again, counted from its first addition; default None: never.
    """

    def __init__(self, store: Store, name: str, *, ttl: Seconds | None = None) -> None:
        if not isinstance(name, str) or not name or "\x00" in name:
            raise TypeError(f"name={name!r} is no name of a counter; use a text such as 'mails-sent'")
        self.name = name
        self._store = store
        self._ttl = None if ttl is None else arguments.seconds("ttl", ttl)
        self._old: deque[str] = deque()

    def __repr__(self) -> str:
        return f"Counter({self._store.name}, {self.name!r})"

    def add(self, by: int = 1, *, session: Any = None) -> int:
        """Adds `by`, which may be negative, and returns the new value.

        With a `session` it counts if and when the user's transaction commits. Raises StoreError; after that it may or
        may not have counted.
        """
        add = self._adding(by, session)
        value = self._executor(session).run(add)
        self._ended(add)
        return value

    async def aadd(self, by: int = 1, *, session: Any = None) -> int:
        """As `add`."""
        add = self._adding(by, session)
        value = await self._executor(session).arun(add)
        self._ended(add)
        return value

    def value(self, *, session: Any = None) -> int:
        """Returns the value now; 0 before the first addition. Raises StoreError."""
        return self._executor(session).run(ReadCount(self.name))

    async def avalue(self, *, session: Any = None) -> int:
        """As `value`."""
        return await self._executor(session).arun(ReadCount(self.name))

    def _adding(self, by: int, session: Any) -> AddCount:
        if isinstance(by, bool) or not isinstance(by, int):
            raise TypeError(f"by={by!r} is not a whole number; use one such as 1")
        if session is not None:
            return AddCount(self.name, by, self._ttl, "", "")
        try:
            old = self._old.popleft()
        except IndexError:
            old = ""
        return AddCount(self.name, by, self._ttl, f"counter:{new_owner()}", old)

    def _ended(self, add: AddCount) -> None:
        if add.mark:
            self._old.append(add.mark)

    def _executor(self, session: Any) -> Executor:
        if session is None:
            return self._store
        require(self._store, RECORDS, f"counter {self.name!r}: an addition that commits with an effect")
        return self._store.on(session)
