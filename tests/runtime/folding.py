"""Scenarios for the crash runner: `python -m tests.runtime.folding NAME DIRECTORY`."""

import sys
from pathlib import Path

from seawall._runtime.runtime import Runtime


def sweep(path: Path) -> None:
    """Folds in whoever is dead."""
    Runtime("service", path=path).sweep()


def life(path: Path) -> None:
    """A whole life of a worker: it counts to 5, tells, counts to 7, and stops."""
    count = [5]
    runtime = Runtime("service", path=path)
    runtime.contribute("m", lambda: {"counters": {"calls": {"[]": count[0]}}, "gauges": {"open": 1}})
    runtime.start()
    count[0] = 7
    runtime.write_now()
    runtime.stop()


def change(path: Path) -> None:
    """Changes the control file twice."""
    runtime = Runtime("service", path=path)
    for number in (1, 2):
        runtime.change("s", lambda old: {**old, str(number): number}, actor="ann", reason="r")  # noqa: B023


if __name__ == "__main__":
    {"sweep": sweep, "life": life, "change": change}[sys.argv[1]](Path(sys.argv[2]))
