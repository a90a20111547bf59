"""`seawall idempotency`: what became of an operation, and settling one of unknown outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import click

from seawall._core.errors import SeawallError
from seawall.cli.database import on_store
from seawall.cli.printing import counted, show_json, show_line, show_table, span
from seawall.cli.service import login_name
from seawall.durable.claims import ClaimRecord
from seawall.durable.claims_verbs import ListUnknown
from seawall.durable.codec import JsonCodec
from seawall.durable.errors import InProgressError
from seawall.durable.idempotency import Idempotency
from seawall.durable.idempotency_claim import NOT_DONE
from seawall.durable.store import Store

STYLES: Final = {"unknown": "bold red", "done": "green"}
GROUP_EPILOG = """\b
Examples: seawall idempotency list --database sqlite:///shop.db
seawall idempotency resolve order-7 --namespace payments --not-done \\
    --reason 'INC-42: the bank knows nothing of it'

\b
Exit codes: 0 done, 1 it failed, 2 wrong usage; more with each command."""
LIST_EPILOG = """\b
Example: seawall idempotency list --namespace payments

\b
Exit codes: 0 done, 1 the store cannot be reached or asked, 2 wrong usage.

\b
--json prints operations, each as `seawall idempotency show` prints it."""
SHOW_EPILOG = """\b
Example: seawall idempotency show order-7 --namespace payments

\b
Exit codes: 0 done, 1 there is no such operation, 2 wrong usage.

\b
--json prints namespace, key, state, epoch, owner, fingerprint, rerun (whether
it may run again), lease_left, kept, age, changed (seconds), note,
result_type, and result where that is JSON."""
RESOLVE_EPILOG = """\b
Examples: seawall idempotency resolve order-7 --namespace payments \\
    --result '{"id": "p-1"}' --reason 'seen at the bank'
seawall idempotency resolve order-8 --namespace payments --not-done \\
    --reason 'the bank knows nothing of it'

\b
Exit codes: 0 it is settled, 1 there was nothing to settle, or it is in
flight, 2 wrong usage.

