"""The charts of the report: SVG on one common time axis, with the faults as bands across all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from seawall.chaos.measures import Bin
from seawall.chaos.record import ENDINGS
from seawall.chaos.result import Result
from seawall.chaos.script import FaultPeriod
from seawall.chaos.words import ENDING_WORDS, seconds

WIDTH: Final = 960
LEFT, RIGHT = 92, 948
"""Where the time axis begins and ends in every chart, so that moments lie below one another."""
STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
TICKS: Final = 12
LANE: Final = 24
TOP: Final = 22
HEAD: Final = 16
"""What bands are higher than the bars and lines below them, so that they are always seen."""
BARS: Final = 120
LINES: Final = 170
FASTEST, SLOWEST = 0.001, 10.0
"""Seconds at the foot and at the top of the latency chart, whose scale is logarithmic."""
MARKS: Final = ("square", "circle")


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis: seconds of the load to places in a chart."""

    length: float

    def x(self, second: float) -> float:
        """Returns where a second of the load is."""
        return round(LEFT + (RIGHT - LEFT) * min(max(second / self.length, 0), 1), 2)

    def ticks(self) -> list[float]:
        """Returns the seconds that are marked."""
        step = next((step for step in STEPS if self.length / step <= TICKS), self.length)
        return [number * step for number in range(int(self.length / step + 1e-9) + 1)]


def charts(result: Result) -> str:
    """Returns all charts, one below the other: the faults, the endings of each variant, the latencies."""
    axis = Axis(result.conditions.seconds)
    most = max((sum(part.endings.values()) for _, part in _bins(result)), default=0)
    drawn = [_faults(result, axis)]
    for name, variant in result.variants.items():
        drawn.append(_endings(name, variant.timeline, result, axis, max(most, 1)))
    drawn.append(_latencies(result, axis))
    return "\n".join(drawn)


def patterns() -> str:
    """Returns the fillings of the endings, for all charts and legends of a page. Each differs in more than colour."""
    drawings = {
        "fresh": "",
        "cached": '<path d="M0 4H8" class="ink"/>',
        "fallback": '<circle cx="4" cy="4" r="1.6" class="ink-fill"/>',
        "pending": '<path d="M4 0V8" class="ink"/>',
        "unsettled": '<path d="M4 0V8M0 4H8" class="ink"/>',
        "late": '<path d="M-2 2L2 -2M0 8L8 0M6 10L10 6" class="ink"/>',
        "failed": '<path d="M0 0L8 8M8 0L0 8" class="ink"/>',
    }
    parts = "".join(
        f'<pattern id="of-{ending}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" class="{ending}"/>{drawings[ending]}</pattern>'
        for ending in ENDINGS
    )
    return f'<svg class="fillings" width="0" height="0" aria-hidden="true" focusable="false"><defs>{parts}</defs></svg>'


def _bins(result: Result) -> Iterator[tuple[str, Bin]]:
    for name, variant in result.variants.items():
        for part in variant.timeline:
            yield name, part


