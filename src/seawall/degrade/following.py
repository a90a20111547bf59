"""What remote flags say, kept in mind: what they said last, and which change of it is still to be written down."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final, Protocol

from seawall._core import arguments
from seawall._core.events import LOGGER
from seawall._core.switch import key_of

FLAGS: Final = "flags"
"""The section of the control file in which it is noted what flags said last. Nobody acts by it."""
_NEVER: Final = -1.0


class Notes(Protocol):
    """What is asked of the workers of a service: where changes are written down for all of them."""

    def change(self, section: str, update: Any, *, actor: str, reason: str) -> dict[str, Any]:
        """Changes a section of the control file, and writes the change to the audit log."""
        ...


class _NothingNewError(Exception):
    """Another worker has noted the same already."""


class Following:
    """Remote flags as one process hears of them.

    Each process asks for itself, and the first one that hears of a change notes it for all, so that the audit log has
    it once. A process that starts while flags cannot be had begins with what was noted last.

    Args:
        workers: the workers of the service; None: this process alone, where nothing is noted.
    """

    def __init__(self, workers: Notes | None) -> None:
        self._workers = workers
        self._known: dict[str, float] = {}  # what any worker has heard last
        self._said: dict[str, float] | None = None  # what was heard here; None: nothing yet
        self._unnoted: dict[str, float | None] = {}
        self._complained = False
        self.after_fork()

    def after_fork(self) -> None:
        """Makes the lock anew: somebody may have held it."""
        self._lock = threading.Lock()

    def remember(self, entries: dict[str, Any]) -> None:
        """Takes note of what any worker has heard last."""
        shares = {name: _share_in(entry) for name, entry in entries.items()}
        with self._lock:
            self._known = {name: share for name, share in shares.items() if share is not None}

    def heard(self, flags: Iterable[tuple[str, float | None]]) -> dict[str, float]:
        """Returns what flags say now, by the names of switches: for what could not be had, what they said last."""
        heard = [(_named(name), None if share is None else _checked(share)) for name, share in flags]
        with self._lock:
            before = self._known if self._said is None else self._said
            last = {**self._known, **before}
            known = ((name, last.get(name) if share is None else share) for name, share in heard)
            self._said = said = {name: share for name, share in known if share is not None}
            for name in {*before, *said}:
                if before.get(name) != said.get(name):
                    self._unnoted[name] = said.get(name)
                    self._known.pop(name, None)
        return dict(said)

    def note(self, actor: str, reason: str) -> None:
        """Writes down what has changed, unless another worker has done so. What fails is tried again the next time."""
        with self._lock:
            changed = dict(self._unnoted)
        if self._workers is None or not changed:
            return
        try:
            self._workers.change(FLAGS, lambda entries: _with(entries, changed, actor), actor=actor, reason=reason)
        except _NothingNewError:
            pass
        except OSError as error:  # a TimeoutError is one too
            if not self._complained:
                LOGGER.warning("what remote flags say is in force, and cannot be written to the audit log: %s", error)
            self._complained = True
            return
        self._complained = False
        with self._lock:
            for name in [name for name, share in changed.items() if self._unnoted.get(name, _NEVER) == share]:
                del self._unnoted[name]


def _with(entries: dict[str, Any], changed: dict[str, float | None], actor: str) -> dict[str, Any]:
    """Returns what is noted, brought up to date. Raises _NothingNewError where it is so already."""
    new = dict(entries)
    for name, share in changed.items():
        if share is None:
            new.pop(name, None)
        elif _share_in(entries.get(name)) != share:
            new[name] = {"share": share, "actor": actor}
    if new == entries:
        raise _NothingNewError
    return new


def _named(name: str) -> str:
    key_of(name)
    return name


def _checked(share: float) -> float:
    return arguments.number("share", share, least=0, most=1)


def _share_in(entry: object) -> float | None:
    share = entry.get("share") if isinstance(entry, dict) else None
    fits = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1
    return float(share) if fits else None  # type: ignore[arg-type]  # it is a number then
