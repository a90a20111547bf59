"""What is answered about health: views of the checks, their statuses as HTTP, and bodies with and without details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from seawall._core.errors import SeawallError
from seawall.health.check import ALL, EXTERNAL, LIVE, READY, STARTUP
from seawall.health.status import Status, worst

VIEWS: Final = (ALL, LIVE, READY, STARTUP, EXTERNAL)
"""Views that there always are, whatever is tagged."""

OK: Final = 200
UNAVAILABLE: Final = 503


class UnknownViewError(SeawallError, LookupError):
    """There is no such view, tag or check; over HTTP, a 404. Its text may be shown to everybody.

    Attributes:
        view: what was asked for.
        known: what there is.
    """

    def __init__(self, view: str, known: tuple[str, ...]) -> None:
        super().__init__(view, known)
        self.view = view
        self.known = known

    def __str__(self) -> str:
        shown = self.view if len(self.view) <= 64 else f"{self.view[:61]}..."
        return f"there is no {shown!r} in health; known are {', '.join(self.known) or 'none'}"


class Answer(NamedTuple):
    """An answer over HTTP: the status code, and the body, to be sent as JSON with `Cache-Control: no-store`."""

    status_code: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One check at one moment.

    Attributes:
        name: the check's.
        status: what is reported: after the thresholds, and `unknown` where the last result is too old.
        description: why; passwords are masked.
        duration: of the last run, in seconds.
        tags: sorted.
        data: the last run's figures, as JSON can hold them; passwords are masked.
        age: seconds since the last run ended; None before the first one.
        last_run: when it ended, in seconds since 1970; None before the first one.
        since: when the reported status began, in seconds since 1970.
        running_since: when a run that timed out and could not be stopped began, in seconds since 1970; None where there
            is none, or it has ended. As long as it runs no other one is begun.
        runs, bad_runs: how many there were, and how many of them were degraded or unhealthy.
        bad_in_a_row: how many of the last runs were.
        recovery: idle, running, waiting or gave_up; None where the check has no recovery.
    """

    name: str
    status: Status
    description: str
    duration: float
    tags: tuple[str, ...]
    data: Mapping[str, object]
    age: float | None
    last_run: float | None
    since: float
    running_since: float | None
    runs: int
    bad_runs: int
    bad_in_a_row: int
    recovery: str | None

    def body(self, details: bool) -> dict[str, Any]:
        """Returns the entry as JSON: durations in milliseconds, instants as RFC 3339 in UTC."""
        open_to_all = {
            "name": self.name,
            "status": self.status,
            "description": self.description if details else "",
            "duration": _milliseconds(self.duration),
        }
        if not details:
            return open_to_all
        recovery = {} if self.recovery is None else {"recovery": self.recovery}
        return {
            **open_to_all,
            "tags": list(self.tags),
            "data": dict(self.data),
            "age": None if self.age is None else _milliseconds(self.age),
            "lastRun": None if self.last_run is None else instant(self.last_run),
            "since": instant(self.since),
            "runningSince": None if self.running_since is None else instant(self.running_since),
            "failuresInARow": self.bad_in_a_row,
            **recovery,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A view of the checks at one moment.

    Attributes:
        view: all, live, ready, startup, external, or a tag of your own.
        status: the worst of the checks'.
        checks: those that are part of the view, in the order in which they were given.
    """

    view: str
    status: Status
    checks: tuple[Entry, ...]

    @property
    def duration(self) -> float:
        """Seconds that a run of all these checks takes: they run side by side, so the longest of the last durations."""
        return max((entry.duration for entry in self.checks), default=0.0)

    @property
    def status_code(self) -> int:
        """The status over HTTP: 503 where unhealthy, and where unknown on ready and startup; else 200."""
        doubtful = self.status == "unknown" and self.view in (READY, STARTUP)
        return UNAVAILABLE if doubtful or self.status == "unhealthy" else OK

    def body(self, *, details: bool = False) -> dict[str, Any]:
        """Returns the report as JSON. Without details it tells nothing but names, statuses and durations."""
        return {
            "status": self.status,
            "checks": [entry.body(details) for entry in self.checks],
            "totalDuration": _milliseconds(self.duration),
        }

    def answer(self, *, details: bool = False) -> Answer:
        """Returns the report as it is answered over HTTP; the status code is the same with and without details."""
        return Answer(self.status_code, self.body(details=details))


def compose(view: str, check: str | None, entries: list[Entry], running: bool) -> Report:
    """Returns the report of a view, or of one check in it, from the entries of all checks. Raises UnknownViewError.

    All but `live` are unknown where the monitor is not running, whatever is tagged; `startup` also until every check
    has run once.
    """
    known = (*VIEWS, *sorted({tag for entry in entries for tag in entry.tags} - set(VIEWS)))
    if view not in known:
        raise UnknownViewError(view, known)
    seen = tuple(entry for entry in entries if view == ALL or view in entry.tags)
    if check is not None:
        names = tuple(entry.name for entry in seen)
        seen = tuple(entry for entry in seen if entry.name == check)
        if not seen:
            raise UnknownViewError(check, names)
    statuses: list[Status] = [entry.status for entry in seen]
    if view != LIVE and not running:
        statuses.append("unknown")
    if view == STARTUP and any(entry.age is None for entry in entries):
        statuses.append("unknown")
    return Report(view, worst(statuses), seen)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def instant(seconds: float) -> str:
    """Returns seconds since 1970 as RFC 3339, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
