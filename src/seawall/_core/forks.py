"""After a fork: a lock that another thread held at that moment would stay locked in the child for ever."""

from __future__ import annotations

import os
import weakref
from typing import Any

_locking: weakref.WeakSet[Any] = weakref.WeakSet()


def renew_after_fork(thing: Any) -> None:
    """Calls `thing.after_fork()` in every child process: for a new lock, and to let go of what others held."""
    _locking.add(thing)


def _renew_all() -> None:
    for thing in list(_locking):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