def _svg(height: int, label: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>'


def _struck(result: Result) -> Iterator[tuple[int, FaultPeriod, float, float]]:
    """Yields the faults that came about, with their numbers and seconds."""
    for number, period in enumerate(result.faults, 1):
        if period.began is not None:
            yield number, period, period.began, result.lasted if period.ended is None else period.ended


def _bands(result: Result, axis: Axis, bottom: float) -> Iterator[str]:
    free = 0.0  # where the next number does not run into the one before
    for number, _, began, ended in _struck(result):
        x, width = axis.x(began), axis.x(ended) - axis.x(began)
        yield f'<rect x="{x}" y="{TOP}" width="{width:.2f}" height="{bottom - TOP}" class="band"/>'
        place = max(round(x + 4, 2), free)
        free = place + 5 + 7 * len(str(number))
        if place < RIGHT:
            yield _text(place, TOP + 12, str(number), "small")


def _edges(result: Result, axis: Axis, bottom: float) -> Iterator[str]:
    """Yields where faults begin and end, to be drawn across what is in the chart."""
    for _, _, *moments in _struck(result):
        for moment in moments:
            yield _line(axis.x(moment), TOP, axis.x(moment), bottom, "band-edge")


def _time(axis: Axis, y: float) -> Iterator[str]:
    for tick in axis.ticks():
        x = axis.x(tick)
        yield _line(x, y, x, y + 4, "axis")
        yield _text(x, y + 17, f"{tick:g} s", "middle small")
    yield _line(LEFT, y, RIGHT, y, "axis")


def _faults(result: Result, axis: Axis) -> str:
    lanes = _lanes(result)
    body: list[str] = []
    for number, period, began, ended in _struck(result):
        target = period.fault.target
        lane = next(i for i, (_, numbers) in enumerate(lanes) if number in numbers)
        x, width, y = axis.x(began), max(2, axis.x(ended) - axis.x(began)), 4 + lane * LANE
        full = f"{number} {period.fault.kind}"
        body.append(
            f"<g><title>{escape(f'{number}: {target}, {period.fault.says}, {began:.1f} s to {ended:.1f} s')}</title>"
            f'<rect x="{x}" y="{y}" width="{width:.2f}" height="{LANE - 4}" rx="3" class="fault"/>'
            f"{_text(x + 5, y + 14, full if width > 8 * len(full) + 8 else str(number), 'on-fault')}</g>"
        )
    names = [_text(LEFT - 8, 18 + i * LANE, _short(name), "end") for i, (name, _) in enumerate(lanes)]
    height = 4 + len(lanes) * LANE
    label = "When each fault was there, by dependency" if lanes else "No fault struck"
    return _svg(height + 24, label, [*names, *body, *_time(axis, height)])


def _lanes(result: Result) -> list[tuple[str, list[int]]]:
    """Returns rows of faults that do not overlap, by number, with their target; those of one target are neighbours."""
    lanes: dict[str, list[tuple[float, list[int]]]] = {}  # of each target: until when a row is taken, and by what
    for number, period, began, ended in _struck(result):
        rows = lanes.setdefault(period.fault.target, [])
        row = next((i for i, (taken, _) in enumerate(rows) if taken <= began), len(rows))
        numbers = rows[row][1] if row < len(rows) else []
        rows[row : row + 1] = [(ended, [*numbers, number])]
    return [(target, numbers) for target, rows in lanes.items() for _, numbers in rows]


def _endings(name: str, timeline: Sequence[Bin], result: Result, axis: Axis, most: int) -> str:
    top, bottom = TOP + HEAD, TOP + HEAD + BARS
    body = [_text(LEFT, 14, f"{name}: requests by how they ended", "strong")]
    body += _bands(result, axis, bottom)
    for value, y in ((0, bottom), (most, top)):
        body.append(_text(LEFT - 8, y + 4, str(value), "end small"))
        body.append(_line(LEFT, y, RIGHT, y, "grid"))
    for part in timeline:
        body += _bar(part, axis, bottom, BARS / most)
    body += _edges(result, axis, bottom)
    width = timeline[0].ends - timeline[0].begins if timeline else 0
    body.append(_text(RIGHT, 14, f"per {width:.2g} s", "end small"))
    label = f"Requests of {name} over time, stacked by how they ended"
    return _svg(bottom + 24, label, [*body, *_time(axis, bottom)])


def _bar(part: Bin, axis: Axis, bottom: float, scale: float) -> Iterator[str]:
    if not part.endings:
        return
    x = axis.x(part.begins)
    width = max(1.0, axis.x(part.ends) - x - 1)
    says = ", ".join(f"{number} {ENDING_WORDS[ending]}" for ending, number in part.endings.items())
    yield f"<g><title>{escape(f'{part.begins:.1f} s to {part.ends:.1f} s: {says}')}</title>"
    y = bottom
    for ending, number in part.endings.items():
        height = number * scale
        y -= height
        yield f'<rect x="{x}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="url(#of-{ending})"/>'
    yield "</g>"


def _latencies(result: Result, axis: Axis) -> str:
    bottom = TOP + HEAD + LINES
    limit = result.usable_within
    slowest = max(SLOWEST, limit, *(part.p95 or 0 for _, part in _bins(result)))

    def y(value: float) -> float:
        share = math.log(max(value, FASTEST) / FASTEST) / math.log(slowest / FASTEST)
        return round(bottom - LINES * share, 2)

    body = [_text(LEFT, 14, "p95 of the latency, logarithmic", "strong"), *_bands(result, axis, bottom)]
    for value in (0.001, 0.01, 0.1, 1.0, 10.0):
        if value <= slowest:
            body.append(_line(LEFT, y(value), RIGHT, y(value), "grid"))
            body.append(
                _text(LEFT - 8, y(value) + 4, f"{value * 1000:g} ms" if value < 1 else f"{value:g} s", "end small")
            )
    body.append(_line(LEFT, y(limit), RIGHT, y(limit), "limit"))
    body.append(_text(RIGHT - 4, y(limit) - 4, f"of no use after {limit:g} s", "end small strong"))
    body += _edges(result, axis, bottom)
    for index, (name, variant) in enumerate(result.variants.items()):
        body += _course(name, index, variant.timeline, axis, y)
    label = f"p95 of the latency over time, for {' and '.join(result.variants)}"
    return _svg(bottom + 24, label, [*body, *_time(axis, bottom)])


def _course(name: str, index: int, timeline: Sequence[Bin], axis: Axis, y: Callable[[float], float]) -> Iterator[str]:
    run: list[tuple[float, float]] = []
    for part in [*timeline, None]:
        if part is not None and part.p95 is not None:
            middle = axis.x((part.begins + part.ends) / 2)
            run.append((middle, y(part.p95)))
            yield (
                f"<g><title>{escape(f'{name}, {part.begins:.1f} s to {part.ends:.1f} s: p95 {seconds(part.p95)}')}"
                f"</title>{mark(index, *run[-1])}</g>"
            )
        elif run:  # nothing was due: the line has a gap
            points = " ".join(f"{at},{height}" for at, height in run)
            yield f'<polyline points="{points}" class="course course-{index}"/>'
            run = []


def mark(index: int, x: float, y: float) -> str:
    """Returns the mark of a variant's line, of a shape of its own."""
    if MARKS[index] == "square":
        return f'<rect x="{x - 3:.2f}" y="{y - 3:.2f}" width="6" height="6" class="mark-{index}"/>'
    return f'<circle cx="{x}" cy="{y}" r="3.2" class="mark-{index}"/>'


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"
