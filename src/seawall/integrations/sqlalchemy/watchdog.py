"""A bound on what a thread waits for in a driver: when the time is up, somebody else cuts its connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from seawall._core.forks import renew_after_fork


class Watchdog:
    """Watches blocks of code. One thread serves all, begins with the first and ends when there are none.

    A block that ends in time costs a microsecond: the thread is not woken for it, and finds it gone when it next looks.
    """

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets what was watched, and the thread, which this process does not have."""
        self.changed = threading.Condition(threading.Lock())
        self.blocks: set[Bounded] = set()
        self._looks_at = 0.0
        self._runs = False

    def watch(self, block: Bounded) -> None:
        """Begins to watch a block."""
        with self.changed:
            self.blocks.add(block)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="seawall-watchdog", daemon=True).start()
            elif block.until < self._looks_at:
                self.changed.notify()

    def forget(self, block: Bounded) -> None:
        """Watches a block no longer; when this returns, nothing is done about it any more."""
        with self.changed:
            self.blocks.discard(block)

    def _run(self) -> None:
        with self.changed:
            while self.blocks:
                now = time.monotonic()
                for block in [block for block in self.blocks if block.until <= now]:
                    self.blocks.discard(block)
                    block.cut()  # with the lock held, so that no connection is cut that has gone on to others
                self._looks_at = min((block.until for block in self.blocks), default=now)
                if self.blocks:
                    self.changed.wait(self._looks_at - now)
            self._runs = False


WATCHDOG: Final = Watchdog()


class Bounded:
    """Around a block: calls `cut`, on another thread, when it has lasted so many seconds. For one use."""

    __slots__ = ("_seconds", "cut", "until")

    def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
        self._seconds = seconds
        self.cut = cut
        self.until = 0.0

    def __enter__(self) -> None:
        self.until = time.monotonic() + self._seconds
        WATCHDOG.watch(self)

    def __exit__(self, *exc: object) -> None:
        WATCHDOG.forget(self)
