"""`seawall db`: the tables of a store, and what waits in them."""

from __future__ import annotations

from typing import Any, Final

import click

from seawall.cli.database import on_store
from seawall.cli.printing import counted, show_json, show_line, show_table
from seawall.durable.migrations import StoreStatus, status, upgrade
from seawall.durable.schema import VERSION
from seawall.durable.store import Store

OUTDATED: Final = 3
WORSE: Final = frozenset(("unknown", "stuck", "blocked"))
"""States that wait for somebody."""
GROUP_EPILOG = """\b
Example: seawall db upgrade --database postgresql://shop@db/shop

\b
Exit codes: 0 done, 1 it failed, 2 wrong usage; more with each command."""
UPGRADE_EPILOG = """\b
Example, in a deployment: seawall db upgrade --database $DATABASE_URL

\b
Exit codes: 0 the tables are up to date, 1 they cannot be made, or are of a
newer seawall, 2 wrong usage.

\b
--json prints store, from and to (versions; from 0: there were none)."""
STATUS_EPILOG = """\b
Example: seawall db status --database sqlite:///shop.db

\b
Exit codes: 0 the tables are up to date, 3 they need `seawall db upgrade`,
1 the store cannot be reached, 2 wrong usage.

\b
--json prints store, version, latest, current, and counts by state:
operations (running, unknown), messages (waiting, stuck), sagas."""


@click.group("db", epilog=GROUP_EPILOG)
def db() -> None:
    """Make the tables of a store, bring them up to date, and see what waits in them."""


@db.command("upgrade", epilog=UPGRADE_EPILOG)
@on_store(makes=True)
def upgrade_command(store: Store, as_json: bool) -> None:
    """Make the tables of a store, or bring them to the version that this seawall needs.

    All in one transaction; others that do the same wait. An SQLite file does not need it: whoever opens it does it.
    """
    had = upgrade(store)
    if as_json:
        show_json({"store": store.name, "from": had, "to": VERSION})
    else:
        before = "" if had == VERSION else f", before that {had}" if had else ", made now"
        show_line(f"{store.name}: up to date, version {VERSION}{before}")


@db.command("status", epilog=STATUS_EPILOG)
@on_store()
def status_command(store: Store, as_json: bool) -> int:
    """Show the version of a store's tables, and how much in them runs, waits, is unknown or is stuck.

    Unknown operations are settled by `seawall idempotency resolve`, stuck messages sent again by `seawall outbox
    retry`, stuck sagas by `seawall saga retry`.
    """
    found = status(store)
    if as_json:
        show_json({"store": store.name, **_facts(found)})
    else:
        _tell(store.name, found)
    return 0 if found.is_current else OUTDATED


def _facts(found: StoreStatus) -> dict[str, Any]:
    return {
        "version": found.version,
        "latest": found.latest,
        "current": found.is_current,
        "operations": dict(found.operations),
        "messages": dict(found.messages),
        "sagas": dict(found.sagas),
    }


def _tell(name: str, found: StoreStatus) -> None:
    if not found.is_current:
        have = f"tables of version {found.version}" if found.version else "no tables"
        todo = "use a newer seawall" if found.version > found.latest else "run `seawall db upgrade`"
        show_line(f"{name}: {have}, and this seawall needs version {found.latest}: {todo}", "bold yellow")
        return
    show_line(f"{name}: version {found.version}", "bold")
    rows = [
        (kind, state, count)
        for kind, states in (("operations", found.operations), ("messages", found.messages), ("sagas", found.sagas))
        for state, count in states.items()
    ]
    show_table(("what", "state", "count"), rows)
    waiting = [counted(count, f"{state} {kind[:-1]}") for kind, state, count in rows if state in WORSE and count]
    if waiting:
        show_line(f"! somebody must look: {', '.join(waiting)}", "bold yellow")
