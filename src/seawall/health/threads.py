"""Threads for plain functions that may hang: none of them is the application's, or keeps the process from ending."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from seawall._core.forks import renew_after_fork

KEPT: Final = 4
"""Threads that wait for more to do; one that is beyond them ends with its work."""

_Job: TypeAlias = tuple[Future[Any], Callable[[], Any]]


class Threads:
    """Runs plain functions on daemon threads: on one that is idle, else on a new one.

    So a function that hangs keeps nobody waiting. There are never more threads than callers, each of which must have
    one function running at a time. Threads are started when they are needed, and anew after a fork.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begins anew: the threads stayed with the parent process."""
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[_Job] = deque()
        self._alive = 0
        self._idle = 0
        self._closed = False

    @property
    def alive(self) -> int:
        """How many threads there are."""
        return self._alive

    def submit(self, fn: Callable[[], Any]) -> Future[Any]:
        """Runs `fn` in a context of its own; returns its future. Raises RuntimeError where no thread can be had."""
        future: Future[Any] = Future()
        job = future, fn
        with self._changed:
            self._closed = False
            self._queue.append(job)
            new = len(self._queue) > self._idle
            if new:
                self._alive += 1
            else:
                self._changed.notify()
        if new:
            try:
                threading.Thread(target=self._work, name=f"seawall-{self._name}", daemon=True).start()
            except BaseException:
                with self._changed:
                    self._alive -= 1
                    if job in self._queue:
                        self._queue.remove(job)
                raise
        return future

    def close(self) -> None:
        """Lets the idle threads end, and each of the others after its function. What is queued is cancelled."""
        with self._changed:
            self._closed = True
            queued = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        for future, _ in queued:
            future.cancel()

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            _run(*job)
            del job  # what it holds must not live on while the thread waits

    def _next(self) -> _Job | None:
        """Waits for something to do; None: the thread is to end."""
        with self._changed:
            while not self._queue:
                if self._closed or self._alive > KEPT:
                    self._alive -= 1
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._queue.popleft()


def _run(future: Future[Any], fn: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = contextvars.Context().run(fn)
    except BaseException as error:
        future.set_exception(error)
        del future, error  # no cycle
    else:
        future.set_result(result)
