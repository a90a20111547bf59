"""`seawall workers`: who serves."""

from __future__ import annotations

from typing import Any

import click

from seawall.cli.printing import instant, show_json, show_line, show_table, span
from seawall.cli.service import Service, on_service
from seawall.cli.snapshots import Snapshot, portion

EPILOG = """\b
Example: seawall workers --service shop

\b
Exit codes: 0 done, 1 there are no workers, 2 wrong usage.

\b
--json prints service, path and workers, each with pid, started (seconds since
1970), age (of its snapshot, seconds), in_flight, draining, policies (their
version) and problem (why the file of the policies is not in force); null: it
does not say, or there is none."""


@click.command(epilog=EPILOG)
@on_service
def workers(service: Service, as_json: bool) -> None:
    """List the worker processes of a service.

    Of each: since when it runs, how old its snapshot is (it writes one every second), the requests that it serves,
    whether it takes leave, and a version that differs where its policies differ. A worker that could not take over the
    file of its policies is named. Dead workers are not listed.
    """
    found = service.workers()
    listed = [_facts(worker) for worker in found]
    if as_json:
        show_json({"service": service.runtime.service, "path": str(service.path), "workers": listed})
        return
    words = {True: "yes", False: "no", None: "-"}
    columns = ("pid", "since", "snapshot", "in flight", "draining", "policies")
    show_table(
        columns,
        [
            (
                each["pid"],
                instant(each["started"]),
                span(each["age"]),
                "-" if each["in_flight"] is None else each["in_flight"],
                words[each["draining"]],
                each["policies"] or "-",
            )
            for each in listed
        ],
    )
    refusing = [worker for worker in found if worker.problem]
    if refusing:
        show_line(
            f"! the file of the policies is not in force in {portion(refusing, found)} workers; "
            "`seawall policies` says why",
            "bold red",
        )


def _facts(worker: Snapshot) -> dict[str, Any]:
    return {
        "pid": worker.pid,
        "started": worker.started,
        "age": worker.age,
        "in_flight": worker.in_flight,
        "draining": worker.draining,
        "policies": worker.version,
        "problem": worker.problem,
    }
