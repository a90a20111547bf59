"""What waits for the commit of a connection's transaction, where there is no session that would tell of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection

from seawall.integrations.sqlalchemy.notices import notify

MOMENT: Final = 0.02
"""Seconds from when COMMIT is sent: SQLAlchemy tells of that, and not of its end."""
_WAITING: Final[weakref.WeakKeyDictionary[Connection, _Waiting]] = weakref.WeakKeyDictionary()


def at_commit_of(joined: Connection | AsyncConnection, channel: str, wake: Callable[[], None], *, tells: bool) -> None:
    """Calls `wake` a moment after a connection's commit; tells other processes in it, if `tells`."""
    connection = joined if isinstance(joined, Connection) else joined.sync_connection
    if connection is None:
        raise ValueError(f"session={joined!r} has not been started; await it, or use it by `async with`")
    waiting = _WAITING.get(connection)
    if waiting is None:
        waiting = _WAITING[connection] = _Waiting(connection)
    waiting.wakes[channel] = (wake, tells)


class _Waiting:
    """The channels that wait for the end of one connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self.wakes: dict[str, tuple[Callable[[], None], bool]] = {}
        event.listen(connection, "commit", self._committing)
        event.listen(connection, "rollback", self._rolled_back)

    def _committing(self, connection: Connection) -> None:
        wakes, self.wakes = self.wakes, {}
        notify(connection, [channel for channel, (_, tells) in wakes.items() if tells])
        for wake, _ in wakes.values():
            timer = threading.Timer(MOMENT, wake)
            timer.daemon = True
            timer.start()

    def _rolled_back(self, connection: Connection) -> None:
        self.wakes.clear()
