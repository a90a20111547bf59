"""What is shown of a storm while it runs and at its end: lines, pictures and strips of every width."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from rich.console import Console

from seawall.chaos import Answer, Conditions, Counts, Fault, Progress, Result, Scenario, Variant, run
from seawall.cli.storm_end import show
from seawall.cli.storm_lines import Lines
from seawall.cli.storm_live import picture
from seawall.cli.storm_strips import faults_strip, strip
from seawall.testing import FakeClock

FAULTS = (
    Fault("catalog", "refuse", 0.2, 0.5, "refuses every connection"),
    Fault("payments", "[bold]", 0.4, 0.6, "says [red]nothing[/red] at all, however long one waits for its answer"),
)


class Shop(Variant):
    """A variant that fails, or gives a fallback, while it is struck."""

    def __init__(self, fallback: bool) -> None:
        self.fallback = fallback
        self.struck: set[Fault] = set()

    async def strike(self, fault: Fault) -> None:
        """Note it."""
        self.struck.add(fault)

    async def lift(self, fault: Fault) -> None:
        """Note it."""
        self.struck.discard(fault)

    async def send(self, number: int) -> Answer:
        """Answer after 20 ms."""
        await asyncio.sleep(0.02)
        if not self.struck:
            return Answer("fresh", ("catalog", "payments")[number % 2])
        if self.fallback:
            return Answer("fallback")
        raise OSError

    async def counts(self) -> Counts:
        """Count nothing but a thousand wasted calls."""
        return Counts(1000, 0, 0, 0, {"double_charges": 0 if self.fallback else 2})

    finish = counts


class Shops(Scenario):
    """Two shops."""

    name = "A shop whose name is long enough for no terminal of a common width to show it in one line of its own"
    says = "Two shops."
    rate = 20.0
    names: tuple[str, str] = ("bare", "protected")

    def faults(self, conditions: Conditions) -> Sequence[Fault]:
        """Return two that overlap."""
        return FAULTS

    def notes(self, conditions: Conditions) -> Sequence[str]:
        """Return one in square brackets, which rich must not take for a style."""
        return ["[bold]not bold[/bold]"]

    def variants(self, conditions: Conditions) -> Mapping[str, AbstractAsyncContextManager[Variant]]:
        """Return the shops."""
        return {self.names[0]: self.held(Shop(False)), self.names[1]: self.held(Shop(True))}

    @asynccontextmanager
    async def held(self, shop: Shop) -> AsyncIterator[Variant]:
        """Give a shop."""
        yield shop


def play(watch: Any, scenario: Scenario | None = None) -> Result:
    """Run a storm of 10 s in virtual time."""

    async def main() -> Result:
        with FakeClock():
            return await run(scenario or Shops(), Conditions(10, 20, 1), watch)

    return asyncio.run(main())


def shown(thing: Any, width: int, **settings: Any) -> list[str]:
    """Return the lines that a console of some width shows."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, **settings)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def pictures(width: int, *seconds: float, scenario: Scenario | None = None) -> list[list[str]]:
    """Return what is drawn at some seconds of a storm."""
    drawn: list[list[str]] = []

    async def watch(progress: Progress) -> None:
        for second in seconds:
            await asyncio.sleep(second - progress.now)
            drawn.append(shown(picture(progress, width), width))

    play(watch, scenario)
    return drawn


def test_the_picture_shows_what_goes_on() -> None:
    """The time, the faults that are there, both variants' figures, and how requests ended so far."""
    lines = pictures(80, 4.51)[0]
    text = "\n".join(lines)

    assert lines[0].endswith("5 of 10 s")
    assert ["! catalog: refuses every connection"] == [line.rstrip() for line in lines if line.startswith("! catalog")]
    for words in ("! payments: says [red]nothing[/red] at all", "bare    protected", "wasted calls        1,000"):
        assert words in text
    assert ["available         44.44 %        100 %"] == [line.rstrip() for line in lines if "available" in line]
    strips = {line.split()[0]: line.split()[1] for line in lines if line.startswith(("faults", "bare ", "protected "))}
    assert {
        "faults": "·" * 10 + "1" * 10 + "2" * 5 + "1" * 5 + "·" * 20,
        "bare": "█" * 10 + "×" * 13 + "·" * 27,
        "protected": "█" * 10 + "▓" * 13 + "·" * 27,
    } == strips


