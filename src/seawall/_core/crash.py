"""Crash points: named places at which a test may kill the process, to prove that nothing is lost there."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

_AT: Final = os.environ.get("SEAWALL_CRASH_AT", "")
_RECORD: Final = os.environ.get("SEAWALL_CRASH_RECORD", "")
_ARMED: Final = bool(_AT or _RECORD)
_name, _, _count = _AT.rpartition(":")
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
        if name == _name and _passed[name] == int(_count):
            os.kill(os.getpid(), signal.SIGKILL)
