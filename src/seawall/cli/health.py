"""`seawall health`: how the service is, in an exit code that a container's HEALTHCHECK understands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import click

from seawall.cli.health_url import UnreachableError, ask, checked_url
from seawall.cli.printing import STYLES, show_json, show_line, show_table, span
from seawall.cli.service import Service, on_service
from seawall.cli.snapshots import Snapshot, portion
from seawall.health.status import SEVERITY, Status, worst

CODES: Final = {"healthy": 0, "degraded": 0, "unhealthy": 3, "unknown": 4}
EPILOG = """\b
Examples: seawall health --service shop
HEALTHCHECK CMD seawall health --url http://127.0.0.1:8000/health/live

\b
Exit codes: 0 healthy or degraded, 3 unhealthy, 4 unknown, 1 unreachable, or
there are no workers or none that tells its health, 2 wrong usage.

\b
--json prints status and checks (each with name and status); of snapshots also
view and workers (each with pid, status and age, in seconds, and checks), of a
URL also url and code (HTTP's)."""


@click.command(epilog=EPILOG)
@click.option("--view", help="all, live, ready, startup or external. [default: ready]")
@click.option("--url", callback=checked_url, help="Ask this address of a view (GET, 5 s at most) instead.")
@on_service
def health(service: Service, as_json: bool, view: str | None, url: str | None) -> int:
    """Tell how a service is: healthy, degraded, unhealthy or unknown.

    By its workers' snapshots, and then as the worst worker is; a worker that has written none for 5 s is unknown, and
    one that drains is not ready. Or by what a URL answers, without a proxy.
    """
    if url is None:
        return _by_workers(service, view or "ready", as_json)
    if view is not None:
        raise click.UsageError("--view does not go with --url: the address says which view it is.")
    try:
        code, body = ask(url)
    except UnreachableError as error:
        raise service.failure(str(error)) from error
    document = {"status": body["status"], "url": url, "code": code, "checks": _checks(body)}
    if as_json:
        show_json(document)
    else:
        show_line(f"{url}: {body['status']}", STYLES[body["status"]])
        if document["checks"]:
            show_table(("check", "status"), [(each["name"], each["status"]) for each in _checks(body)])
    return CODES[body["status"]]


def _by_workers(service: Service, view: str, as_json: bool) -> int:
    workers = service.workers()
    known = list(dict.fromkeys(name for worker in workers for name in worker.views))
    if not known:
        raise service.failure("no worker tells its health; give a monitor to Operations(health=...)")
    if view not in known:
        raise click.BadParameter(f"{view!r} is none of {', '.join(known)}.", param_hint="'--view'")
    statuses: list[Status] = [_status(worker, view) for worker in workers]
    overall = worst(statuses)
    if as_json:
        listed = [
            {"pid": each.pid, "status": status, "age": each.age, "checks": _checks(each.health(view))}
            for each, status in zip(workers, statuses, strict=True)
        ]
        checks = [{"name": name, "status": status} for name, status, _ in _summary(workers, view)]
        show_json({"status": overall, "view": view, "checks": checks, "workers": listed})
    else:
        _tell(view, overall, workers, statuses)
    return CODES[overall]


def _status(worker: Snapshot, view: str) -> Status:
    """Returns how a worker is, as its own address of the view would say."""
    body = worker.health(view)
    if not worker.is_fresh or body is None:
        return "unknown"
    if view == "ready" and worker.draining:
        return "unhealthy"
    return _known(body.get("status"))


def _known(status: object) -> Status:
    return cast(Status, status) if isinstance(status, str) and status in SEVERITY else "unknown"


def _checks(body: dict[str, Any] | None) -> list[dict[str, str]]:
    listed = (body or {}).get("checks")
    return [
        {"name": str(each.get("name")), "status": _known(each.get("status"))}
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]


def _summary(workers: Sequence[Snapshot], view: str) -> list[tuple[str, Status, list[Snapshot]]]:
    """Returns each check, its worst status in any worker, and in which workers it is that."""
    found: dict[str, dict[Status, list[Snapshot]]] = {}
    for worker in workers:
        for each in _checks(worker.health(view)):
            status = _known(each["status"]) if worker.is_fresh else "unknown"
            found.setdefault(each["name"], {}).setdefault(status, []).append(worker)
    return [(name, worst(by_status), by_status[worst(by_status)]) for name, by_status in found.items()]


def _tell(view: str, overall: Status, workers: Sequence[Snapshot], statuses: Sequence[Status]) -> None:
    those = [worker for worker, status in zip(workers, statuses, strict=True) if status == overall]
    show_line(f"{view}: {overall} in {portion(those, workers)} workers", STYLES[overall])
    rows = [(name, status, portion(having, workers)) for name, status, having in _summary(workers, view)]
    if rows:
        show_table(("check", "status", "workers"), rows)
    for worker in workers:
        if not worker.is_fresh:
            show_line(f"! pid {worker.pid} has said nothing for {span(worker.age)}")
        elif worker.health(view) is None:
            show_line(f"! pid {worker.pid} does not tell its health")
        elif view == "ready" and worker.draining:
            show_line(f"! pid {worker.pid} drains")
