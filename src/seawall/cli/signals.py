"""Ctrl-C and SIGTERM for commands that have something to show when they are stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

HEEDED: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Within the block, a signal cancels a task and does nothing else, so that what has been found can be shown.

    One that was ignored when the program started, as Ctrl-C in a job in the background, stays so.
    """

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._cancel: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 and the number of the first signal; 0 where there was none."""
        return 128 + self._seen[0] if self._seen else 0

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancels a task of the running event loop at each signal from now on, and now where there was one before."""
        loop = task.get_loop()
        self._cancel = lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel)
        for _ in self._seen:
            task.cancel()

    def __enter__(self) -> Signals:
        for number in HEEDED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        self._seen.append(number)
        if self._cancel is not None:
            self._cancel()
