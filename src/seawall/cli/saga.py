"""`seawall saga`: what became of sagas, and what to do about those that cannot go on by themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final, get_args

import click

from seawall._core.clock import DEFAULT_CLOCK
from seawall.cli.database import on_store
from seawall.cli.printing import counted, instant, show_json, show_line, show_table, span
from seawall.cli.service import login_name
from seawall.durable.outbox_message import LONGEST_NAME
from seawall.durable.saga_desk import SagaDesk
from seawall.durable.saga_report import SagaReport, SagaState, StepReport
from seawall.durable.store import Store

STYLES: Final = {"stuck": "bold red", "blocked": "bold yellow"}
GROUP_EPILOG = """\b
Examples: seawall saga list --state stuck --database sqlite:///shop.db
seawall saga skip order-7 charge --note 'refunded by hand'

\b
Exit codes: 0 done, 1 it failed, 2 wrong usage; more with each command."""
LIST_EPILOG = """\b
Example: seawall saga list --state stuck --json

\b
Exit codes: 0 done, 1 the store cannot be reached, 2 wrong usage.

\b
--json prints sagas, each with saga_id, name, version, state, held, wake_at,
deadline, error, blocked, note, created_at, updated_at, ended_at (seconds
since 1970) and data."""
SHOW_EPILOG = """\b
Example: seawall saga show order-7

\b
Exit codes: 0 done, 1 there is no such saga, 2 wrong usage.

\b
--json prints what `list` prints of a saga, and its steps, each with name,
state, key, attempts, undo_attempts, result, error, note, late, wake_at,
started_at, undo_at, ended_at."""
EPILOG = """\b
Example: seawall saga {example}

\b
Exit codes: 0 it is written down, 1 it makes no sense for this saga as it is
now, or there is none, 2 wrong usage.