\b
--json prints what `seawall idempotency show` prints, as it is afterwards."""


@click.group("idempotency", epilog=GROUP_EPILOG)
def idempotency() -> None:
    """See operations under idempotency keys, and settle those of unknown outcome."""


def _of_one(function: Callable[..., Any]) -> Callable[..., Any]:
    namespace = click.option("--namespace", required=True, help="That of the operation, such as payments.")
    return click.argument("key")(namespace(on_store()(function)))


@idempotency.command("list", epilog=LIST_EPILOG)
@click.option("--namespace", default="", help="Only of this one. [default: all]")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, the oldest.")
@on_store()
def list_command(store: Store, as_json: bool, namespace: str, limit: int) -> None:
    """List the operations of unknown outcome, the oldest first: their repeats are refused until they are settled."""
    found = store.run(ListUnknown(namespace, limit))
    if as_json:
        show_json({"operations": [_facts(each) for each in found]})
    elif not found:
        show_line("no outcome is unknown")
    else:
        rows = [(each.namespace, each.key, span(each.changed), _why(each)) for each in found]
        show_table(("namespace", "key", "for", "why"), rows)
        show_line(f"! {counted(len(found), 'operation')} to be settled by `seawall idempotency resolve`", "bold red")


@idempotency.command("show", epilog=SHOW_EPILOG)
@_of_one
def show_command(store: Store, as_json: bool, key: str, namespace: str) -> None:
    """Show an operation: its state, who holds it, its result."""
    _show(_found(_operations(store, namespace), key), as_json)


@idempotency.command("resolve", short_help="Settle an operation of unknown outcome.", epilog=RESOLVE_EPILOG)
@click.option("--result", metavar="JSON", help="It took place, and this is its result: repeats get it.")
@click.option("--not-done", is_flag=True, help="It surely did not take place, and will not: the next call executes it.")
@click.option("--reason", required=True, help="How that is known; kept with it.")
@click.option("--actor", help="Who says so. [default: your login name]")
@_of_one
def resolve_command(
    store: Store,
    as_json: bool,
    key: str,
    namespace: str,
    result: str | None,
    not_done: bool,
    reason: str,
    actor: str | None,
) -> int:
    """Settle an operation whose outcome is unknown.

    Find out first whether it took place, where it has its effect. NOT DONE is a promise: where the effect comes after
    all, it comes twice.
    """
    if not_done is (result is not None):
        raise click.UsageError("Say either --result JSON, or --not-done.")
    if not reason.strip():
        raise click.BadParameter("it says nothing.", param_hint="'--reason'")
    value = NOT_DONE if result is None else _value(result)
    operations = _operations(store, namespace)
    before = _found(operations, key)
    if value is not NOT_DONE and before.result_type not in ("", JsonCodec.name):
        raise SeawallError(
            f"the results of {namespace!r} are written by the codec {before.result_type!r} of the application; "
            "give the result there, by Idempotency.resolve()"
        )
    if not operations.resolve(key, value, note=f"{actor or login_name()}: {reason}"):
        if before.state == "running" and not before.lapsed:
            raise InProgressError(f"{namespace}: {key}", before.left)
        raise SeawallError(f"there is nothing to settle: {key!r} is {before.state}")
    _show(_found(operations, key), as_json)
    return 0


def _value(result: str) -> Any:
    try:
        return json.loads(result)
    except ValueError as error:
        raise click.BadParameter(
            f"it is no JSON: {error}; a text needs quotes of its own.", param_hint="'--result'"
        ) from error


def _operations(store: Store, namespace: str) -> Idempotency:
    try:
        return Idempotency(store, namespace)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _found(operations: Idempotency, key: str) -> ClaimRecord:
    try:
        record = operations.show(key)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if record is None:
        raise SeawallError(f"there is no operation {key!r} in {operations.namespace!r}: never begun, or forgotten")
    return record


def _state(record: ClaimRecord) -> str:
    """As the next call will see it."""
    return "unknown" if record.lapsed and not record.takeover else record.state


def _why(record: ClaimRecord) -> str:
    return record.note or ("its lease ran out before it ended" if record.lapsed else "")


def _facts(record: ClaimRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "namespace": record.namespace,
        "key": record.key,
        "state": _state(record),
        "epoch": record.epoch,
        "owner": record.owner,
        "fingerprint": record.fingerprint,
        "rerun": record.takeover,
        "lease_left": max(0.0, record.left) if record.state == "running" else None,
        "kept": record.kept if record.state in ("done", "failed") else None,
        "age": record.age,
        "changed": record.changed,
        "note": _why(record),
        "result_type": record.result_type,
    }
    if record.result is not None and record.result_type == JsonCodec.name:
        facts["result"] = json.loads(record.result)
    return facts


def _show(record: ClaimRecord, as_json: bool) -> None:
    if as_json:
        show_json(_facts(record))
        return
    state = _state(record)
    show_line(f"{record.namespace} {record.key}: {state}", STYLES.get(state, "bold"))
    rows: list[tuple[str, object]] = [("begun", f"{span(record.age)} ago"), ("changed", f"{span(record.changed)} ago")]
    if record.state == "running" and not record.lapsed:
        rows.append(("lease", f"for another {span(record.left)}"))
    if record.state in ("done", "failed"):
        rows.append(("kept", f"for another {span(record.kept)}"))
    if _why(record):
        rows.append(("note", _why(record)))
    if record.epoch > 1:
        rows.append(("holders", record.epoch))
    if record.result is not None:
        text = record.result.decode() if record.result_type == JsonCodec.name else f"{len(record.result)} bytes"
        rows.append((f"result ({record.result_type})", text))
    show_table(("what", "is"), rows)
