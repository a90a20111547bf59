"""`seawall policies`: what is in force in each worker, and where workers differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import click

from seawall.cli.printing import counted, show_json, show_line, show_table, span
from seawall.cli.service import Service, login_name, on_service
from seawall.cli.snapshots import Snapshot, pids, portion

LASTING: Final = 60.0
"""Seconds for which the order to reload stands."""
PATIENCE: Final = 3.0
"""Seconds to wait for the workers to follow it."""
EPILOG = """\b
Example: seawall policies --service shop --reload

\b
Exit codes: 0 done, 1 there are no workers, none tells its policies, or after
--reload: not all have followed within 3 s, or the file has a problem, 2 wrong
usage.

\b
--json prints agree, workers (each with pid, version, policies: lists of
strategies by name, null: it does not say, and problem: why the file as it is
now is not in force, or null) and, with --reload, reload: with followed
(process ids), seconds, and changed (process ids)."""


@click.command(epilog=EPILOG)
@click.option("--reload", is_flag=True, help="Tell all workers to reload the file of their policies first.")
@on_service
def policies(service: Service, as_json: bool, reload: bool) -> int:
    """Show the policies that each worker of a service has in force, and where workers differ.

    With --reload, all workers read their file anew first. A file with a problem changes nothing; what is wrong is
    shown, and `seawall check FILE` says it too.
    """
    workers = _with_policies(service, service.workers())
    reloaded: dict[str, Any] = {}
    if reload:
        workers, reloaded = _reload(service, {worker.pid: worker.version for worker in workers})
    late = [worker for worker in workers if reload and worker.pid not in reloaded["followed"]]
    if as_json:
        told = ("pid", "version", "policies", "problem")
        listed = [{name: getattr(each, name) for name in told} for each in workers]
        document = {"agree": _agree(workers), "workers": listed}
        show_json({**document, "reload": reloaded} if reload else document)
    else:
        _tell(workers, reloaded)
    refused = reload and any(worker.problem for worker in workers)
    return 1 if late or refused or not workers else 0


def _with_policies(service: Service, workers: list[Snapshot]) -> list[Snapshot]:
    if all(worker.policies is None for worker in workers):
        raise service.failure(
            f"none of {counted(len(workers), 'worker')} tells its policies; give them to Operations(policies=...)"
        )
    return workers


def _reload(service: Service, before: dict[int, str | None]) -> tuple[list[Snapshot], dict[str, Any]]:
    """Lets all workers reload; returns them, and how it went."""
    actor = login_name()
    key = f"{actor} {time.time()}"
    revision = service.order("reload", key, LASTING, actor=actor, reason="seawall policies --reload")
    workers, took = service.wait(PATIENCE, lambda now: all(each.control >= revision for each in now))
    followed = [worker for worker in workers if worker.control >= revision]
    changed = [worker.pid for worker in followed if worker.pid in before and worker.version != before[worker.pid]]
    return workers, {
        "followed": [worker.pid for worker in followed],
        "seconds": round(took, 3),
        "changed": changed,
    }


def _agree(workers: Sequence[Snapshot]) -> bool:
    return len({worker.version for worker in workers}) <= 1


def _tell(workers: Sequence[Snapshot], reloaded: dict[str, Any]) -> None:
    if reloaded:
        followed, took = len(reloaded["followed"]), span(reloaded["seconds"])
        show_line(f"{followed}/{len(workers)} workers followed in {took}, changed in {len(reloaded['changed'])}")
    if _agree(workers):
        show_line(f"{counted(len(workers), 'worker')}, policies {workers[0].version if workers else '-'}")
    else:
        show_line("! workers differ", "bold red")
        for version in dict.fromkeys(worker.version for worker in workers):
            having = [worker for worker in workers if worker.version == version]
            show_line(f"  {version or 'none told'}: pid {pids(having)}")
    for problem in dict.fromkeys(worker.problem for worker in workers if worker.problem):
        having = [worker for worker in workers if worker.problem == problem]
        show_line(f"! the file is not in force in {portion(having, workers)} workers:", "bold red")
        for line in problem.splitlines():
            show_line(f"  {line.strip()}")
    show_table(("policy", "strategies, outermost first", "workers"), _rows(workers))


def _rows(workers: Sequence[Snapshot]) -> list[tuple[str, str, str]]:
    """Returns each policy with each form that it has in any worker, a row for each strategy."""
    forms: dict[tuple[str, tuple[str, ...]], list[Snapshot]] = {}
    for worker in workers:
        for name, listed in (worker.policies or {}).items():
            forms.setdefault((name, tuple(listed)), []).append(worker)
    rows = []
    for (name, strategies), having in sorted(forms.items(), key=lambda form: form[0][0]):
        for number, strategy in enumerate(strategies or ("none",)):
            rows.append((name, strategy, portion(having, workers)) if number == 0 else ("", strategy, ""))
    return rows
