"""Claims: what is asked of a store so that an operation happens once; each verb is one short transaction.

A row is *running* under a lease, *done* with its result, *unknown* (its holder was lost, and what it had done nobody
knows) or *failed* (given back; the next claim takes it). Who holds it writes under its owner, a fresh random text, and
its epoch, which every change of hands raises: whoever was overtaken changes nothing any more.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from seawall._core.forks import renew_after_fork
from seawall.durable.script import Script

T_co = TypeVar("T_co", covariant=True)

FAILED_FOR: Final = 3600.0
"""Seconds for which a failure is still shown. It stops nobody (requirement I2)."""
EXPIRED: Final = "its lease ran out before it ended"


def note_of(text: str) -> str:
    """Returns a note as every store can keep it: at most 500 characters, and none that PostgreSQL refuses."""
    return text[:500].encode("utf-8", "replace").decode().replace("\0", " ")


class _Owners:
    """Makes texts that nobody else makes, in any process. A random one each would cost as much as a claim."""

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._process = uuid.uuid4().hex
        self._number = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._process}-{next(self._number)}"


new_owner: Final = _Owners()
"""Returns the owner of one claim, new at every call."""


class Verb(Generic[T_co]):
    """One thing that is asked of a store. It is called for its script; a store without SQL has a form of its own."""

    __slots__ = ()

    def __call__(self) -> Script[T_co]:
        """Returns the script for a store with SQL."""
        return self._script()

    def _script(self) -> Script[T_co]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class New:
    """The key was free, and is claimed now. `over`: it was taken over from a holder whose lease had run out."""

    epoch: int
    over: bool


@dataclass(frozen=True, slots=True)
class Running:
    """Somebody runs the operation: for `age` seconds so far, and with `left` seconds of lease."""

    age: float
    left: float


@dataclass(frozen=True, slots=True)
class Done:
    """The operation is done. `result_type` names the codec of its result."""

    result: bytes
    result_type: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key is that of another request."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Whether the operation took place nobody knows. `fresh`: that was found just now."""

    owner: str
    note: str
    fresh: bool


Answer: TypeAlias = New | Running | Done | Mismatch | Unknown


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """A claim as it is stored.

    In seconds: `left` of its lease, `kept` until its record goes, `age` since it was made, `changed` since it was
    written last. `result_type` names the codec of its result, or of the one that it is to have.
    """

    namespace: str
    key: str
    state: str
    fingerprint: str
    owner: str
    epoch: int
    takeover: bool
    left: float
    result: bytes | None
    result_type: str
    note: str
    age: float
    changed: float
    kept: float

    @property
    def gone(self) -> bool:
        """Whether its time is over, and the key is free."""
        return self.state in ("done", "failed") and self.kept <= 0

    @property
    def lapsed(self) -> bool:
        """Whether it runs without a lease: its holder is gone, or stands still."""
        return self.state == "running" and self.left <= 0


def answer_of(row: ClaimRecord, fingerprint: str) -> Answer:
    """Returns what a row that could not be taken says to somebody with this fingerprint."""
    if row.fingerprint != fingerprint:
        return Mismatch()
    if row.state == "done":
        return Done(row.result or b"", row.result_type)
    if row.state == "unknown":
        return Unknown(row.owner, row.note, False)
    if row.lapsed and not row.takeover:
        return Unknown(row.owner, EXPIRED, True)
    return Running(row.age, max(0.0, row.left))


@dataclass(frozen=True, slots=True)
class Held:
    """Which claim, and by whom it is held."""

    namespace: str
    key: str
    owner: str
    epoch: int

    def values(self) -> dict[str, Any]:
        """Returns it as parameters."""
        return {"namespace": self.namespace, "key": self.key, "owner": self.owner, "epoch": self.epoch}
