"""What every store offers to the parts of `seawall.durable` that are built on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from seawall._core.errors import SeawallError
from seawall.durable.script import Executor

CLAIMS: Final = "claims"
"""Idempotency claims, locks with fencing tokens, counters."""
RECORDS: Final = "records"
"""Inbox, outbox, sagas: what commits together with effects in the same database."""


class StoreError(SeawallError):
    """A store cannot do what was asked: full, locked, read-only, out of reach, or of another version."""


class Store(Executor, Protocol):
    """A database that holds seawall's tables."""

    @property
    def name(self) -> str:
        """What it is called in errors and logs: its URL without secrets."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can hold: "claims", "records"."""
        ...

    def on(self, session: Any) -> Executor:
        """Returns an executor that runs scripts inside the open transaction of the user's session or connection.

        Nothing is committed or rolled back by it: what it wrote lives and dies with the user's transaction.
        """
        ...

    def wake(self, channel: str) -> None:
        """Tells the listeners of a channel, in this process, that something waits. In a transaction use `after`."""
        ...

    def after(self, session: Any, channel: str) -> None:
        """Wakes a channel once the user's transaction on `session` has been committed, and not if it is rolled back."""
        ...

    def listen(self, channel: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener`, on any thread, when a channel is woken: by this process, or another if the database tells.

        Returns what ends that. A listener may be called for nothing, and must poll besides.
        """
        ...


def require(store: Store, capability: str, what: str) -> None:
    """Raises for a store that cannot hold what is asked of it."""
    if capability not in store.capabilities:
        raise StoreError(
            f"{what} cannot live in {store.name}: it has no transactions that an effect could share; "
            "use a store on SQLite (sqlite:///file) or PostgreSQL (postgresql://...)"
        )


class Wakening:
    """The listeners of this process, by channel."""

    def __init__(self) -> None:
        self._listeners: dict[str, tuple[Callable[[], None], ...]] = {}

    def wake(self, channel: str) -> None:
        """Calls the listeners of a channel."""
        for listener in self._listeners.get(channel, ()):
            listener()

    def listen(self, channel: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Adds a listener; returns what removes it."""
        self._listeners[channel] = (*self._listeners.get(channel, ()), listener)

        def end() -> None:
            left: Iterable[Callable[[], None]] = self._listeners.get(channel, ())
            self._listeners[channel] = tuple(each for each in left if each is not listener)

        return end
