"""What the commands print: tables that fit the terminal, and spans of time and counts as people write them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST: Final = 50
WIDEST: Final = 120
SHORT: Final = 9
"""Characters of a cell that is never folded: a word such as unhealthy."""
STYLES: Final = {"healthy": "green", "degraded": "yellow", "unknown": "magenta", "unhealthy": "bold red"}
"""Of words that stand alone in a cell."""


def console() -> Console:
    """Returns stdout to print to, 50 to 120 columns wide.

    Without control codes where it is no terminal, whatever the environment says; without colours where NO_COLOR is set.
    """
    out = Console(file=sys.stdout, force_terminal=sys.stdout.isatty(), highlight=False, markup=False, emoji=False)
    out.width = min(max(out.width, NARROWEST), WIDEST)
    return out


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table; cells that do not fit are folded, so that nothing is lost; short ones never are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    cells = [[plain(cell) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        longest = max((len(row[number]) for row in cells), default=0)
        table.add_column(column, overflow="fold", no_wrap=longest <= SHORT)
    for row in cells:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(table)


def show_line(text: str, style: str = "") -> None:
    """Prints a line, or several where the terminal is narrow; in a file, a line is a line."""
    out = console()
    out.print(Text(plain(text), style=style), soft_wrap=not out.is_terminal)


def show_json(document: dict[str, Any]) -> None:
    """Prints one JSON object, and nothing that JSON does not know: what is no number is null."""
    click.echo(json.dumps(_finite(document), allow_nan=False))


def plain(value: object) -> str:
    """Returns a text without what a terminal would obey instead of showing: it may have been written by anybody."""
    return "".join(each if each.isprintable() else " " for each in str(value))


def span(seconds: float | None) -> str:
    """Returns a span of time, to two units: 0.8 s, 45 s, 29 min, 3 h 5 min, 2 d 4 h; a dash for none."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, days = minutes // 60, minutes // 1440
    parts = ((days, "d"), (hours % 24, "h"), (minutes % 60, "min"))
    words = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(words[:2])


def instant(seconds: float | None) -> str:
    """Returns seconds since 1970 as date and time in UTC; a dash for none."""
    try:
        return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):
        return "-"


def counted(number: int, what: str) -> str:
    """Returns a number of things: 1 worker, 3 workers."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def share_words(share: float) -> str:
    """Returns what a switch lets through: on, off, 25%."""
    return "on" if share >= 1 else "off" if share <= 0 else f"{share * 100:g}%"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
