"""`seawall drain`: all workers take leave, and whoever asked waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from seawall.cli.durations import Span
from seawall.cli.printing import counted, show_json, show_line, span
from seawall.cli.service import Service, login_name, on_service
from seawall.cli.snapshots import Snapshot, pids

LASTING: Final = 120.0
"""Seconds for which workers that are started later obey too."""
EPILOG = """\b
Example, as the preStop hook of a container: seawall drain --wait 20s

\b
Exit codes: 0 nothing is in flight any more, 1 requests are left, or a worker
does not say that it drains, or there are no workers, 2 wrong usage.

\b
--json prints drained, seconds and workers, each with pid, in_flight and
draining."""


@click.command(epilog=EPILOG)
@click.option(
    "--wait", type=Span(least=0), default="30s", show_default=True, help="The longest to wait, such as 30 or 2m."
)
@on_service
def drain(service: Service, as_json: bool, wait: float) -> int:
    """Tell all workers of a service to take no new requests, and wait for the ones in flight.

    From then on `ready` is unhealthy, so that a load balancer sends nobody any more; requests are served to their end.
    Waits until every worker says that it drains, and then until none has a request in flight.
    """
    service.workers()
    actor = login_name()
    revision = service.order("drain", actor, LASTING, actor=actor, reason="seawall drain")
    workers, took = service.wait(wait, lambda now: not _left(now, revision))
    left = _left(workers, revision)
    if as_json:
        show_json({"drained": not left, "seconds": round(took, 3), "workers": [_facts(each) for each in workers]})
    else:
        _tell(workers, left, took)
    return 1 if left else 0


def _left(workers: Sequence[Snapshot], revision: int) -> list[Snapshot]:
    """Returns the workers that are not done; one that serves no application is when it has seen the order."""
    return [
        worker
        for worker in workers
        if (worker.draining is not True or worker.in_flight != 0)
        and (worker.has_web() or worker.control < revision)
    ]  # fmt: skip


def _facts(worker: Snapshot) -> dict[str, Any]:
    return {"pid": worker.pid, "in_flight": worker.in_flight, "draining": worker.draining}


def _tell(workers: Sequence[Snapshot], left: Sequence[Snapshot], took: float) -> None:
    if not left:
        show_line(f"{counted(len(workers), 'worker')} drained in {span(took)}")
        return
    silent = [worker for worker in left if not worker.draining]
    requests = sum(worker.in_flight or 0 for worker in left)
    show_line(f"after {span(took)}, {counted(requests, 'request')} left in flight (pid {pids(left)})", "bold red")
    if silent:
        show_line(f"{counted(len(silent), 'worker')} did not say that it drains: pid {pids(silent)}")
