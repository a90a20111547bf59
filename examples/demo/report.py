"""The end of a run, for people: a table, and what it says in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo.figures import Figures

NOTE = (
    "Available: an answer within 2 s. Bare code keeps no answers, so it has no last known one to give; nor has it "
    "retries or a breaker. Came back: fresh answers only, of the requests sent since the server was healthy."
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has shown."""

    bare: Figures
    protected: Figures
    broken_for: float  # seconds that the server was broken for
    interrupted: bool


def show(report: Report, console: Console) -> None:
    """Prints the table, its note, and the words."""
    console.print()
    console.print(_table(report))
    if report.interrupted:
        console.print("Stopped early: these are the figures so far, without the requests sent in the last moment.")
    console.print(Text(NOTE, style="dim"))
    console.print()
    console.print(Text(in_words(report)))
    console.print(Text("Read on in README.md; the pipeline is in examples/demo/pipeline.py.", style="bold"))


def in_words(report: Report) -> str:
    """Returns what was seen, in a sentence or two."""
    bare, protected = report.bare, report.protected
    if not bare.requests or not protected.requests:
        return "Nothing was measured."
    if not report.broken_for:
        return "Stopped before anything broke: there is nothing to compare yet."
    seen = (
        f"The server was broken for {report.broken_for:.1f} s: bare code left {_left_out(bare)} without a usable "
        f"answer, seawall {_left_out(protected)}"
    )
    if protected.fallbacks:
        seen += f"; {protected.fallbacks} of its answers were the last known ones, marked as such"
    return f"{seen}. {_on_the_server(bare.calls_reached, protected.calls_reached)}"


def _left_out(figures: Figures) -> str:
    missing = round(figures.requests * (100 - figures.availability) / 100)
    if not missing:
        return "nobody"
    return f"{missing} of {figures.requests} callers"


def _on_the_server(bare: int, protected: int) -> str:
    if not bare:
        return "The broken server was not called."
    change = (protected - bare) / bare
    if abs(change) < 0.01:
        return f"Both sent the broken server as many calls ({bare})."
    return (
        f"The broken server had to bear {abs(change):.0%} {'fewer' if change < 0 else 'more'} calls from seawall "
        f"({protected} instead of {bare}), retries included."
    )


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="What the callers saw", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("bare", justify="right", min_width=10)
    table.add_column("protected", justify="right", min_width=10, style="bold")
    bare, protected = report.bare, report.protected
    for label, before, after in zip(LABELS, _cells(bare), _cells(protected), strict=True):
        table.add_row(label, before, after)
    return table


LABELS = (
    "requests",
    "available",
    "  fresh answers",
    "latency p50",
    "latency p95",
    "latency p99",
    "calls that reached the broken server",
    "retries",
    "breaker openings",
    "fallbacks (last known answer)",
    "came back after the server did",
)


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        str(figures.requests),
        f"{figures.availability:.2f} %",
        f"{figures.fresh:.2f} %",
        seconds(figures.p50),
        seconds(figures.p95),
        seconds(figures.p99),
        str(figures.calls_reached),
        str(figures.retries),
        str(figures.breaker_openings),
        str(figures.fallbacks),
        "not seen" if figures.recovery_seconds is None else seconds(figures.recovery_seconds),
    )


def seconds(value: float) -> str:
    """Returns a duration as people read it."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s"
