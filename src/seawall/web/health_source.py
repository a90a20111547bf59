"""What the web layer asks of whoever knows the health of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class HealthSource(Protocol):
    """Tells the health of the service: `seawall.health.Monitor` does, and so may any object with these methods."""

    def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, Mapping[str, Any]]:
        """Returns the status code and the body, to be sent as JSON, from what is known: nobody is asked.

        The status code must not depend on `details`.

        Args:
            view: `all`, `live`, `ready`, `startup`, `external`, or a tag of the checks.
            check: the name of one check; only this one is wanted.
            details: whether the caller may see error texts and figures, beside names and statuses.

        Raises a LookupError with the attribute `known`, the names that there are, for any other view or check.
        """
        ...

    async def arefresh(self, view: str) -> object:
        """Runs the checks of a view now. Called only for those who may see details; what it returns is ignored."""
        ...
