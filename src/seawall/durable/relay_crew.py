"""Who sends: threads or tasks, which take one lane after another. They decide nothing."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextvars import Context
from typing import Any

from seawall._core.clock import DEFAULT_CLOCK
from seawall.durable.driving import CLEANING, Flow, adrive, drive
from seawall.durable.script import Executor


class Threads:
    """At most so many daemon threads, started when they are needed; and what wakes the coordinator's own."""

    def __init__(self, executor: Executor, most: int, name: str) -> None:
        self._executor, self._most, self._name = executor, most, name
        self._rung = threading.Event()
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Flow[None]] = deque()
        self._alive = self._idle = 0
        self._closed = False

    def ring(self) -> None:
        """Wakes the coordinator."""
        self._rung.set()

    def wait(self, timeout: float) -> None:
        """Waits until somebody rings, at most `timeout` seconds."""
        DEFAULT_CLOCK.wait(self._rung, timeout)
        self._rung.clear()

    def begin(self, flow: Flow[None]) -> bool:
        """Has a flow driven by a thread, as soon as one is free; False: there is no thread to be had."""
        with self._changed:
            self._queue.append(flow)
            new = self._alive < self._most and len(self._queue) > self._idle
            if new:
                self._alive += 1
            else:
                self._changed.notify()
        if new:
            try:
                threading.Thread(target=self._work, name=f"seawall-{self._name}", daemon=True).start()
            except RuntimeError:
                return self._left_to_others(flow)
        return True

    def _left_to_others(self, flow: Flow[None]) -> bool:
        with self._changed:
            self._alive -= 1
            if not self._alive:
                self._queue.remove(flow)
            return self._alive > 0

    def close(self) -> None:
        """Lets every thread end after what is left for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Does so, and waits for them, at most 2.5 seconds: a function on a thread cannot be cut short."""
        self.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._alive, CLEANING / 2)

    def _work(self) -> None:
        while (flow := self._next()) is not None:
            Context().run(drive, self._executor, flow)
            del flow  # what it holds must not live on while the thread waits

    def _next(self) -> Flow[None] | None:
        with self._changed:
            while not self._queue:
                if self._closed:
                    self._alive -= 1
                    self._changed.notify_all()
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._queue.popleft()


class Tasks:
    """At most so many tasks of the running event loop; and what wakes the coordinator's own."""

    def __init__(self, executor: Executor, most: int) -> None:
        self._executor, self._most = executor, most
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._queue: deque[Flow[None]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()

    def ring(self) -> None:
        """Wakes the coordinator; from any thread."""
        if asyncio._get_running_loop() is self._loop:
            self._rung.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, timeout: float) -> None:
        """Waits until somebody rings, at most `timeout` seconds."""
        DEFAULT_CLOCK.drive(self._loop)
        timer = self._loop.call_later(timeout, self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
        self._rung.clear()

    def begin(self, flow: Flow[None]) -> bool:
        """Has a flow driven by a task, as soon as one is free, which there always is."""
        self._queue.append(flow)
        if len(self._tasks) < self._most:
            task = self._loop.create_task(self._work(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def stop(self) -> None:
        """Cancels what runs, and waits for it, at most 2.5 seconds."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLEANING / 2)
        while self._queue:
            drive(self._executor, self._queue.popleft())  # the desk has stopped: they end at once

    async def _work(self) -> None:
        while self._queue:
            await adrive(self._executor, self._queue.popleft())
