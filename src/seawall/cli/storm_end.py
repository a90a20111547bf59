"""The end of a storm: what was seen in a sentence, the figures side by side, where the report is."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seawall.chaos.result import Result
from seawall.chaos.words import rows, verdict
from seawall.cli.storm_strips import LEGEND, faults_strip, strip


def show(result: Result, report: str | None, console: Console) -> None:
    """Prints the end of a run.

    Args:
        result: what it has shown.
        report: the path of the report; None: there is none.
        console: where to.
    """
    better = "*" if console.options.ascii_only else "✓"
    flows = not console.is_terminal  # in a file, a line is a line
    console.print()
    console.print(Text(verdict(result), style="bold"), soft_wrap=flows)
    console.print(_table(result, better))
    console.print(Text(f"{better} marks the better one of two.", style="dim"))
    if console.is_terminal and not console.options.ascii_only:
        console.print()
        console.print(_strips(result, console.width))
        console.print(LEGEND)
        console.print()
    for note in result.notes:
        console.print(Text(f"Note: {note}"), soft_wrap=flows)
    if report is not None:
        console.print(Text(f"Report: {report}"), soft_wrap=True)


def _table(result: Result, better: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure", no_wrap=True)
    for name in result.variants:
        table.add_column(f"{name}  ", justify="right", min_width=12, no_wrap=True, overflow="ellipsis")
    for row in rows(result):
        cells = [
            Text(f"{cell} {better}", style="bold green") if index == row.better else Text(f"{cell}  ")
            for index, cell in enumerate(row.cells)
        ]
        table.add_row(row.label, *cells)
    return table


def _strips(result: Result, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=12)
    grid.add_column(no_wrap=True)
    room = width - 4 - min(12, max(len(name) for name in (*result.variants, "faults")))
    sides = {name: [part.endings for part in side.timeline] for name, side in result.variants.items()}
    bins = max(len(side) for side in sides.values())
    grid.add_row("faults", faults_strip([period.fault for period in result.faults], bins, room))
    for name, side in sides.items():
        grid.add_row(name, strip(side, room))
    return grid
