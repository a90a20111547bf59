"""A storm on a terminal, as it goes: progress, the faults that are there, both variants, their requests over time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from rich import live
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from seawall.chaos.measures import percentile
from seawall.chaos.progress import Progress, Stage, VariantProgress
from seawall.chaos.words import count, percent, seconds
from seawall.cli.storm_strips import LEGEND, faults_strip, strip

LOOK: Final = 0.25
"""Seconds between two pictures."""
WIDEST: Final = 100
MARGIN: Final = 3
"""Columns left free: a terminal shows ^C there, and a line more would break the picture."""
STAGES: Final[dict[Stage, str]] = {
    "start": "starting",
    "warm-up": "warming up",
    "load": "{now:.0f} of {seconds:g} s",
    "last answers": "waiting for the last answers",
    "finish": "settling what is pending",
    "end": "done",
}


class Live:
    """Draws a run in place until it ends, and then takes the picture away.

    Args:
        console: a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    async def watch(self, progress: Progress) -> None:
        """Draws until cancelled."""
        with live.Live(console=self._console, auto_refresh=False, transient=True) as screen:
            while True:
                screen.update(picture(progress, self._console.width), refresh=True)
                await asyncio.sleep(LOOK)


def picture(progress: Progress, width: int) -> RenderableType:
    """Returns the picture of a run as of now, of a height that does not change while it goes on."""
    width = min(width - MARGIN, WIDEST)
    length = progress.conditions.seconds
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(no_wrap=True, justify="right")
    head.add_row(
        Text(progress.scenario.name, style="bold"),
        Text(STAGES[progress.stage].format(now=min(progress.now, length), seconds=length)),
    )
    bar = ProgressBar(total=length, completed=min(progress.now, length), width=width, complete_style="cyan")
    whole = Table.grid(expand=True)
    whole.width = width
    for part in (head, bar, Group(*_faults(progress)), "", _figures(progress), "", _strips(progress, width), LEGEND):
        whole.add_row(part)
    return whole


def _faults(progress: Progress) -> Iterator[Text]:
    """Yields a line for each fault that is there, and empty ones up to the most that there will be."""
    now = [period.fault for period in progress.faults if period.on]
    for fault in now:
        words = Text.assemble(("! ", "bold red"), (f"{fault.target}: ", "bold red"), fault.says)
        words.no_wrap, words.overflow = True, "ellipsis"
        yield words
    for number in range(len(now), max(1, progress.most_at_once)):
        yield Text("" if number else "no fault now", style="dim")


def _figures(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in progress.variants:
        table.add_column(name, justify="right", min_width=11, no_wrap=True, overflow="ellipsis", header_style="bold")
    for label, figure in FIGURES.items():
        table.add_row(label, *(figure(variant) for variant in progress.variants.values()))
    return table


def _requests(variant: VariantProgress) -> str:
    return count(len(variant.record.requests))


def _counted(name: str) -> Callable[[VariantProgress], str]:
    return lambda variant: count(getattr(variant.counts, name, None))


FIGURES: Final[dict[str, Callable[[VariantProgress], str]]] = {
    "requests": _requests,
    "waiting": lambda variant: count(variant.waiting),
    "available": lambda variant: percent(variant.availability),
    "p95": lambda variant: seconds(percentile(variant.record.latencies, 95)),
    "wasted calls": _counted("wasted_calls"),
    "retries": _counted("retries"),
    "fallbacks": _counted("fallbacks"),
}


def _strips(progress: Progress, width: int) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=12)
    grid.add_column(no_wrap=True)
    room = width - 1 - min(12, max(len(name) for name in (*progress.variants, "faults")))
    bins = max(len(variant.record.bins) for variant in progress.variants.values())
    grid.add_row("faults", faults_strip([period.fault for period in progress.faults], bins, room))
    for name, variant in progress.variants.items():
        grid.add_row(name, strip(variant.bins(), room))
    return grid
