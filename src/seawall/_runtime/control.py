"""What all workers are told: one file, changed under a lock by whoever may, and read by everyone.

It holds sections, each a JSON object of entries. An entry that is an object with a number `until` (seconds since 1970)
ends by itself at that time. Every change is written down in `audit.log` before it is made.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.crash import point
from seawall._core.events import LOGGER
from seawall._runtime import files, locks
from seawall._runtime.complaints import speak
from seawall._runtime.directory import Directory
from seawall._runtime.jsontext import to_json

Section: TypeAlias = "dict[str, Any]"
Update: TypeAlias = "Callable[[Section], Section]"

_PATIENCE: Final = 5.0
"""Seconds that a change waits for the lock."""
_AUDIT_LENGTH: Final = 1024 * 1024
"""Bytes at which the audit log becomes `audit.log.1`."""


@dataclass(frozen=True, slots=True)
class Document:
    """The control file at one moment. `revision` grows with every change."""

    revision: int = 0
    sections: dict[str, Section] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        """Returns a copy of a section as of now, without the entries that have ended; empty where it is not set."""
        now = DEFAULT_CLOCK.wall()
        entries = self.sections.get(name, {})
        return {key: copy.deepcopy(entry) for key, entry in entries.items() if not _has_ended(entry, now)}


def _has_ended(entry: object, now: float) -> bool:
    until = entry.get("until") if isinstance(entry, dict) else None
    return isinstance(until, int | float) and until <= now


class Control:
    """The control file of a directory, or, without one, what this process is told alone."""

    def __init__(self, directory: Directory | None) -> None:
        self._directory = directory
        self._seen: tuple[int, ...] | None = None
        self._document = Document()

    def look(self) -> Document:
        """Returns the document; the file is read only where it is another one than at the last look."""
        if self._directory is None or not self._directory.is_safe():
            return self._document
        seen = self._signature()
        if seen is None or seen != self._seen:
            self._seen = seen
            self._document = self.read()
        return self._document

    def _signature(self) -> tuple[int, ...] | None:
        """Returns what tells one content of the file from the next; None while that may not tell enough.

        The clock of a file system ticks in milliseconds, within which a second change can look like the first.
        """
        assert self._directory is not None
        try:
            facts = os.lstat(self._directory.control)
        except OSError:
            return (0,)
        if abs(time.time_ns() - facts.st_mtime_ns) < 1_000_000_000:
            return None
        return facts.st_mtime_ns, facts.st_ino, facts.st_size

    def read(self) -> Document:
        """Returns the document as of now; the last one that could be read, where it cannot be."""
        if self._directory is None or not self._directory.is_safe():
            return self._document
        path = self._directory.control
        if not os.path.lexists(path):
            return Document()
        content = files.parse(path, files.read(path), _problem)
        if content is None:
            return self._document
        sections = {name: section for name, section in content["sections"].items() if isinstance(section, dict)}
        return Document(content["revision"], sections)

    def change(self, name: str, update: Update, actor: str, reason: str) -> Document:
        """Replaces a section by what `update` makes of it; see `Runtime.change`."""
        while True:
            before = self.read()
            old = before.section(name)
            new = update(copy.deepcopy(old))  # asked without the lock, and again where somebody else was faster
            if not isinstance(new, dict):
                raise TypeError(f"update() returned {new!r}, which is no section; return an object such as {{}}")
            document = Document(before.revision + 1, {**before.sections, name: new})
            if self._directory is None or not self._directory.is_safe():
                self._document = document
                LOGGER.warning("there is no runtime directory: a change of %r reaches this process alone", name)
                return document
            with locks.held(self._directory.lock, _PATIENCE) as ours:
                if not ours:
                    raise TimeoutError(f"the control file could not be locked within {_PATIENCE:g} s; try again")
                settled = self.read() == before
                if settled:
                    self._write(self._directory, document, _line(document.revision, actor, name, old, new, reason))
            speak()
            if settled:
                LOGGER.warning("%s changed %r (%s): %s", actor, name, reason, to_json(new))
                return document

    def _write(self, directory: Directory, document: Document, line: str) -> None:
        """Makes the change, after it was written down. Called with the lock."""
        try:
            if os.lstat(directory.audit).st_size > _AUDIT_LENGTH:
                os.replace(directory.audit, directory.audit.with_suffix(".log.1"))
        except FileNotFoundError:
            pass
        files.append(directory.audit, line)
        point("control: written down, not made yet")
        files.replace(directory.control, to_json({"revision": document.revision, "sections": document.sections}))
        point("control: made")


def _line(revision: int, actor: str, what: str, old: Section, new: Section, reason: str) -> str:
    when = datetime.fromtimestamp(DEFAULT_CLOCK.wall(), UTC).isoformat(timespec="milliseconds")
    record = {"time": when.replace("+00:00", "Z"), "actor": actor, "what": what, "old": old, "new": new}
    return to_json({**record, "reason": reason, "revision": revision})


def _problem(content: dict[str, Any]) -> str | None:
    if not isinstance(content.get("sections"), dict):
        return "no sections"
    revision = content.get("revision")
    return None if isinstance(revision, int) and not isinstance(revision, bool) else "no revision"
