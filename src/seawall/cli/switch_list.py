"""The switches that are set: by whom, why, for how long, and whether all workers have them."""

from __future__ import annotations

import time

from seawall._core.switch import Switch
from seawall.cli.printing import counted, share_words, show_json, show_line, show_table, span
from seawall.cli.service import Service
from seawall.cli.snapshots import Snapshot, pids, switch_of


def show_switches(service: Service, as_json: bool) -> None:
    """Prints them, those that are written down and that no worker has yet included."""
    workers = service.look()
    having: dict[Switch, list[Snapshot]] = {}
    for name, entry in service.runtime.control().get("switches", {}).items():
        found = switch_of({**entry, "name": name, "source": "runtime"}) if isinstance(entry, dict) else None
        if found is not None:
            having[found] = []
    for worker in workers:
        for each in worker.switches:
            having.setdefault(each, []).append(worker)
    agree = all(len(some) == len(workers) for some in having.values())
    if as_json:
        listed = [_facts(each, some) for each, some in having.items()]
        show_json({"agree": agree, "workers": [worker.pid for worker in workers], "switches": listed})
        return
    if not workers:
        show_line(service.nobody(), "yellow")
    if not having:
        show_line(f"no switch is set in {counted(len(workers), 'worker')}")
        return
    rows = [_row(each, some, workers) for each, some in having.items()]
    show_table(("switch", "calls", "left", "workers", "set by"), rows)
    for each, some in having.items():
        if 0 < len(some) < len(workers):
            show_line(f"! only pid {pids(some)}: {each.name} {share_words(each.share)} by {each.source}", "yellow")
    if workers and not agree:
        show_line("! workers differ; a worker follows a change within 2 s", "bold red")


def left(switch: Switch) -> float | None:
    """Returns the seconds that are left of a switch; None: it never ends."""
    return None if switch.until is None else max(0.0, switch.until - time.time())


def _facts(switch: Switch, some: list[Snapshot]) -> dict[str, object]:
    return {
        "name": switch.name,
        "share": switch.share,
        "source": switch.source,
        "actor": switch.actor,
        "reason": switch.reason,
        "until": switch.until,
        "left": left(switch),
        "workers": [worker.pid for worker in some],
    }


def _row(switch: Switch, some: list[Snapshot], workers: list[Snapshot]) -> tuple[str, ...]:
    remains = "no end" if switch.until is None else span(left(switch))
    by = switch.source if switch.actor in ("", switch.source) else f"{switch.actor} ({switch.source})"
    told = f"{by}: {switch.reason}" if switch.reason else by
    return switch.name, share_words(switch.share), remains, f"{len(some)}/{len(workers)}", told
