"""The names of what is alive: pipelines and named strategies, held weakly. Nothing is shared by name."""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from types import FrameType
from typing import Any, Final

from seawall._core.forks import renew_after_fork


class SeawallWarning(UserWarning):
    """Something that works and is probably not what you mean: a name used twice, or a finding of the linter."""


def check_name(name: object) -> None:
    """Raises TypeError for what is no name."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"name={name!r} is no name; use a text such as 'rates'")


def warn(text: str) -> None:
    """Warns, in the name of the first line outside seawall that led here."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "seawall":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, SeawallWarning, stacklevel=level)


class Names:
    """Listed name -> object. A second object of an equal name is listed as `name#2`, with a warning."""

    def __init__(self) -> None:
        self._listed: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._last: dict[str, int] = {}
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def register(self, name: str, thing: Any, *, chosen: bool = True) -> str:
        """Lists `thing`; returns the name under which it is listed. Warns of an equal name that somebody chose."""
        with self._lock:
            listed, number = name, 1
            if self._listed.get(name) is not None:
                number = 2
                while self._listed.get(f"{name}#{number}") is not None:
                    number = max(number + 1, self._last.get(name, 0) if number == 64 else 0)
                listed = f"{name}#{number}"
                self._last[name] = number
            else:
                self._last.pop(name, None)
            self._listed[listed] = thing
        if number > 1 and chosen:
            warn(f"the name {name!r} is in use already; this one is listed as {listed!r} and shares no state with it")
        return listed

    def hand_over(self, old: Any, new: Any) -> None:
        """Lists `new` in the place of `old`."""
        with self._lock:
            for listed in [listed for listed, thing in self._listed.items() if thing is old]:
                self._listed[listed] = new

    def forget(self, thing: Any) -> None:
        """Lists `thing` no longer; its name is free again."""
        with self._lock:
            for listed in [listed for listed, other in self._listed.items() if other is thing]:
                del self._listed[listed]

    def listed(self) -> dict[str, Any]:
        """Returns what is alive, by listed name."""
        with self._lock:
            return {name: thing for name, thing in self._listed.items()}  # noqa: C416 - dict() would trip over the dying


NAMES: Final = Names()
