"""The end of a variant's run: what is pending is settled, for a bounded time, and the counts are taken."""

from __future__ import annotations

import asyncio
from typing import Final

from seawall.chaos.hold import Held
from seawall.chaos.measures import MEASURES
from seawall.chaos.scenario import Counts, ScenarioError
from seawall.chaos.together import either, why

FINISH: Final = 60.0
"""Seconds that a variant has to settle what is pending."""
BRIEFLY: Final = 5.0
"""The same, once the run is to be cut short."""


class Finish:
    """Lets a variant finish and returns its counts; where it cannot, those of the last look at it, with a note.

    Args:
        stop: set when the run is cut short.
        hurry: set when nothing is to be waited for any more.
        notes: where a note is added.
    """

    def __init__(self, stop: asyncio.Event, hurry: asyncio.Event, notes: list[str]) -> None:
        self._stop = stop
        self._hurry = hurry
        self._notes = notes

    async def counts(self, held: Held, look: Counts | None) -> Counts:
        """Returns the counts of a variant at its end; `look`: those of the last look at it, if there was one."""
        task = asyncio.ensure_future(held.variant.finish())
        try:
            await either(task, self._stop, FINISH)
            if self._stop.is_set():
                await either(task, self._hurry, BRIEFLY)
            reason = self._reason(task)
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=BRIEFLY)
        if reason is None:
            return _checked(held.name, task.result())
        known = "are those of the last look at it" if look else "are not known, and shown as 0"
        self._notes.append(f"{held.name} did not finish ({reason}): its own counts {known}.")
        return _checked(held.name, look or Counts(0, 0, 0, 0))

    def _reason(self, task: asyncio.Future[Counts]) -> str | None:
        if not task.done():
            return "it was not waited for" if self._hurry.is_set() else "it took too long"
        if task.cancelled():
            return "it was cancelled"
        error = task.exception()
        return None if error is None else why(error)


def _checked(name: str, counts: Counts) -> Counts:
    taken = MEASURES.intersection(counts.further)
    if taken:
        raise ScenarioError(
            f"variant {name!r} counts {', '.join(sorted(taken))} in `further`; use names of its own there"
        )
    return counts
