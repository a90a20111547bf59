"""What is seen while the demo runs: a live picture on a terminal, a line a second elsewhere."""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.child import Child
from examples.demo.script import PHASES
from examples.demo.traffic import COLUMNS, PATIENCE, Moment, Variant
from seawall import CircuitBreaker

BARS = "▁▂▃▄▅▆▇█"
FASTEST, SLOWEST = 0.01, 5.0  # seconds: the lowest and the highest bar, with a logarithmic scale between
STATES = {"closed": "green", "open": "bold red", "half_open": "yellow"}


@dataclass
class Run:
    """What the views show."""

    child: Child
    bare: Variant
    protected: Variant
    breaker: CircuitBreaker
    seconds: float
    start: float  # on the loop's clock

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return asyncio.get_running_loop().time() - self.start

    @property
    def phase(self) -> str:
        """The phase in words."""
        if self.now > self.seconds:
            waiting = len(self.bare.waiting) + len(self.protected.waiting)
            return f"waiting for the last {waiting} answers" if waiting else "done"
        return f"{self.child.phase.name}: {self.child.phase.says}"


async def watch(run: Run, console: Console, live: bool) -> None:
    """Shows the run until cancelled."""
    await (_watch_live(run, console) if live else _watch_plain(run))


async def _watch_plain(run: Run) -> None:
    second = 1
    while True:
        await asyncio.sleep(second - run.now)
        print(
            f"{second:4d} s  {run.child.phase.name:8}  {run.bare.sent:4d} sent | bare: {_in_a_line(run.bare)} | "
            f"protected: {_in_a_line(run.protected)}, breaker {run.breaker.state}",
            flush=True,
        )
        second += 1


def _in_a_line(variant: Variant) -> str:
    return f"{variant.usable} answered, {variant.failed} failed"


async def _watch_live(run: Run, console: Console) -> None:
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=console, auto_refresh=False))
        stack.callback(lambda: live.update(picture(run, console.width), refresh=True))
        while True:
            live.update(picture(run, console.width), refresh=True)
            await asyncio.sleep(0.2)


def picture(run: Run, width: int) -> RenderableType:
    """Returns the live picture."""
    width = min(width - 3, 110)  # room for the ^C that a terminal echoes: a line more would break the picture
    sides = Table.grid(expand=True)
    sides.add_column(ratio=1)
    sides.add_column(ratio=1)
    sides.add_row(
        Panel(_side(run, run.bare), title="bare: httpx2 alone", border_style="dim"),
        Panel(_side(run, run.protected), title="protected: httpx2 and seawall", border_style="dim"),
    )
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    head.add_row(Text(run.phase, style="bold"), f"{max(0.0, run.seconds - run.now):.1f} s left")
    bar = ProgressBar(total=run.seconds, completed=min(run.now, run.seconds), width=width, complete_style="cyan")
    grid = Table.grid(expand=True)
    grid.width = width
    for row in (_ruler(run, width), bar, head, sides, LEGEND):
        grid.add_row(row)
    return grid


LEGEND = Text.assemble(
    ("Bars: slowest answer of each moment, to 5 s; ", "dim"),
    ("fresh", "green"),
    (", ", "dim"),
    ("last known", "yellow"),
    (", ", "dim"),
    ("some failed", "red"),
)


def _ruler(run: Run, width: int) -> Text:
    """Returns the names of the phases, each above its part of the progress bar."""
    ruler, ends = Text(no_wrap=True), 0.0
    for phase in PHASES:
        ends += phase.part
        room = round(ends * width) - len(ruler)
        current = phase is run.child.phase
        ruler.append(phase.name[: room - 1].ljust(room), style="bold reverse" if current else "dim")
    return ruler


def _side(run: Run, variant: Variant) -> RenderableType:
    rows = Table.grid(padding=(0, 2))
    rows.add_row("sent", str(variant.sent))
    old = variant.outcomes["last known"]
    rows.add_row("answered", Text.assemble((str(variant.usable), "green"), f"  ({old} last known)" if old else ""))
    rows.add_row("failed", Text(str(variant.failed), style="red" if variant.failed else ""))
    rows.add_row("waiting", str(len(variant.waiting)))
    state = run.breaker.state
    rows.add_row(
        "breaker", Text(state, style=STATES.get(state, "")) if variant is run.protected else Text("none", "dim")
    )
    rows.add_row("latency", _sparkline(run, variant))
    return Group(rows)


def _sparkline(run: Run, variant: Variant) -> Text:
    """Returns a bar for each moment; what is still waiting counts with its age."""
    ages = [0.0] * COLUMNS
    for call in variant.waiting:
        index = variant.moment(call.due)
        ages[index] = max(ages[index], run.now - call.due)
    line = Text(no_wrap=True)
    for moment, age in zip(variant.moments, ages, strict=True):
        line.append(_bar(max(moment.slowest, age)), style=_colour(moment, age))
    return line


def _bar(latency: float) -> str:
    if not latency:
        return " "
    height = math.log(max(latency, FASTEST) / FASTEST) / math.log(SLOWEST / FASTEST)
    return BARS[min(len(BARS) - 1, int(height * len(BARS)))]


def _colour(moment: Moment, age: float) -> str:
    if age > PATIENCE or moment.outcomes & {"failed", "late"}:
        return "red"
    return "yellow" if "last known" in moment.outcomes else "green"
