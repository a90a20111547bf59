"""Locks between processes: a lease under a name, with a fencing token that only ever grows."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import DEFAULT_CLOCK, refuse_to_block
from seawall._core.deadline import remaining
from seawall._core.events import LOGGER, brief
from seawall.durable.claims import Verb, new_owner
from seawall.durable.driving import Flow, Pause, adrive, drive, surely
from seawall.durable.errors import LockTimeoutError
from seawall.durable.heartbeat import Keeping, keeping, lease_and_heartbeat
from seawall.durable.script import Script, Statement
from seawall.durable.store import Store

SOON, LATEST = 0.02, 0.25
"""Seconds between two tries to take a lock that is held: the first ones, and the longest."""

_TAKE: Final = Statement("""
    INSERT INTO seawall_lock AS held (name, owner, token, lease_until) VALUES (:name, :owner, 1, {now} + :lease)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, lease_until = {now} + :lease,
        token = CASE WHEN held.owner = excluded.owner THEN held.token ELSE held.token + 1 END
    WHERE held.owner IS NULL OR held.owner = excluded.owner OR held.lease_until <= {now}
    RETURNING token""")
_LEFT: Final = Statement("SELECT lease_until - {now} FROM seawall_lock WHERE name = :name")
_RENEW: Final = Statement("""
    UPDATE seawall_lock SET lease_until = {now} + :lease WHERE name = :name AND owner = :owner RETURNING token""")
_FREE: Final = Statement("UPDATE seawall_lock SET owner = NULL, lease_until = 0 WHERE name = :name AND owner = :owner")


@dataclass(frozen=True, slots=True)
class Held:
    """The lock is held: for so many seconds at most, if no heartbeat follows."""

    left: float


@dataclass(frozen=True, slots=True)
class TakeLock(Verb[int | Held]):
    """Takes a lock that is free, or whose lease has run out; returns its token."""

    name: str
    owner: str
    lease: float

    def _script(self) -> Script[int | Held]:
        taken = yield _TAKE, {"name": self.name, "owner": self.owner, "lease": self.lease}
        if taken:
            return int(taken[0][0])
        left = yield _LEFT, {"name": self.name}
        return Held(max(0.0, left[0][0]))


@dataclass(frozen=True, slots=True)
class RenewLock(Verb[bool]):
    """Puts the end of the lease forward, even after it has run out where nobody took the lock; False: it is lost."""

    name: str
    owner: str
    lease: float

    def _script(self) -> Script[bool]:
        return bool((yield _RENEW, {"name": self.name, "owner": self.owner, "lease": self.lease}))


@dataclass(frozen=True, slots=True)
class FreeLock(Verb[None]):
    """Gives a lock back, if it is still this owner's."""

    name: str
    owner: str

    def _script(self) -> Script[None]:
        yield _FREE, {"name": self.name, "owner": self.owner}


