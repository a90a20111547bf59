"""A worker of a service: `python -m tests.cli.worker FOLDER`, until it is killed.

It runs `Operations` with the policies of FOLDER/policies.toml. FOLDER/health says how its one check is, and
FOLDER/in_flight how many requests it serves. A second argument names a switch that it has off in code.
"""

import sys
import threading
from pathlib import Path

from seawall._config.policies import Policies
from seawall._runtime import runtime
from seawall.health.report import Answer, Entry, Report
from seawall.health.status import Status
from seawall.web.operations import Operations

FOLDER = Path(sys.argv[1])


class Application:
    """What is operated; it serves as many requests as the file says."""

    draining = False

    @property
    def in_flight(self) -> int:
        """Requests, by the file."""
        return int((FOLDER / "in_flight").read_text())

    def drain(self) -> None:
        """Takes leave."""
        self.draining = True


class Monitor:
    """A monitor whose one check, of the database, is as the file says."""

    def report(self, view: str) -> Report:
        """Returns a view."""
        status: Status = (FOLDER / "health").read_text()  # type: ignore[assignment]
        facts = {"description": "", "duration": 0.0, "tags": ("ready",), "data": {}, "age": 0.0, "last_run": 0.0}
        times = {"since": 0.0, "running_since": None, "runs": 1, "bad_runs": 0, "bad_in_a_row": 0, "recovery": None}
        entry = Entry("database", status, **facts, **times)  # type: ignore[arg-type]
        return Report(view, "healthy", ()) if view == "live" else Report(view, status, (entry,))

    def answer(self, view: str) -> Answer:
        """Returns a view as it is answered over HTTP."""
        return self.report(view).answer()


if __name__ == "__main__":
    runtime.PERIOD, runtime.WATCH = 0.1, 0.05  # type: ignore[misc]  # so that tests need not wait for a second each
    operations = Operations("shop", policies=Policies(FOLDER / "policies.toml"), health=Monitor(), path=FOLDER / "run")
    operations.serve(Application())
    if len(sys.argv) > 2:
        operations.switches.default(sys.argv[2], 0.0, reason="not yet")
    operations.start()
    print("ready", flush=True)
    threading.Event().wait()
