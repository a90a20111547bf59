"""Crash points: named places at which a test may kill the process, to prove that nothing is lost there."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

_AT: Final = os.environ.get("SEAWALL_CRASH_AT", "")
_RECORD: Final = os.environ.get("SEAWALL_CRASH_RECORD", "")
_ARMED: Final = bool(_AT or _RECORD)


def _place(text: str) -> tuple[str, int]:
    """Reads `name:count`."""
    name, _, count = text.rpartition(":")
    if not name or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"SEAWALL_CRASH_AT={text!r} names no crash point; use name:count, with a count from 1 on")
    return name, int(count)


_CRASH: Final = _place(_AT) if _AT else None
_lock = threading.Lock()
_passed: dict[str, int] = {}


def point(name: str) -> None:
    """Marks a place. Costs one truth test, unless the environment asked otherwise when the process started.

    `SEAWALL_CRASH_AT=name:count` kills the process (SIGKILL) when it passes this point for the count-th time;
    `SEAWALL_CRASH_RECORD=file` appends the name of every point passed to a file.
    """
    if _ARMED:
        _pass(name)


def _pass(name: str) -> None:
    with _lock:
        _passed[name] = _passed.get(name, 0) + 1
        if _RECORD:
            with open(_RECORD, "a", encoding="utf-8") as record:
                record.write(f"{name}\n")
        if (name, _passed[name]) == _CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
