"""`seawall switch`: patterns and policies off and on, in all workers, with the workers' own word for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import click

from seawall._core.switch import Switch
from seawall._registry import set_switches
from seawall.cli.durations import Span
from seawall.cli.printing import counted, share_words, show_json, show_line, span
from seawall.cli.service import Service, login_name, on_service
from seawall.cli.snapshots import Snapshot, pids, share_by
from seawall.cli.switch_list import left, show_switches
from seawall.cli.switch_names import Name, Share, meant
from seawall.degrade.switchboard import Switchboard

PATIENCE: Final = 5.0
"""Seconds to wait for the workers: they obey within 0.5 s and write within another."""
GROUP_EPILOG = """\b
Examples: seawall switch off retry@payments --for 30m --reason INC-42
seawall switch list

\b
Exit codes: 0 done, 1 not all workers have confirmed, or there are none, 2
wrong usage."""
EPILOG = """\b
Example: seawall switch {example}

\b
Exit codes: 0 it is in force in all workers, 1 not all have confirmed it
within 5 s, the environment of one says otherwise, or there are no workers
(those started later obey), 2 wrong usage.

\b
--json prints name, share (0 off to 1 on), until (seconds since 1970; null:
never), workers, confirmed and overruled (process ids), seconds."""


@click.group(epilog=GROUP_EPILOG)
def switch() -> None:
    """Turn patterns and policies of a service off and on, in all of its workers.

    NAME is a pattern (retry), a policy (@payments: all patterns of it), or both (retry@payments).
    """


def _who_and_why(function: Callable[..., Any]) -> Callable[..., Any]:
    lasts = click.option(
        "--for", "lasts", type=Span(least=1, never=True), default="1h", show_default=True,
        help="When it ends by itself: 90s, 30m, 2h, 1d, never.",
    )  # fmt: skip
    actor = click.option("--actor", callback=_said, help="Who does it. [default: your login name]")
    reason = click.option("--reason", required=True, callback=_said, help="Why, for the audit log and whoever asks.")
    name = click.argument("name", type=Name())
    return name(reason(actor(lasts(on_service(function)))))


def _said(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise click.BadParameter("it says nothing.", ctx, param)
    return text


@switch.command(epilog=EPILOG.format(example="off retry@payments --for 30m --reason INC-42"))
@click.option("--share", type=Share(), default="0%", show_default=True, help="Leave it on for this share of the calls.")
@_who_and_why
def off(
    service: Service, as_json: bool, name: str, share: float, actor: str | None, reason: str, lasts: float
) -> int:  # fmt: skip
    """Turn a pattern or policy off, or leave it on for a share of the calls.

    Calls in flight end as they began. It ends by itself after an hour, if nothing else is said.
    """
    with service.changing():
        board = Switchboard(service.runtime)
        made = board.set(name, share, actor=actor or login_name(), reason=reason, lasts=_finite(lasts))
    return _confirmed(service, as_json, name, share, made)


@switch.command(epilog=EPILOG.format(example="on retry@payments --reason 'INC-42 is over'"))
@_who_and_why
def on(service: Service, as_json: bool, name: str, actor: str | None, reason: str, lasts: float) -> int:
    """Turn a pattern or policy on again.

    Takes back what was set at run time. Where something wider, remote flags or code have it off, that is overruled,
    for the time of --for.
    """
    who = actor or login_name()
    set_switches("env", [])  # that of this process says nothing about the workers
    with service.changing():
        board = Switchboard(service.runtime)
        made = board.on(name, actor=who, reason=reason, lasts=_finite(lasts))
        if made is None and any(_is_off_without_us(worker, name) for worker in service.look()):
            made = board.set(name, 1.0, actor=who, reason=reason, lasts=_finite(lasts))
    return _confirmed(service, as_json, name, 1.0, made)


@switch.command(
    "list", epilog="\b\nExample: seawall switch list --json\n\n\b\nExit codes: 0 done, 1 failed, 2 wrong usage."
)
@on_service
def list_(service: Service, as_json: bool) -> None:
    """List the switches that are set, by whom, why, for how long, and in which workers."""
    show_switches(service, as_json)


def _finite(lasts: float) -> float | None:
    return None if math.isinf(lasts) else lasts


def _is_off_without_us(worker: Snapshot, name: str) -> bool:
    """Whether remote flags or code have something off, which shows when what is set at run time is taken back."""
    lasting = [each for each in worker.switches if each.source in ("remote", "code")]
    return bool(lasting) and share_by(lasting, name) < 1


def _confirmed(service: Service, as_json: bool, name: str, share: float, made: Switch | None) -> int:
    """Waits until every worker shows a switch, or no longer shows it, and tells; returns the exit code."""

    def shows(worker: Snapshot) -> bool:
        set_now = [(each.share, each.until) for each in worker.switches if _is_ours(each, name)]
        return set_now == ([] if made is None else [(made.share, made.until)])

    workers, took = service.wait(PATIENCE, lambda now: all(map(shows, now)))
    confirmed = [worker for worker in workers if shows(worker)]
    overruled = [worker for worker in confirmed if worker.share(name) != share]
    if as_json:
        show_json(
            {
                "name": name,
                "share": share,
                "until": None if made is None else made.until,
                "workers": [worker.pid for worker in workers],
                "confirmed": [worker.pid for worker in confirmed],
                "overruled": [worker.pid for worker in overruled],
                "seconds": round(took, 3),
            }
        )
    else:
        _tell(service, name, made, workers, confirmed, overruled, took)
    return 0 if workers and len(confirmed) == len(workers) and not overruled else 1


def _is_ours(switch: Switch, name: str) -> bool:
    return switch.source == "runtime" and switch.name == name


def _tell(
    service: Service,
    name: str,
    made: Switch | None,
    workers: list[Snapshot],
    confirmed: list[Snapshot],
    overruled: list[Snapshot],
    took: float,
) -> None:
    now = "on" if made is None else share_words(made.share)
    show_line(f"{name} is {now}{_until(made)}", "bold")
    if not workers:
        show_line(f"{service.nobody()} Workers that are started later obey.")
        return
    show_line(
        f"{len(confirmed)}/{len(workers)} {'worker' if len(workers) == 1 else 'workers'} confirmed in {span(took)}"
    )
    late = [worker for worker in workers if worker not in confirmed]
    if late:
        show_line(f"! not confirmed: pid {pids(late)}", "bold red")
    if overruled:
        wins = "their environment (SEAWALL_SWITCHES) says otherwise, and wins"
        show_line(f"! not in force in {counted(len(overruled), 'worker')} (pid {pids(overruled)}): {wins}", "bold red")
    policy = meant(name, workers)
    if policy is not None:
        show_line(f"! no worker tells such a policy; did you mean {policy!r}?", "yellow")


def _until(made: Switch | None) -> str:
    if made is None:
        return ""
    return " until it is changed" if made.until is None else f" for {span(left(made))}"
