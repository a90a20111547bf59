"""The command line of the demo: its options, its first words, its exit code."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich.console import Console

from examples.demo.report import Report, show
from examples.demo.run import demonstrate

DESCRIPTION = """\
Starts a small HTTP server that breaks on purpose, by a script: errors, stalls,
resets, an outage, recovery. Sends it the same requests twice, at the same
moments: once bare, once through a seawall pipeline. Shows both side by side
while it runs, and a table at the end."""

EPILOG = """\
exit codes: 0 done, 2 wrong arguments, 130 stopped by Ctrl-C (with the report
so far, if there is one).

--json prints an object with `bare` and `protected`, each with requests,
availability and fresh (percent), p50, p95 and p99 (seconds), calls_reached
(calls that the server got while it was broken), retries, breaker_openings,
fallbacks, and recovery_seconds (null: not seen)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    options = _parser().parse_args(arguments)
    console = Console(no_color=True if options.no_color else None, highlight=False)
    try:
        _introduce(console, options)
        report = asyncio.run(demonstrate(console, options.seconds, options.rate, options.seed, _live(console, options)))
        show(report, console)
        if options.json:
            print(_as_json(report), flush=True)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Stopped before there was anything to report.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 130 if report.interrupted else 0


def _introduce(console: Console, options: argparse.Namespace) -> None:
    console.print(
        f"For {options.seconds:g} s a small HTTP server breaks on purpose: errors, stalls, resets, outage.\n"
        f"The same {options.rate:g} requests a second go to it twice, at the same moments:\n"
        "  bare       httpx2 alone, with its usual time-out of 5 s\n"
        "  protected  httpx2 in seawall: fallback, retry, bulkhead, breaker, time-out\n"
        "Ctrl-C stops early and reports.\n"
    )


def _live(console: Console, options: argparse.Namespace) -> bool:
    """Whether the output is a terminal that can show the live picture."""
    drawable = console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only
    return drawable and not options.no_color


def _as_json(report: Report) -> str:
    return json.dumps({"bare": asdict(report.bare), "protected": asdict(report.protected)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=_number(1, 3600), default=10.0, metavar="S", help="length of the run, 1 to 3600; default 10")
    add("--rate", type=_number(1, 500), default=60.0, metavar="R", help="requests a second, 1 to 500; default 60")
    add("--seed", type=int, default=7, metavar="N", help="picks which requests meet which fault; default 7")
    add("--json", action="store_true", help="print the figures as a JSON object, as the last line")
    add("--no-color", action="store_true", help="no colours, and a line a second instead of the live picture")
    return parser


def _number(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # not a number fails this too
            raise argparse.ArgumentTypeError(f"{text!r} is not between {least:g} and {most:g}")
        return value

    return number
