"""Work on a database in a task of its own, which whoever waits for it can leave, whatever its driver does.

A driver that is cancelled while its server is silent goes on waiting: asyncpg says goodbye for 2 s, psycopg asks the
server to cancel for 5, SQLite's thread cannot be stopped at all. A caller whose time is up must not wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import traceback
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")

GRACE: Final = 0.25
"""Seconds that cancelled work has to end, before its connection is cut; then once more as long."""
LEFT: Final[set[asyncio.Task[Any]]] = set()
"""What was cancelled and has not ended yet: kept, as the event loop itself keeps no task."""


class Line:
    """The connection of a piece of work, which another thread or task may cut."""

    __slots__ = ("_driver",)

    def __init__(self) -> None:
        self._driver: Any = None

    def take(self, connection: Connection) -> None:
        """Takes note of the connection that the work is done on."""
        try:
            self._driver = connection.connection.driver_connection
        except SQLAlchemyError:  # it was invalidated
            self._driver = None

    def lost(self) -> bool:
        """Whether it is known already that the connection has ended."""
        closed = getattr(self._driver, "is_closed", None) or getattr(self._driver, "closed", False)
        return bool(closed() if callable(closed) else closed)

    def cut(self) -> None:
        """Ends the connection at once, without a word to the server. What waits for it fails. Not for SQLite."""
        driver, self._driver = self._driver, None
        cut(driver)


class Hurried:
    """Around a block of async code: calls `cut` when it has lasted so many seconds. For one use."""

    __slots__ = ("_cut", "_handle", "_seconds")

    def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
        self._seconds = seconds
        self._cut = cut

    def __enter__(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._cut, context=Context())

    def __exit__(self, *exc: object) -> None:
        self._handle.cancel()


def cut(driver: Any) -> None:
    """Ends a driver's connection at once, from whatever thread or task."""
    with contextlib.suppress(Exception):  # it has ended, or is none that could
        if hasattr(driver, "terminate"):
            driver.terminate()  # asyncpg
        else:
            with socket.socket(fileno=os.dup(driver.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


async def until_left(work: Coroutine[Any, Any, T], line: Line, seconds: float | None = None) -> T:
    """Does the work in a task of its own. Whoever is cancelled meanwhile leaves within half a second.

    The work is cancelled then; what has not ended after a quarter of a second has its connection cut. Raises
    TimeoutError, likewise, after so many seconds.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            await leave(task, line)
            raise TimeoutError(f"no answer within {seconds:g} s")
        return task.result()
    except asyncio.CancelledError:
        if not task.done():
            await leave(task, line)
        raise
    finally:
        del task  # no cycle of failure, traceback and frame


async def leave(task: asyncio.Task[Any], line: Line) -> None:
    """Cancels work that nobody waits for any longer, and returns within half a second, itself cancelled or not."""
    task.cancel()
    await steadily(task, GRACE)
    if not task.done():
        line.cut()
        await steadily(task, GRACE)
    if task.done():
        _forget(task)
    else:
        LEFT.add(task)
        task.add_done_callback(_forget)


async def steadily(task: asyncio.Task[Any], seconds: float) -> int:
    """Waits so long for a task to end, through any cancellation; returns how many there were."""
    loop = asyncio.get_running_loop()
    until, cancelled = loop.time() + seconds, 0
    while not task.done() and loop.time() < until:
        try:
            await asyncio.wait({task}, timeout=until - loop.time())
        except asyncio.CancelledError:
            cancelled += 1
    return cancelled


def let_go(cancelled: asyncio.CancelledError) -> None:
    """Drops what the frames of cancelled database work hold, which SQLAlchemy ties into a cycle.

    A connection of aiosqlite's that was closed in the midst of a statement stays open in secret, and keeps its locks,
    until the statement is dropped: by the garbage collector, that may be minutes later.
    """
    traceback.clear_frames(cancelled.__traceback__)


def _forget(task: asyncio.Task[Any]) -> None:
    LEFT.discard(task)
    if not task.cancelled():
        task.exception()  # nobody will ask
