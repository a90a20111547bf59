"""`seawall outbox`: messages that wait or are stuck, and what to do about them."""

from __future__ import annotations

from typing import Any, Final

import click

from seawall._core.clock import DEFAULT_CLOCK
from seawall.cli.database import on_store
from seawall.cli.printing import counted, show_json, show_line, show_table, span
from seawall.cli.service import login_name
from seawall.durable.outbox import Outbox
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.store import Store

GROUP_EPILOG = """\b
Examples: seawall outbox list --stuck --database sqlite:///shop.db
seawall outbox retry --stuck

\b
Exit codes: 0 done, 1 it failed, 2 wrong usage; more with each command."""
LIST_EPILOG = """\b
Example: seawall outbox list --stuck --json

\b
Exit codes: 0 done, 1 the store cannot be reached, 2 wrong usage.

\b
--json prints messages, each with message_id, destination, ordering_key,
state (waiting, stuck), attempts, error, created_at, available_at, stuck_at
(seconds since 1970), headers, size (bytes), and body (null: it is no text)."""
RETRY_EPILOG = """\b
Examples: seawall outbox retry 01977420-dc00-7250-ba36-575f654aa078
seawall outbox retry --stuck

\b
Exit codes: 0 done, 1 a message is not there any more (sent or dropped), or
the store cannot be reached, 2 wrong usage.

\b
--json prints retried (how many) and missing (ids)."""
DROP_EPILOG = """\b
Example: seawall outbox drop 01977420-dc00-7250-ba36-575f654aa078 \\
    --note 'the customer was told by phone'

\b
Exit codes: 0 done, 1 a message is not there any more (sent or dropped), or
the store cannot be reached, 2 wrong usage.

\b
--json prints dropped and missing (ids)."""
STUCK_STYLE: Final = "bold red"


@click.group("outbox", epilog=GROUP_EPILOG)
def outbox() -> None:
    """See messages that wait to be sent, and decide about those that are stuck."""


@outbox.command("list", epilog=LIST_EPILOG)
@click.option("--stuck", is_flag=True, help="Only those that failed too often.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many of each.")
@on_store()
def list_command(store: Store, as_json: bool, stuck: bool, limit: int) -> None:
    """List the messages that are stuck, and those that wait, those that did so for longest first."""
    box = Outbox(store)
    found = box.stuck(limit) + ([] if stuck else box.waiting(limit))
    if as_json:
        show_json({"messages": [_facts(message) for message in found]})
        return
    if not found:
        show_line("no message is stuck" if stuck else "no message waits")
        return
    show_table(("message", "to", "key", "age", "attempts", "next", "last error"), [_row(message) for message in found])
    number = sum(message.stuck_at is not None for message in found)
    if number:
        show_line(f"! {counted(number, 'message')} stuck: somebody must look", STUCK_STYLE)


@outbox.command("retry", short_help="Send messages at once, stuck or not.", epilog=RETRY_EPILOG)
@click.argument("message_ids", nargs=-1, metavar="[MESSAGE_ID]...")
@click.option("--stuck", is_flag=True, help="All that are stuck.")
@on_store()
def retry_command(store: Store, as_json: bool, message_ids: tuple[str, ...], stuck: bool) -> int:
    """Let messages be sent at once, with all attempts before them. Those behind them follow in order."""
    if bool(message_ids) == stuck:
        raise click.UsageError("Say which: ids of messages, or --stuck for all that are.")
    box = Outbox(store)
    done = [] if stuck else box.retry(*message_ids)
    count = box.retry_stuck() if stuck else len(done)
    missing = [each for each in message_ids if each not in done]
    if as_json:
        show_json({"retried": count, "missing": missing})
    else:
        show_line(f"{counted(count, 'message')} will be sent now")
    return _missing(missing, as_json)


@outbox.command("drop", short_help="Give messages up, unsent.", epilog=DROP_EPILOG)
@click.argument("message_ids", nargs=-1, required=True, metavar="MESSAGE_ID...")
@click.option("--note", required=True, help="Why, and what was done instead; kept with the message for a week.")
@click.option("--actor", help="Who says so. [default: your login name]")
@on_store()
def drop_command(store: Store, as_json: bool, message_ids: tuple[str, ...], note: str, actor: str | None) -> int:
    """Give messages up, unsent, so that those behind them can leave. One that is just being sent may arrive still."""
    if not note.strip():
        raise click.BadParameter("it says nothing.", param_hint="--note")
    box, said = Outbox(store), f"{actor or login_name()}: {note.strip()}"
    dropped = [each for each in message_ids if box.drop(each, said)]
    missing = [each for each in message_ids if each not in dropped]
    if as_json:
        show_json({"dropped": dropped, "missing": missing})
    else:
        show_line(f"{counted(len(dropped), 'message')} dropped")
    return _missing(missing, as_json)


def _missing(missing: list[str], as_json: bool) -> int:
    if missing and not as_json:
        show_line(f"! not there any more, sent or dropped: {', '.join(missing)}", STUCK_STYLE)
    return 1 if missing else 0


def _row(message: OutboxMessage) -> tuple[object, ...]:
    now = DEFAULT_CLOCK.wall()
    left = message.available_at - now
    due = "stuck" if message.stuck_at is not None else f"in {span(left)}" if left > 0 else "now"
    age = span(max(0.0, now - message.created_at))
    key = "-" if message.ordering_key is None else message.ordering_key
    return message.message_id, message.destination, key, age, message.attempts, due, message.error or "-"


def _facts(message: OutboxMessage) -> dict[str, Any]:
    return {
        "message_id": message.message_id,
        "destination": message.destination,
        "ordering_key": message.ordering_key,
        "state": "waiting" if message.stuck_at is None else "stuck",
        "attempts": message.attempts,
        "error": message.error,
        "created_at": message.created_at,
        "available_at": message.available_at,
        "stuck_at": message.stuck_at,
        "headers": dict(message.headers),
        "size": len(message.body),
        "body": _text(message.body),
    }


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
