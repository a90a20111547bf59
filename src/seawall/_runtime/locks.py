"""Locks between processes: the kernel lets go of them when their process ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_OPEN: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_held: set[int] = set()
"""File descriptors that hold a lock: a forked child would hold it too, beyond the death of its parent."""


def _close_in_child() -> None:
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _lock(path: Path) -> int | None:
    """Returns a file descriptor that holds the lock of a file, made where it is missing; None where it is taken."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    _held.add(handle)
    try:
        _flock(handle)
        return handle
    except BlockingIOError:
        _let_go(handle)
        return None
    except BaseException:
        _let_go(handle)
        raise


def _flock(handle: int, *, shared: bool = False) -> None:
    """Takes a lock at once, or raises BlockingIOError."""
    if sys.platform == "win32":
        raise OSError("this system has no flock()")
    fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _let_go(handle: int) -> None:
    """Closes a file and gives up its lock, also for a child that was forked meanwhile."""
    if handle in _held:
        _held.discard(handle)
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether a file is still what its path leads to: others may have removed or replaced it."""
    try:
        there, ours = os.stat(path, follow_symlinks=False), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


@contextmanager
def held(path: Path, timeout: float) -> Iterator[bool]:
    """Holds the lock that a file stands for, against other threads too; gives False where it was not free in time.

    Somebody may have been stopped (SIGSTOP) while holding it, so nobody waits without a bound. Raises OSError where the
    file cannot be made, or the file system has no locks.

    Args:
        path: the file, made where it is missing.
        timeout: seconds to wait.
    """
    until = time.monotonic() + timeout
    while True:
        handle = _lock(path)
        if handle is not None and _is_at(handle, path):
            break
        if handle is not None:
            _let_go(handle)
        if time.monotonic() >= until:
            yield False
            return
        time.sleep(0.002)
    try:
        yield True
    finally:
        _let_go(handle)


class Sign:
    """A sign of life: a file that is locked from the moment it appears until its process is dead or takes it down."""

    def __init__(self, path: Path) -> None:
        """Puts up the sign. Raises OSError."""
        self._path = path
        beside = path.with_name(f"{path.name}.new")
        handle = _lock(beside)
        if handle is None:
            raise OSError(f"{beside} is locked by somebody else")
        try:
            os.replace(beside, path)
        except BaseException:
            _let_go(handle)
            raise
        self._handle = handle

    def is_up(self) -> bool:
        """Whether it is still where it was put."""
        return self._handle in _held and _is_at(self._handle, self._path)

    def take_down(self) -> None:
        """Lets go of the lock: from now on, its process counts as dead."""
        _let_go(self._handle)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None where there is no such file, or it cannot be told."""
    try:
        handle = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return None
    try:
        _flock(handle, shared=True)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
