"""The four statuses, their order, and how a row of results becomes the status that is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

Status: TypeAlias = Literal["healthy", "degraded", "unknown", "unhealthy"]
"""How something is. `unknown`: it never ran, or its last result is too old to be believed."""

BadStatus: TypeAlias = Literal["degraded", "unhealthy"]
"""What a failing check can mean."""

SEVERITY: Final[Mapping[str, int]] = {status: rank for rank, status in enumerate(get_args(Status))}
BAD: Final = get_args(BadStatus)


def worst(statuses: Iterable[Status]) -> Status:
    """Returns the worst of some statuses: unhealthy, then unknown, then degraded; healthy where there are none."""
    found: Status = "healthy"
    for status in statuses:
        if SEVERITY[status] > SEVERITY[found]:
            found = status
    return found


def settle(reported: Status, recent: Sequence[Status], failures: int, successes: int) -> Status:
    """Returns the status to report after some results, the latest last.

    It becomes worse when the last `failures` results were all worse, and then as bad as the mildest of them; better
    when the last `successes` were all better, and then as good as the worst of them.
    """
    now = SEVERITY[reported]
    worse = [SEVERITY[each] for each in recent[-failures:]]
    if len(worse) == failures and min(worse) > now:
        return _at(min(worse))
    better = [SEVERITY[each] for each in recent[-successes:]]
    if len(better) == successes and max(better) < now:
        return _at(max(better))
    return reported


def _at(rank: int) -> Status:
    found: Status = get_args(Status)[rank]
    return found


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found.

    Attributes:
        status: healthy, degraded, unhealthy, or unknown where it could not find out.
        description: what to tell people; shown with a token only, passwords masked.
        data: figures, as JSON; shown with a token only, passwords masked.
    """

    status: Status
    description: str = ""
    data: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        if self.status not in SEVERITY:
            known = ", ".join(map(repr, SEVERITY))
            raise ValueError(f"status={self.status!r} is unknown; use one of {known}")

    @staticmethod
    def healthy(description: str = "", data: Mapping[str, object] | None = None) -> Health:
        """All is well."""
        return Health("healthy", description, data or {})

    @staticmethod
    def degraded(description: str = "", data: Mapping[str, object] | None = None) -> Health:
        """It works, and not as it should."""
        return Health("degraded", description, data or {})

    @staticmethod
    def unhealthy(description: str = "", data: Mapping[str, object] | None = None) -> Health:
        """It does not work."""
        return Health("unhealthy", description, data or {})
