"""`seawall check`: a file of policies, before it is put in force anywhere."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from seawall._config.policies import Policies
from seawall._config.problems import PolicyError, Problem
from seawall._config.source import PREFIX
from seawall._core.names import SeawallWarning
from seawall._core.strategy import show
from seawall._pipeline.explain import Explanation
from seawall.cli.printing import counted, show_json, show_line, show_table

EPILOG = """\b
Example, in a pipeline that deploys: seawall check --strict policies.toml

\b
Exit codes: 0 the file can be used, 1 it cannot, and everything that is wrong
is listed, or --strict and there are findings, 2 wrong usage.

\b
--json prints file, ok, problems (each with file, key, value and reason) and
policies: by name their strategies (strategy, name, settings), worst_attempts,
worst_seconds (null: without bound) and findings (rule, advice)."""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--strict", is_flag=True, help="Take the linter's findings for problems.")
@click.option("--no-env", is_flag=True, help=f"Leave the variables {PREFIX}... out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, to stdout.")
@click.pass_context
def check(ctx: click.Context, file: Path, strict: bool, no_env: bool, as_json: bool) -> None:
    """Check a file of policies: what they do at worst, and what in them is probably not meant.

    Shows each policy's strategies, the most attempts and seconds that a call can take, and the findings of the linter.
    The file's [names] are imported, also from the current folder: trust the file as you trust code.
    """
    explained, problems = _read(file, {} if no_env else os.environ)
    findings = sum(len(each.findings) for each in explained)
    ok = not problems and not (strict and findings)
    if as_json:
        show_json(
            {
                "file": str(file),
                "ok": ok,
                "problems": [_problem(each) for each in problems],
                "policies": {each.name: _policy(each) for each in explained},
            }
        )
    else:
        _tell(file, explained, problems, findings)
    ctx.exit(0 if ok else 1)


def _read(file: Path, environ: Mapping[str, str]) -> tuple[list[Explanation], list[Problem]]:
    """Returns what there is to say of the policies, or what is wrong with them."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # modules that are imported may print
        warnings.simplefilter("ignore", SeawallWarning)  # of what is found, too, and that is shown anyway
        try:
            return Policies(file, environ=environ).explain(), []
        except PolicyError as error:
            problems = list(error.problems)
            if all(problem.source.startswith(PREFIX) for problem in problems):
                problems += _read(file, {})[1]  # with a wrong variable, the file was not looked at yet
            return [], problems
        except SystemExit as error:
            reason = f"a module of it ended the program with {error.code!r} when it was imported"
            return [], [Problem(str(file), "names", "...", reason)]


def _problem(problem: Problem) -> dict[str, str]:
    return {"file": problem.source, "key": problem.key, "value": problem.value, "reason": problem.reason}


def _policy(explained: Explanation) -> dict[str, Any]:
    return {
        "strategies": [
            {**dict(zip(("strategy", "name"), _named(name), strict=True)), "settings": _settings(settings)}
            for name, settings in explained.strategies
        ],
        "worst_attempts": explained.worst_attempts,
        "worst_seconds": explained.worst_duration,
        "findings": [{"rule": each.rule, "advice": each.advice} for each in explained.findings],
    }


def _named(name: str) -> tuple[str, str]:
    """Takes the name of an explanation apart: Retry 'rates.retry'."""
    kind, _, quoted = name.partition(" ")
    return kind, quoted[1:-1]


def _settings(settings: Mapping[str, object]) -> dict[str, Any]:
    return {
        key: value if value is None or isinstance(value, bool | int | float | str) else show(value)
        for key, value in settings.items()
    }


def _tell(file: Path, explained: Sequence[Explanation], problems: Sequence[Problem], findings: int) -> None:
    if problems:
        show_line(f"{file}: {counted(len(problems), 'problem')}", "bold red")
        for problem in problems:
            show_line(f"  {problem.source}: {problem.key} = {problem.value}")
            show_line(f"    {problem.reason}")
        return
    number = "1 policy" if len(explained) == 1 else f"{len(explained)} policies"
    show_line(f"{file}: {number} can be used, {counted(findings, 'finding')}", "bold")
    show_table(("policy", "strategies, outermost first"), _rows(explained))
    show_line("At worst is what one async call can take, without its fallback.", "dim")
    for each in explained:
        for finding in each.findings:
            show_line(f"! {each.name}: {finding}", "yellow")


def _rows(explained: Sequence[Explanation]) -> list[tuple[str, str]]:
    rows = []
    for policy in explained:
        attempts = counted(policy.worst_attempts, "attempt")
        words = [_strategy(name, settings) for name, settings in policy.strategies]
        words.append(f"at worst: {attempts}, {_seconds(policy.worst_duration)}")
        rows += [("" if number else policy.name, word) for number, word in enumerate(words)]
    return rows


def _strategy(name: str, settings: Mapping[str, object]) -> str:
    told = ", ".join(f"{key}={show(value)}" for key, value in settings.items() if value is not None)
    return f"{_named(name)[0]}({told})"


def _seconds(seconds: float) -> str:
    return "without bound" if math.isinf(seconds) else f"{seconds:g} s"
