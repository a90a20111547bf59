"""The report of a run: one HTML file that needs nothing else, neither a network nor scripts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Final

from seawall.chaos.record import ENDINGS, Ending
from seawall.chaos.report_charts import charts, mark, patterns
from seawall.chaos.report_style import STYLE
from seawall.chaos.result import Result, VariantResult
from seawall.chaos.script import FaultPeriod
from seawall.chaos.words import ENDING_WORDS, Row, count, percent, rows, verdict

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
FAILURES: Final = 5
"""How many classes of failures are listed for a variant."""


def write_report(result: Result, path: str | os.PathLike[str]) -> None:
    """Writes the report of a result to a file, whole or not at all. Raises OSError where that is not possible."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_text(page(result), encoding="utf-8")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def page(result: Result) -> str:
    """Returns the report of a result as an HTML page that loads nothing from anywhere."""
    title = escape(f"Storm: {result.scenario}")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    body = "\n".join(_sections(result))
    main = f"<main>\n{body}\n</main>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{patterns()}{main}</body></html>\n'


def _sections(result: Result) -> Iterator[str]:
    measured = rows(result)
    yield f"<h1>Storm: {escape(result.scenario)}</h1>"
    yield f'<p class="verdict">{escape(verdict(result))}</p>'
    if result.cut_short:
        yield (
            f'<p class="cut">Cut short after {result.lasted:.1f} of {result.conditions.seconds:g} s: these are the '
            "figures so far, without the requests that were in flight.</p>"
        )
    yield f'<p class="dim">{escape(result.says)}</p>'
    yield f'<div class="sides">{"".join(_side(name, side) for name, side in result.variants.items())}</div>'
    yield "<h2>Figures</h2>"
    yield _figures(result, measured)
    yield "<h2>Over time</h2>"
    yield _legend(result)
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="Charts over time">{charts(result)}</div>'
    yield "<h2>Faults</h2>"
    yield _faults(result)
    if any(side.failures for side in result.variants.values()):
        yield "<h2>What failed requests raised</h2>"
        yield _failures(result)
    if result.notes:
        yield "<h2>Notes</h2>"
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in result.notes)}</ul>"
    yield "<h2>What the measures mean</h2>"
    yield f"<dl>{''.join(f'<dt>{escape(row.label)}</dt><dd>{escape(row.says)}</dd>' for row in measured)}</dl>"
    yield "<h2>Conditions</h2>"
    yield _conditions(result)


def _table(head: Iterable[str], body: Iterable[Iterable[str]], numbers: int) -> str:
    """Returns a table of cells that are HTML already; from column `numbers` on they are figures."""
    kinds = ['class="number"' if index >= numbers else "" for index in range(20)]
    top = "".join(f'<th scope="col" {kind}>{cell}</th>' for cell, kind in zip(head, kinds, strict=False))
    lines = ""
    for first, *others in body:
        cells = "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(others, kinds[1:], strict=False))
        lines += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _swatch(ending: Ending) -> str:
    return f'<svg viewBox="0 0 16 16" aria-hidden="true"><rect width="16" height="16" fill="url(#of-{ending})"/></svg>'


def _side(name: str, side: VariantResult) -> str:
    total = side.measures.requests
    bar, at = "", 0.0
    for ending in ENDINGS:
        width = 100 * side.endings.get(ending, 0) / total if total else 0
        bar += f'<rect x="{at:.3f}%" width="{width:.3f}%" height="22" fill="url(#of-{ending})"/>'
        at += width
    listed = "".join(
        f"<li>{_swatch(ending)}{ENDING_WORDS[ending]}<b>{count(number)}</b></li>"
        for ending in ENDINGS
        if (number := side.endings.get(ending, 0))
    )
    label = escape(f"{name}: requests by how they ended; the figures are in the list below")
    return (
        f'<section class="side"><h3>{escape(name)}</h3>'
        f'<div class="figure">{percent(side.measures.availability)}<small>of {count(total)} requests available</small>'
        f'</div><svg role="img" aria-label="{label}"><title>{label}</title>{bar}</svg><ul>{listed}</ul></section>'
    )


def _figures(result: Result, measured: Iterable[Row]) -> str:
    def cell(row: Row, index: int) -> str:
        if row.better == index:
            return f'<b>{escape(row.cells[index])}</b><span class="tick">✓</span>'
        return f'{escape(row.cells[index])}<span class="tick"></span>'

    head = ["measure", *map(escape, result.variants)]
    body = [[escape(row.label), *(cell(row, index) for index in range(len(row.cells)))] for row in measured]
    return f'<div class="figures">{_table(head, body, 1)}</div><p class="dim">✓ marks the better one of two.</p>'


def _legend(result: Result) -> str:
    seen: list[Ending] = [
        ending for ending in ENDINGS if any(side.endings.get(ending) for side in result.variants.values())
    ]
    endings = "".join(f"<li>{_swatch(ending)}{ENDING_WORDS[ending]}</li>" for ending in seen)
    courses = "".join(
        f'<li><svg class="long" viewBox="0 0 34 16" aria-hidden="true">'
        f'<path d="M0 8H34" class="course course-{index}"/>{mark(index, 17, 8)}</svg>p95 of {escape(name)}</li>'
        for index, name in enumerate(result.variants)
    )
    return f'<ul class="legend">{endings}{courses}</ul>'


def _faults(result: Result) -> str:
    if not result.faults:
        return "<p>The script has none.</p>"
    body = [
        [
            str(number),
            f'{escape(f"{fault.target}: {fault.kind}")}<br><span class="dim">{escape(fault.says)}</span>',
            *_span(period),
        ]
        for number, period in enumerate(result.faults, 1)
        for fault in [period.fault]
    ]
    return _table(("", "fault", "began", "ended"), body, 2)


def _span(period: FaultPeriod) -> tuple[str, str]:
    if period.began is None:
        return "not reached", "–"
    return f"{period.began:.1f} s", "–" if period.ended is None else f"{period.ended:.1f} s"


def _failures(result: Result) -> str:
    body = [
        [escape(name), escape(failure), count(number)]
        for name, side in result.variants.items()
        for failure, number in sorted(side.failures.items(), key=lambda item: -item[1])[:FAILURES]
    ]
    return _table(("variant", "exception", "requests"), body, 2)


def _conditions(result: Result) -> str:
    conditions = result.conditions
    facts = {
        "requests a second, for each variant": f"{conditions.rate:g}, sent at fixed moments (open loop)",
        "length of the load": f"{conditions.seconds:g} s",
        "an answer is of use within": f"{result.usable_within:g} s",
        "seed": str(conditions.seed),
        "Python": result.python,
        "began": f"{result.date:%Y-%m-%d %H:%M:%S} UTC",
    }
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts.items())}</dl>"
