"""Relays whose sending is held up, stores that fail, and blocks that are left while that lasts."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from seawall.durable import Relay, StoreError
from tests.durable.outbox.posts import Post

NEVER = 1000.0


class Gate:
    """Holds up what passes until it is opened, in either colour."""

    def __init__(self) -> None:
        self.waiting = 0
        self._open = threading.Event()

    def open(self) -> None:
        """Lets everything pass."""
        self._open.set()

    def pass_(self) -> None:
        """Passes, on a thread."""
        self.waiting += 1
        self._open.wait()

    async def apass(self) -> None:
        """Passes, in a task."""
        self.waiting += 1
        while not self._open.is_set():  # noqa: ASYNC110 - it is opened from any thread
            await asyncio.sleep(0.001)

    def hold(self, post: Post) -> None:
        """Holds up the sending of everything."""
        post.sending = self.apass if post.engine.kind.is_async else self.pass_


def enter(post: Post, relay: Relay, inside: Callable[[], Any]) -> None:
    """Runs something blocking inside the block of a relay."""

    async def work() -> None:
        async with relay:
            await asyncio.to_thread(inside)

    if post.engine.kind.is_async:
        post.engine.awaited(work())
    else:
        with relay:
            inside()


def outside(post: Post) -> Any:
    """Returns a sync function that adds a message from another thread than the event loop's."""
    if post.engine.kind.is_async:
        return lambda text, **options: asyncio.run(post.outbox.aadd("there", text, **options))
    return lambda text, **options: post.outbox.add("there", text, **options)


class Flaky:
    """A store that fails whenever it is told to."""

    def __init__(self, store: Any) -> None:
        self._store, self.failing = store, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def run(self, script: Any) -> Any:
        """Fails, or runs a script."""
        if self.failing:
            raise StoreError("the database is gone")
        return self._store.run(script)

    async def arun(self, script: Any) -> Any:
        """Fails, or runs a script."""
        if self.failing:
            raise StoreError("the database is gone")
        return await self._store.arun(script)
