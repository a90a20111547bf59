"""What tests of the embedded store say to it, and what they do to it."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from seawall.durable import EmbeddedStore
from seawall.durable.script import Script, Statement

PATIENCE = 30.0  # real seconds after which what hangs is given up
PUT = Statement("INSERT INTO seawall_txn (id, at) VALUES (:key, {now}) ON CONFLICT (id) DO NOTHING RETURNING id")
ALL = Statement("SELECT id FROM seawall_txn ORDER BY id")
COUNT = Statement("SELECT COUNT(*) FROM seawall_txn")


class BoomError(Exception):
    """What a test raises."""


def putting(key: str) -> Callable[[], Script[bool]]:
    """Returns a script that writes a key, and says whether it was not there."""
    return partial(put, key)


def put(key: str) -> Script[bool]:
    """Writes a key; says whether it was not there."""
    rows = yield PUT, {"key": key}
    return bool(rows)


def put_then_fail(key: str) -> Script[None]:
    """Writes a key, and raises."""
    yield PUT, {"key": key}
    raise BoomError(key)


def every() -> Script[list[str]]:
    """Returns all keys."""
    rows = yield ALL, {}
    return [row[0] for row in rows]


def count() -> Script[int]:
    """Returns how many keys there are."""
    rows = yield COUNT, {}
    return int(rows[0][0])


class Busy:
    """Keeps the writer of a store at work, on another thread, until it is let go: so what comes meanwhile waits."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._begun, self._free = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(store,))

    def _work(self, store: EmbeddedStore) -> None:
        try:
            store.run(self._waiting)
        except BaseException as error:
            self.error = error

    def _waiting(self) -> Script[None]:
        self._begun.set()
        assert self._free.wait(PATIENCE), "was never let go"
        return
        yield  # a script, though it says nothing

    def __enter__(self) -> "Busy":
        self._thread.start()
        assert self._begun.wait(PATIENCE), "the writer never came to it"
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()

    def let_go(self) -> None:
        """Lets the writer go on."""
        self._free.set()
        self._thread.join(PATIENCE)


def started(target: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Starts a thread."""
    thread = threading.Thread(target=target, args=arguments)
    thread.start()
    return thread


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Waits until something is so."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("never came true")


@contextlib.contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Gives a connection of somebody else's to the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def keys_in(path: Path) -> list[str]:
    """Returns all keys, as somebody else sees them."""
    with looking(path) as connection:
        return [row[0] for row in connection.execute(ALL.text)]


def queued(store: EmbeddedStore) -> int:
    """Returns how many wait for the writer."""
    return store._writer._queue.qsize()