class Lock:
    """A lock that holds between processes and hosts, under a lease.

    `with lock as token:` or `async with lock as token:`. What is guaranteed: while the lease is kept, nobody else is
    inside. A process that stops (a long pause, a lost network) loses its lease, and may only notice later: so whatever
    the lock protects must refuse writes with a token smaller than one it has seen. Tokens of one name grow strictly.

    An async block that loses its lease is cancelled and LeaseLostError raised in its place; a sync one gets it at its
    end. One object serves any threads, tasks and event loops; it cannot be entered again inside itself. Who comes
    first is not served first.

    Args:
        store: where it is kept: SQLite (one host), PostgreSQL or Redis.
        name: what is locked. Names are not forgotten: take no new one for each order.
        lease: seconds for which it holds without a heartbeat; default 30.
        heartbeat: seconds between heartbeats; default 10.
        wait: seconds to wait for it; 0: not at all; None (default): until the ambient deadline, if there is one.

    Entering raises LockTimeoutError and StoreError.
    """

    def __init__(
        self, store: Store, name: str, *, lease: Seconds = 30.0, heartbeat: Seconds = 10.0, wait: Seconds | None = None
    ) -> None:
        if not isinstance(name, str) or not name or "\x00" in name:
            raise TypeError(f"name={name!r} is no name of a lock; use a text such as 'nightly-report'")
        self.name = name
        self._store = store
        self._lease, self._heartbeat = lease_and_heartbeat(lease, heartbeat)
        self._wait = None if wait is None else arguments.seconds("wait", wait, zero=True)
        self._inside: dict[object, tuple[str, Keeping]] = {}

    def __repr__(self) -> str:
        return f"Lock({self._store.name}, {self.name!r})"

    def __enter__(self) -> int:
        me = threading.get_ident()
        self._refuse_again(me)
        owner = new_owner()
        token, since = drive(self._store, self._taking(owner, blocking=True))
        kept = self._keeping(owner, since)
        kept.__enter__()
        self._inside[me] = owner, kept
        return token

    def __exit__(self, *exc: Any) -> None:
        owner, kept = self._left(threading.get_ident())
        try:
            kept.__exit__(*exc)
        finally:
            if exc[0] is GeneratorExit:  # perhaps from the garbage collector, on the very thread that the store needs
                threading.Thread(target=drive, args=(self._store, self._freeing(owner)), daemon=True).start()
            else:
                drive(self._store, self._freeing(owner))

    async def __aenter__(self) -> int:
        me = asyncio.current_task()
        self._refuse_again(me)
        owner = new_owner()
        token, since = await adrive(self._store, self._taking(owner))
        kept = self._keeping(owner, since)
        await kept.__aenter__()
        self._inside[me] = owner, kept
        return token

    async def __aexit__(self, *exc: Any) -> None:
        owner, kept = self._left(asyncio.current_task())
        try:
            await kept.__aexit__(*exc)
        finally:
            await adrive(self._store, self._freeing(owner))

    def _left(self, me: object) -> tuple[str, Keeping]:
        """Returns what is to be given back: of a generator that is ended by another thread or task, the oldest."""
        return self._inside.pop(me if me in self._inside else next(iter(self._inside)))

    def _refuse_again(self, me: object) -> None:
        if me in self._inside:
            raise RuntimeError(
                f"the lock {self.name!r} is held by this thread or task already, and would wait for itself"
            )

    def _keeping(self, owner: str, since: float) -> Keeping:
        return keeping(
            self._store,
            RenewLock(self.name, owner, self._lease),
            every=self._heartbeat,
            lease=self._lease,
            name=f"lock {self.name!r}",
            since=since,
        )

    def _taking(self, owner: str, *, blocking: bool = False) -> Flow[tuple[int, float]]:
        """Returns the token, and when it was asked for. A caller that is cancelled leaves no lock behind."""
        take, pause, began = TakeLock(self.name, owner, self._lease), SOON, DEFAULT_CLOCK.now()
        try:
            while True:
                since = DEFAULT_CLOCK.now()
                answer: int | Held = yield from surely("lock.take", take)
                if not isinstance(answer, Held):
                    return answer, since
                left = self._time_left(began)
                if left <= 0:
                    raise LockTimeoutError(f"lock {self.name}", answer.left)
                if blocking:
                    refuse_to_block(f"the lock {self.name!r}")
                yield Pause("lock.wait", min(pause * random.uniform(0.5, 1.0), left))
                pause = min(pause * 1.5, LATEST)
        except (Exception, GeneratorExit):
            raise
        except BaseException:
            yield from self._freeing(owner)
            raise

    def _time_left(self, began: float) -> float:
        """Seconds that are left to wait."""
        own = float("inf") if self._wait is None else began + self._wait - DEFAULT_CLOCK.now()
        ambient = remaining()
        return own if ambient is None else min(own, ambient)

    def _freeing(self, owner: str) -> Flow[None]:
        try:
            yield from surely("lock.free", FreeLock(self.name, owner))
        except Exception as error:
            LOGGER.warning("the lock %r could not be given back and stays for its lease: %s", self.name, brief(error))
