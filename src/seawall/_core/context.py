"""What surrounds a call: its deadline, the retries already spent around it, and who wants to know how it went.

All three travel in one context variable, so that a call that has none of them pays for one read.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import NamedTuple, TypeAlias

from seawall._core.clock import Clock, DefaultClock


class Scope:
    """A deadline: an instant on a clock. `limit` is the duration that it was set with, in seconds."""

    __slots__ = ("clock", "limit", "timers", "until")

    def __init__(self, limit: float, until: float, clock: Clock | DefaultClock) -> None:
        self.limit = limit
        self.until = until
        self.clock = clock
        self.timers: dict[object, object] = {}

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        left = self.until - self.clock.now()
        return left if left > 0 else 0.0


class Trace:
    """How one call went, filled in by the strategies on its way (only where somebody asked)."""

    __slots__ = ("attempts", "served_by")

    def __init__(self) -> None:
        self.attempts = 0
        self.served_by = "primary"


class Made:
    """How many retry records were made so far: a call that reads it at its start knows which are younger."""

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records = 0


MADE = Made()


class RetryRecord:
    """The retries spent below one outermost Retry call, shared with its child tasks.

    It is made by whichever Retry fails first, which may be an inner one. Then it stays in the context, without owner,
    until the Retry around it takes it over; out of a child task or thread it travels on the failure instead.
    """

    __slots__ = ("_lock", "_spent", "number", "owned")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[object, int] = {}
        self.owned = True
        self.number = MADE.records
        MADE.records += 1

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # it is of this process alone, and must not keep a failure from being pickled or copied

    def spent(self, retry: object) -> int:
        return self._spent.get(retry, 0)

    def spend(self, retry: object) -> None:
        with self._lock:
            self._spent[retry] = self._spent.get(retry, 0) + 1

    def take_over(self, other: RetryRecord, retry: object) -> None:
        """Adds what others than `retry` have spent."""
        with self._lock:
            for key, number in other._spent.items():
                if key is not retry:
                    self._spent[key] = self._spent.get(key, 0) + number


Repeatable: TypeAlias = Callable[[Exception | None], bool]
"""Says whether a call with effects may be made once more: after a failure, or (asked with None) beside itself."""


class Ambient(NamedTuple):
    """The surroundings of a call."""

    deadline: Scope | None = None
    retries: RetryRecord | None = None
    trace: Trace | None = None
    repeatable: Repeatable | None = None


_ambient: ContextVar[Ambient | None] = ContextVar("seawall", default=None)
current: Callable[[], Ambient | None] = _ambient.get
NOTHING = Ambient()


def surround(ambient: Ambient) -> None:
    """Makes `ambient` the surroundings of this context. An empty one becomes None, which calls skip over."""
    _ambient.set(None if ambient == NOTHING else ambient)


class AnotherCall:
    """Around a fallback: what it calls is not the call that may or may not be repeated."""

    __slots__ = ("_repeatable",)

    def __enter__(self) -> None:
        ambient = current() or NOTHING
        self._repeatable = ambient.repeatable
        if self._repeatable is not None:
            surround(ambient._replace(repeatable=None))

    def __exit__(self, *exc: object) -> None:
        if self._repeatable is not None:
            surround((current() or NOTHING)._replace(repeatable=self._repeatable))


RETRY_CODE: set[CodeType] = set()
"""The code of every frame in which a Retry makes an attempt."""

ALONE_CODE: set[CodeType] = set()
"""Of these, the frames of a Retry alone, which may call one of the others for the same attempt."""


def inside_retry(own: int) -> bool:
    """Whether a Retry further up this thread's stack (or this task's chain of awaits) is making an attempt.

    Looking is expensive and entering a Retry is frequent: so frames are looked at, and only after a failure, instead of
    a mark being set at every entry. `own` frames of the asking Retry itself are passed over.
    """
    frame: FrameType | None = sys._getframe(1)
    inner: FrameType | None = None
    while frame is not None:
        if frame.f_code in RETRY_CODE:
            alone = inner is not None and inner.f_code not in ALONE_CODE and frame.f_code in ALONE_CODE
            same_call = alone and inner is not None and inner.f_back is frame
            if not same_call:
                if not own:
                    return True
                own -= 1
            inner = frame
        frame = frame.f_back
    return False


def forget_stale_retries() -> None:
    """Drops a record that an inner Retry left for one around it, where none is around any more."""
    ambient = current()
    record = None if ambient is None else ambient.retries
    if ambient is not None and record is not None and not record.owned and not inside_retry(own=1):
        surround(ambient._replace(retries=None))
