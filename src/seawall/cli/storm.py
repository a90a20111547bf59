"""`seawall storm`: the same requests to two ways of running a system while its dependencies fail, side by side."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from seawall._core import schemes
from seawall.chaos.progress import Watch
from seawall.chaos.report import write_report
from seawall.chaos.result import Result
from seawall.chaos.scenario import Conditions, Scenario, ScenarioError
from seawall.chaos.storm import run
from seawall.cli.signals import Signals
from seawall.cli.storm_end import show
from seawall.cli.storm_lines import Lines
from seawall.cli.storm_live import Live

EPILOG = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C and 143 by
SIGTERM, both with the result so far. A second Ctrl-C does not wait for what
is pending.

\b
--json prints an object with scenario, seconds, rate, seed, cut_short, report,
and under the name of each variant its requests, availability (0 to 1), p50,
p95, p99 (seconds), wasted_calls, retries, breaker_openings, fallbacks,
recovery_seconds (null: not seen), and the measures of the scenario."""


class Number(click.ParamType[float]):
    """A number within bounds; "nan" is none.

    Args:
        least, most: the bounds.
        above: whether `least` itself is out of them.
    """

    name = "number"

    def __init__(self, least: float, most: float, *, above: bool = False) -> None:
        self._least, self._most, self._above = least, most, above

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the number that a text stands for."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self._least <= number <= self._most or (self._above and number == self._least):
            span = f"{'above' if self._above else 'from'} {self._least:g}, up to {self._most:g}"
            self.fail(f"{value!r} is not a number {span}.", param, ctx)
        return number


def _writable(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    """Refuses now what could not be written at the end."""
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(path.parent)!r}.", ctx, param)
    if not os.access(path.parent, os.W_OK):
        raise click.BadParameter(f"the folder {str(path.parent)!r} cannot be written to.", ctx, param)
    return path


@click.command(epilog=EPILOG)
@click.argument("scenario")
@click.option("--seconds", type=Number(1, 3600), default=30, show_default=True, help="Length of the load, 1 to 3600.")
@click.option("--rate", type=Number(0, 10_000, above=True), help="Requests a second. [default: the scenario's]")
@click.option("--seed", type=int, default=1, show_default=True, help="Fixes what the scenario leaves to chance.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON, the last line of stdout.")
@click.option("--no-color", is_flag=True, help="No colours; so does the variable NO_COLOR.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("storm-report.html"),
    show_default=True,
    callback=_writable,
    help="Where the HTML report goes.",
)
@click.pass_context
def storm(
    ctx: click.Context,
    scenario: str,
    seconds: float,
    rate: float | None,
    seed: int,
    as_json: bool,
    no_color: bool,
    report: Path,
) -> None:
    """Run a system through a storm of faults, bare and protected.

    Both ways of running it get the same requests at the same moments, while the same faults strike their dependencies.
    Shows both side by side as it goes, and measures how many requests got an answer of use.

    SCENARIO is a module, such as shop.storm, that has the attribute `scenario`, or module:attribute. The current folder
    is searched too.
    """
    chosen = _scenario(scenario)
    conditions = Conditions(seconds, chosen.rate if rate is None else rate, seed)
    console = _console(to_stderr=as_json, no_color=no_color)
    with Signals() as signals:
        try:
            result = asyncio.run(_run(chosen, conditions, _watch(console), signals))
        except ScenarioError as error:
            raise click.ClickException(str(error)) from error
        written = _written(result, report)
        show(result, written, console)
        if as_json:
            click.echo(json.dumps(result.as_dict(report=written)))
    ctx.exit(signals.exit_code or (0 if written else 1))


async def _run(scenario: Scenario, conditions: Conditions, watch: Watch, signals: Signals) -> Result:
    task = asyncio.current_task()
    assert task is not None
    signals.cancel(task)
    return await run(scenario, conditions, watch)


def _scenario(reference: str) -> Scenario:
    """Returns the scenario that a reference names."""
    sys.path.insert(0, os.getcwd())
    try:
        found = schemes.load(reference)
        if isinstance(found, type) and issubclass(found, Scenario):
            found = found()
    except schemes.UnknownReferenceError as error:
        raise click.BadParameter(f"{error}.", param_hint="SCENARIO") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.relpath(last.filename)}, line {last.lineno}"
        message = f"{reference} could not be loaded: {type(error).__name__}: {error} ({where})"
        raise click.ClickException(message) from error
    if not isinstance(found, Scenario):
        raise click.BadParameter(f"{reference!r} is a {type(found).__name__}, no Scenario.", param_hint="SCENARIO")
    return found


def _console(*, to_stderr: bool, no_color: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    # A terminal is a terminal, whatever the environment says: nothing else may get control codes.
    return Console(file=stream, force_terminal=stream.isatty(), no_color=no_color or None, highlight=False)


def _watch(console: Console) -> Watch:
    drawable = console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only
    return Live(console).watch if drawable else Lines(console.file).watch


def _written(result: Result, path: Path) -> str | None:
    """Writes the report, and returns its path; None, with a message, where that was not possible."""
    try:
        write_report(result, path)
    except OSError as error:
        click.echo(f"Error: the report could not be written to {str(path)!r}: {error.strerror}", err=True)
        return None
    return str(path)
