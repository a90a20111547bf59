"""The sums of dead workers: folded in exactly once, whenever and wherever the folding process is killed.

`retired.json` names the workers that are in its sums, so that one whose file is still there is not added again. The
file is replaced as a whole, sums and names together; only then are the workers' own files removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from seawall._core.crash import point
from seawall._runtime import files
from seawall._runtime.complaints import complain
from seawall._runtime.directory import Directory
from seawall._runtime.jsontext import to_json
from seawall._runtime.snapshots import load
from seawall._runtime.sums import Sections, add_sections, checked, counters_of

_KEPT: Final = 200
"""Names of workers kept beyond the removal of their files, for those who read at that moment without the lock."""


@dataclass(slots=True)
class Retired:
    """The sums, by section, and the ids of the workers in them. `crashed`: one of them did not stop in good order."""

    sections: Sections = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)
    crashed: bool = False

    def add(self, worker: str, snapshot: dict[str, Any] | None) -> None:
        """Adds a dead worker's counters, if they are not in yet."""
        if worker not in self.folded:
            self.folded.append(worker)
            if snapshot is not None:
                add_sections(self.sections, counters_of(snapshot))
            if snapshot is None or snapshot.get("ended") is not True:
                self.crashed = True


def read(directory: Directory) -> Retired:
    """Returns the sums that are written down."""
    content = files.parse(directory.retired, files.read(directory.retired), _problem)
    if content is None:
        return Retired()
    sections = {name: checked(counters) for name, counters in content["sections"].items() if isinstance(counters, dict)}
    folded = [each for each in content["folded"] if isinstance(each, str)]
    return Retired(sections, folded, content.get("crashed") is not False)


def _problem(content: dict[str, Any]) -> str | None:
    if not isinstance(content.get("sections"), dict) or not isinstance(content.get("folded"), list):
        return "no sums of workers"
    return None


def fold(directory: Directory) -> Retired:
    """Adds the sums of workers that are dead to those written down, and removes their files.

    Called with the lock. Where the sums cannot be written (a full disk), they are returned all the same and the files
    stay for the next time.
    """
    retired = read(directory)
    dead = [worker for worker in directory.listed() if not directory.is_alive(worker)]
    if not dead:
        return retired
    new = [worker for worker in dead if worker not in retired.folded]
    for worker in new:
        retired.add(worker, load(directory, worker))
    if new:
        try:
            _write(directory, retired, dead)
        except OSError as error:
            complain(f"the sums of dead workers stay in their files for now: {error}")
            return retired
    for worker in dead:
        point("retired: folded, file still there")
        directory.forget(worker)
        point("retired: folded, file removed")
    return retired


def _write(directory: Directory, retired: Retired, still_there: Iterable[str]) -> None:
    there = set(still_there)
    older = [worker for worker in retired.folded if worker not in there][-_KEPT:]
    retired.folded = [*older, *(worker for worker in retired.folded if worker in there)]
    point("retired: not folded yet")
    facts = {"crashed": retired.crashed, "folded": retired.folded, "sections": retired.sections}
    files.replace(directory.retired, to_json(facts))
