"""What is noticed while a lock is held, and logged after it was given back: a log handler is somebody else's code."""

from __future__ import annotations

from collections import deque
from typing import Final

from seawall._core.events import LOGGER

_MOST: Final = 1000
_said: set[str] = set()
_waiting: deque[tuple[str, BaseException | None]] = deque()


def complain(text: str, error: BaseException | None = None) -> None:
    """Takes note of a problem, to be logged by `speak`; the same one only once in this process."""
    if text not in _said and len(_said) < _MOST:
        _said.add(text)
        _waiting.append((text, error))


def mended(text: str) -> None:
    """Lets a problem that is over be logged again when it comes back."""
    _said.discard(text)


def speak() -> None:
    """Logs what was noticed. Called without any lock."""
    while _waiting:
        try:
            text, error = _waiting.popleft()
        except IndexError:  # another thread was first
            return
        LOGGER.warning("%s", text, exc_info=error)