@pytest.mark.parametrize("width", [20, 34, 50, 80, 200])
def test_the_picture_keeps_its_height_and_fits(width: int) -> None:
    """From the first moment to the last, whatever is on: or it would leave parts of itself behind."""
    drawn = pictures(width, 0, 1, 3, 4.5, 5.5, 9, 10.01)

    assert 1 == len({len(lines) for lines in drawn})
    assert [] == [line for lines in drawn for line in lines if len(line) > width]
    assert width < 50 or len(drawn[0]) <= 20


def test_long_names_do_not_break_the_picture() -> None:
    """They are cut."""
    scenario = Shops()
    scenario.names = ("a variant with a very long name", "another one with a name that is longer still")
    drawn = pictures(50, 0, 5, scenario=scenario)

    assert [] == [line for lines in drawn for line in lines if len(line) > 50]


def test_what_ended_how_has_a_shape_of_its_own() -> None:
    """All fresh, some substitutes, some of no use with their share, all of no use, nothing yet."""
    bins = [
        Counter({"fresh": 5}),
        Counter({"fresh": 4, "cached": 1}),
        Counter({"pending": 3, "fallback": 2}),
        Counter({"fresh": 9, "late": 1}),
        Counter({"cached": 1, "failed": 9}),
        Counter({"failed": 3, "late": 1, "unsettled": 1}),
        Counter[str](),
    ]

    assert "█▓▓▇▁×·" == strip(bins, 80).plain  # type: ignore[arg-type]
    assert "▓▇▁·" == strip(bins, 5).plain  # type: ignore[arg-type]


def test_faults_are_counted_in_their_strip() -> None:
    """In as many columns as the strips below it have; more than nine are many."""
    assert "··12321···" == faults_strip([*FAULTS, Fault("c", "d", 0.3, 0.7, "e")], 10, 80).plain
    assert "·12·" == faults_strip([Fault("a", "b", 0.25, 0.75, "c"), Fault("d", "e", 0.5, 0.75, "f")], 4, 80).plain
    assert "+" == faults_strip([Fault(str(number), "b", 0, 1, "c") for number in range(10)], 1, 80).plain


def test_lines_tell_of_each_fault_once_and_of_the_variants_now_and_then() -> None:
    """With the second at which it happened; the last ones too, however soon the end comes."""
    stream = io.StringIO()
    play(Lines(stream).watch)
    lines = stream.getvalue().splitlines()

    assert lines[0].startswith("   0.0 s  A shop whose name")
    assert [
        "   2.0 s  catalog refuse begins: refuses every connection",
        "   4.0 s  payments [bold] begins: says [red]nothing[/red] at all, however long one waits for its answer",
        "   5.0 s  catalog refuse ends",
        "   6.0 s  payments [bold] ends",
    ] == [line for line in lines if ("begins: " in line and "load" not in line) or line.endswith(" ends")]
    states = [line for line in lines if " | " in line]
    assert 5 == len(states)
    assert "bare: 34 requests, 100 % available, p95 20 ms, wasted calls 1,000 | protected: 34 requests" in states[0]
    assert lines[-1].endswith("done")


@pytest.mark.parametrize("width", [50, 80])
def test_the_end_shows_the_figures_side_by_side(width: int) -> None:
    """The verdict, every measure with the better one marked, the notes as they are, and the path in one piece."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    path = "a/folder/with/a/very/long/name/that/does/not/fit/into/a/line/of/eighty/columns/storm-report.html"
    show(play(None), path, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    lines = text.splitlines()

    assert f"Report: {path}" in lines
    assert "Note: [bold]not bold[/bold]" in lines
    assert "bare left" in text
    assert ["availability", "60.00", "%", "100", "%", "✓"] == next(
        line.split() for line in lines if "availability  " in line
    )
    assert ["retries", "0", "0"] == next(line.split() for line in lines if " retries " in line)
    assert [] == [line for line in lines if len(line) > width and path not in line]


def test_the_end_in_a_file_has_a_line_a_sentence() -> None:
    """So that it can be searched; and no strips, which are for terminals."""
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    show(play(None), None, console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()

    assert 1 == len([line for line in lines if line.startswith("In 10 s with 2 faults") and line.endswith(".")])
    assert [] == [line for line in lines if "█" in line or "Report" in line or "\x1b" in line]
