"""A worker's snapshot as the commands read it: files are taken on trust in nothing but their owner."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from seawall._core.switch import SOURCES, Switch, Switches, key_of

SILENT: Final = 5.0
"""Seconds after which a worker that has written nothing counts as unknown: it writes every second."""
VERSION_LENGTH: Final = 8


class Snapshot:
    """What one worker says of itself.

    Args:
        content: its file.

    Attributes:
        pid: its process id.
        control: the revision of the control file that it acts by.
        started, written: when it began, and when it last wrote, in seconds since 1970; None: it does not say.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.pid = int(number(content.get("pid")) or 0)
        self.control = number(content.get("control")) or 0
        self.started = number(content.get("started"))
        self.written = number(content.get("written"))
        self._sections = content.get("sections")

    @property
    def age(self) -> float | None:
        """Seconds since it last wrote."""
        return None if self.written is None else max(0.0, time.time() - self.written)

    @property
    def is_fresh(self) -> bool:
        """Whether it can be believed."""
        return self.age is not None and self.age < SILENT

    def section(self, name: str) -> dict[str, Any] | None:
        """Returns a section, None where there is none."""
        found = self._sections.get(name) if isinstance(self._sections, dict) else None
        return found if isinstance(found, dict) else None

    def has_web(self) -> bool:
        """Whether it serves an application."""
        return self.section("web") is not None

    @property
    def in_flight(self) -> int | None:
        """Requests that it serves; None: it does not say."""
        found = number((self.section("web") or {}).get("in_flight"))
        return None if found is None else int(found)

    @property
    def draining(self) -> bool | None:
        """Whether it takes leave; None: it does not say."""
        found = (self.section("web") or {}).get("draining")
        return found if isinstance(found, bool) else None

    @property
    def policies(self) -> dict[str, list[str]] | None:
        """The policies in force, each with its strategies, outermost first; None: it does not say."""
        found = (self.section("policies") or {}).get("policies")
        if not isinstance(found, dict):
            return None
        return {name: [str(each) for each in listed] for name, listed in found.items() if isinstance(listed, list)}

    @property
    def problem(self) -> str | None:
        """Why the file of the policies, as it is now, is not in force; None: it is, or the worker does not say."""
        found = (self.section("policies") or {}).get("problem")
        return found if isinstance(found, str) and found else None

    @property
    def version(self) -> str | None:
        """What differs where the policies differ; None: it does not say."""
        policies = self.policies
        if policies is None:
            return None
        return hashlib.sha256(json.dumps(policies, sort_keys=True).encode()).hexdigest()[:VERSION_LENGTH]

    @property
    def switches(self) -> list[Switch]:
        """The switches that are set in it; what cannot be understood is left out."""
        listed = (self.section("switches") or {}).get("switches")
        found = (switch_of(entry) for entry in listed) if isinstance(listed, list) else ()
        return [switch for switch in found if switch is not None]

    def share(self, name: str) -> float:
        """Returns the share of calls for which what a switch is about is in force, by all that is set."""
        return share_by(self.switches, name)

    def health(self, view: str) -> dict[str, Any] | None:
        """Returns what it says of its health; None: it does not say."""
        found = self.views.get(view)
        return found if isinstance(found, dict) else None

    @property
    def views(self) -> dict[str, Any]:
        """What it says of its health, by view."""
        found = (self.section("health") or {}).get("views")
        return found if isinstance(found, dict) else {}


def share_by(switches: Sequence[Switch], name: str) -> float:
    """Returns the share of calls for which what a switch is about is in force, by some switches."""
    every = Switches()
    for source in SOURCES:
        every.replace(source, [switch for switch in switches if switch.source == source])
    pattern, policy = key_of(name)
    return every.share(pattern or "", policy or "")


def switch_of(entry: object) -> Switch | None:
    """Returns a switch as an entry tells it; None where it cannot be understood."""
    if not isinstance(entry, dict) or entry.get("source") not in SOURCES:
        return None
    share = number(entry.get("share"))
    try:
        key = key_of(str(entry.get("name")))
    except ValueError:
        return None
    if share is None:
        return None
    actor, reason = (str(entry.get(each) or "") for each in ("actor", "reason"))
    return Switch(*key, share, entry["source"], actor, reason, number(entry.get("until")))


def number(value: object) -> float | None:
    """Returns a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of 400 digits
        return None


def pids(workers: Iterable[Snapshot]) -> str:
    """Returns the process ids of some workers, for people."""
    return ", ".join(str(worker.pid) for worker in workers)


def portion(some: Sequence[Snapshot], every: Sequence[Snapshot]) -> str:
    """Returns how many of the workers something is true of, and of which where it is not all: 2/2, 1/2 (pid 7)."""
    words = f"{len(some)}/{len(every)}"
    return f"{words} (pid {pids(some)})" if 0 < len(some) < len(every) else words