\b
--json prints what `seawall saga show` prints, as it is afterwards."""


@click.group("saga", epilog=GROUP_EPILOG)
def saga() -> None:
    """See sagas, and decide about those that are stuck. No definitions are needed for that."""


def _named(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is not None and (not text.strip() or len(text) > LONGEST_NAME):
        raise click.BadParameter(f"use 1 to {LONGEST_NAME} characters.", ctx, param)
    return text


_SAGA: Final = click.argument("saga_id", metavar="SAGA", callback=_named)


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    actor = click.option("--actor", callback=_named, help="Who says so. [default: your login name]")
    note = click.option("--note", required=True, callback=_named, help="Why, and what was done; kept with it.")
    return note(actor(function))


@saga.command("list", epilog=LIST_EPILOG)
@click.option("--state", type=click.Choice(get_args(SagaState)), help="Only those in this state.")
@click.option("--name", callback=_named, help="Only those of this type.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many, the youngest.")
@on_store()
def list_command(store: Store, as_json: bool, state: SagaState | None, name: str | None, limit: int) -> None:
    """List sagas, the youngest first."""
    found = SagaDesk(store).list(state=state, name=name, limit=limit)
    if as_json:
        show_json({"sagas": [_facts(each, steps=False) for each in found]})
        return
    if not found:
        show_line("there are no such sagas" if state or name else "there are no sagas")
        return
    rows = [(each.saga_id, each.name, each.state, _age(each), _waits(each), _why(each)) for each in found]
    show_table(("saga", "name", "state", "age", "next", "why"), rows)
    for word in ("stuck", "blocked"):
        number = sum(each.state == word for each in found)
        if number:
            show_line(f"! {counted(number, 'saga')} {word}: somebody must look", STYLES[word])


@saga.command("show", short_help="Show a saga and its steps.", epilog=SHOW_EPILOG)
@_SAGA
@on_store()
def show_command(store: Store, as_json: bool, saga_id: str) -> None:
    """Show a saga and the steps that it has begun, with their results, errors and keys."""
    _show(SagaDesk(store), saga_id, as_json)


@saga.command(
    "retry", short_help="Try again at once what waits or was given up.", epilog=EPILOG.format(example="retry order-7")
)
@_SAGA
@on_store()
def retry_command(store: Store, as_json: bool, saga_id: str) -> None:
    """Try again at once whatever waits or was given up, with all its time before it.

    A stuck saga goes on with its undoing; a command that is not answered is sent again.
    """
    desk = SagaDesk(store)
    desk.retry(saga_id)
    _show(desk, saga_id, as_json)


@saga.command(
    "skip",
    short_help="Pass over a step that was seen to otherwise.",
    epilog=EPILOG.format(example="skip order-7 charge --note 'refunded by hand'"),
)
@_SAGA
@click.argument("step", callback=_named)
@_noted
@on_store()
def skip_command(store: Store, as_json: bool, saga_id: str, step: str, note: str, actor: str | None) -> None:
    """Pass over the undoing of a step, or a retriable step that does not succeed: it was seen to otherwise."""
    desk = SagaDesk(store)
    desk.skip(saga_id, step, _by(actor, note))
    _show(desk, saga_id, as_json)


@saga.command(
    "resolve",
    short_help="End a saga that was put in order by hand.",
    epilog=EPILOG.format(example="resolve order-7 --note 'all refunded by hand'"),
)
@_SAGA
@_noted
@on_store()
def resolve_command(store: Store, as_json: bool, saga_id: str, note: str, actor: str | None) -> None:
    """End a saga as it is: everything was put in order by hand. A worker that has it loses it."""
    desk = SagaDesk(store)
    desk.resolve(saga_id, _by(actor, note))
    _show(desk, saga_id, as_json)


def _by(actor: str | None, note: str) -> str:
    return f"{actor or login_name()}: {note.strip()}"[:LONGEST_NAME]


def _show(desk: SagaDesk, saga_id: str, as_json: bool) -> None:
    found = desk.show(saga_id)
    if as_json:
        show_json(_facts(found, steps=True))
        return
    show_line(
        f"saga {found.saga_id}, {found.name} version {found.version}: {found.state}", STYLES.get(found.state, "bold")
    )
    rows = [
        ("started", instant(found.created_at)),
        ("ended" if found.ended else "next", instant(found.ended_at) if found.ended else _waits(found)),
        ("deadline", instant(found.deadline)),
        ("why", _why(found)),
        ("data", str(_plain(found.data))),
    ]
    for word, text in rows:
        if text not in ("", "-"):
            show_line(f"  {word:<9}{text}")
    if found.steps:
        show_table(("step", "state", "attempts", "undoings", "what came of it"), [_row(step) for step in found.steps])


def _row(step: StepReport) -> tuple[object, ...]:
    said = [f"late reply: {_plain(step.late)}"] if step.late is not None else []
    if step.note:
        said.insert(0, step.note)
    if step.error and step.state not in ("done", "undone"):
        said.insert(0, step.error)
    if step.state == "done":
        said.insert(0, str(_plain(step.result)))
    return step.name, step.state, step.attempts, step.undo_attempts, "; ".join(said)


def _waits(found: SagaReport) -> str:
    if found.ended or found.state == "stuck":
        return "-"
    if found.held:
        return "running"
    if found.wake_at is None:
        return "a reply"
    left = found.wake_at - DEFAULT_CLOCK.wall()
    return f"in {span(left)}" if left > 0 else "now"


def _why(found: SagaReport) -> str:
    return "; ".join(text for text in (found.blocked, found.note, found.error) if text)


def _age(found: SagaReport) -> str:
    return span(DEFAULT_CLOCK.wall() - found.created_at)


def _facts(found: SagaReport, *, steps: bool) -> dict[str, Any]:
    facts: dict[str, Any] = _plain(dataclasses.asdict(found))
    if not steps:
        del facts["steps"]
    return facts


def _plain(value: Any) -> Any:
    """Returns a value in terms of JSON; what it has no word for, a decimal say, as text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)
