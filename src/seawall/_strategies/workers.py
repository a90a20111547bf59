"""Worker pools: threads of their own for blocking work, so that it cannot take the threads of everything else."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from seawall._core import arguments
from seawall._core.chain import check_kind
from seawall._core.errors import BulkheadFullError
from seawall._core.events import Hub
from seawall._core.forks import renew_after_fork
from seawall._core.names import NAMES, check_name

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class WorkerPoolSnapshot:
    """A pool at one moment: `busy` counts running and queued calls together."""

    name: str
    threads: int
    max_waiting: int
    busy: int


class WorkerPool:
    """A bounded pool of threads with a bounded queue.

    The caller's context variables go with the call. Threads are started at the first call, and anew after a fork. A
    call that is cancelled while it queues gives its place back; one that runs cannot be stopped, and keeps its thread.

    Args:
        name: shown in errors and snapshots.
        threads: calls at once.
        max_waiting: calls that may queue; default 0. Beyond it `BulkheadFullError` is raised at once.
    """

    def __init__(self, name: str, threads: int, max_waiting: int = 0) -> None:
        check_name(name)
        self.name = name
        self.threads = arguments.whole("threads", threads, least=1)
        self.max_waiting = arguments.whole("max_waiting", max_waiting, least=0)
        self._hub = Hub(name)
        self.after_fork()
        renew_after_fork(self)
        self._executor: Executor | None = None
        self._pid = 0
        self._busy: deque[None] = deque()
        NAMES.register(name, self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"WorkerPool({self.name!r}, {self.threads}, {self.max_waiting})"

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs a plain function on a thread of the pool. Raises BulkheadFullError, and whatever the function raises."""
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Hands a plain function to the pool, and returns its future. Raises BulkheadFullError."""
        if not isinstance(fn, type):
            check_kind("submit", fn, "call", "await it, or run it in an event loop")
        context = contextvars.copy_context()
        work = functools.partial(context.run, fn, *args, **kwargs)
        with self._lock:
            executor = self._executor_of_this_process()
            busy = self._busy
            full = len(busy) >= self.threads + self.max_waiting
            if not full:
                busy.append(None)
        if full:
            raise self._hub.refuse(BulkheadFullError(self.name, None))
        try:
            future: Future[R] = executor.submit(work)
        except BaseException:
            busy.pop()
            raise
        future.add_done_callback(lambda done: busy.pop())
        return future

    def _executor_of_this_process(self) -> Executor:
        """Returns the executor, made anew after a fork. Called with the lock."""
        if self._pid != os.getpid():
            self._executor, self._pid, self._busy = None, os.getpid(), deque()
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor  # 1 ms at import that few processes need

            self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix=f"seawall-{self.name}")
        return self._executor

    def shutdown(self, wait: bool = True) -> None:
        """Ends the threads when their calls have ended; queued calls are cancelled. The pool may be used again."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=wait, cancel_futures=True)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()

    def snapshot(self) -> WorkerPoolSnapshot:
        """Returns the counts as of now."""
        return WorkerPoolSnapshot(self.name, self.threads, self.max_waiting, len(self._busy))
