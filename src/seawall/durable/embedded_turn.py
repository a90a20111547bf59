"""Whose turn it is to wait for SQLite's write lock: a courtesy between processes, that none of them waits for ever."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

AGAIN: Final = 0.001
"""Seconds between two tries."""
_HOW: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Turnstile:
    """A file that is locked by the one process that waits for SQLite's write lock, for as long as it waits.

    Who has just committed and wants to write again finds it locked by somebody who was waiting, and comes after him;
    SQLite's own waiting would let the first one go on and on. Where files cannot be locked, every turn is one's own.

    Args:
        path: the file, made when it is needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._sure = self._held = False

    def take(self, seconds: float) -> bool:
        """Waits for the turn; returns whether it came. To be given back by `give`, whether it came or not."""
        if sys.platform == "win32":
            return True
        until = time.monotonic() + seconds
        try:
            while True:
                try:
                    fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= until:
                        return False
                    time.sleep(AGAIN)
                else:
                    self._held = True
                    if self._is_there():
                        return True
        except OSError:  # no such locks here, or no right to make the file: SQLite's own waiting must do
            return True

    def give(self) -> None:
        """Lets the next one have it."""
        if sys.platform != "win32" and self._handle is not None and self._held:
            self._held = False
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _opened(self) -> int:
        if self._handle is None:
            self._handle = os.open(self._path, _HOW, 0o666)
        return self._handle

    def _is_there(self) -> bool:
        """Whether the locked file is still the one that others would open; asked once, since it stays while it is used.

        Else it was removed by who closed the database just before.
        """
        if not self._sure and self._handle is not None:
            self._sure = os.fstat(self._handle).st_nlink > 0
            if not self._sure:
                self.close()
        return self._sure

    def close(self, *, remove_unless: str | None = None) -> None:
        """Lets go of the file, and removes it, unless another file is there or somebody waits."""
        if remove_unless is not None and self._handle is not None and self.take(0.0):
            if not os.path.exists(remove_unless):
                self._path.unlink(missing_ok=True)
            self.give()
        handle, self._handle = self._handle, None
        self._sure = self._held = False
        if handle is not None:
            os.close(handle)
