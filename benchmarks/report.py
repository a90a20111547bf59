"""What a run found, as text: pure functions of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.budgets import Verdict
from benchmarks.measure import Figure, Result

HEADINGS = ("work, nothing failing", "budget, at most", "seawall", "per call", "noise", "peers", "verdict")

NOTES = """\
*x* is the cost of the bare call (`value + 1`, sync or async) in the same run; the loop around it, about 5 ns, is part
of every figure. Contenders of a row take turns in short rounds; each figure is the minimum of its rounds, and *noise*
is seawall's median over that minimum. *A listener to every call* does nothing with the `CallEnded` that it gets; with
`Metrics` on, calls are counted and their durations kept, as a service does it. Pipelines are called in turn, so that
each call meets cold processor caches; *bare* there is as many distinct functions. A *GET* is one over loopback and a
kept connection. *The web layer*: two servers, one with the wrapped and one with the bare application, get requests in
turns of 0.1 s; the figure is the median of the differences of five such pairs of runs, *noise* is the largest of them
over it."""


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    key: str
    title: str
    result: Result
    verdicts: Sequence[Verdict]


def table(lines: Sequence[Line]) -> str:
    """Returns the Markdown table of a run."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS), *(cells(line) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cells(line: Line) -> tuple[str, ...]:
    """Returns the cells of one row."""
    figures, own = line.result.figures, line.result.figures.get("seawall")
    bare = figures.get("bare")
    others = [f"{name} {value(one, bare)}" for name, one in figures.items() if name not in ("bare", "seawall")]
    if bare is not None and bare.unit != "ns":
        others.insert(0, f"bare {value(bare, None)}")
    others += [f"{name}: {reason}" for name, reason in line.result.missing.items()]
    return (
        line.title,
        "<br>".join(str(verdict.budget) for verdict in line.verdicts) or "-",
        "-" if own is None else value(own, bare),
        "-" if own is None else per_call(own, bare),
        "-" if own is None else f"{own.spread:.2f}",
        "<br>".join(others) or "-",
        "<br>".join(map(said, line.verdicts)) or "-",
    )


def value(one: Figure, bare: Figure | None) -> str:
    """Returns a figure as it is compared: as a ratio to the bare call where there is one, else in its unit."""
    if one.unit == "ns" and bare is not None:
        return f"{one.low / bare.low:,.1f} x"
    return f"{one.low:,.0f} B" if one.unit == "B" else f"{one.low:,.2f} {one.unit}"


def per_call(own: Figure, bare: Figure | None) -> str:
    """Returns the time of a call."""
    if own.unit != "ns":
        return own.note or "-"
    return f"{own.low:,.0f} ns" + ("" if bare is None else f" (bare {bare.low:,.0f})")


def said(verdict: Verdict) -> str:
    """Returns a verdict; with what was measured, where that is not what the row shows anyway."""
    shown = verdict.budget.kind == "at most" or (verdict.budget.kind == "times" and verdict.budget.against == "bare")
    return verdict.text if shown or verdict.measured is None else f"{verdict.text} ({verdict.measured:,.2f} x)"


def progress(line: Line) -> str:
    """Returns the line that is shown when a row is done."""
    _, _, own, each, _, _, _ = cells(line)
    verdict = "; ".join(map(said, line.verdicts))
    return f"{line.title}: {own}" + (f", {each}" if each != "-" else "") + (f": {verdict}" if verdict else "")


def summary(lines: Sequence[Line]) -> str:
    """Returns how many budgets are met, and names those that are not."""
    verdicts = [verdict for line in lines for verdict in line.verdicts]
    missed = [f"{line.title} ({v.budget}): {v.text}" for line in lines for v in line.verdicts if v.over > 0]
    met = sum(verdict.text == "ok" for verdict in verdicts)
    return "\n".join([f"{met} of {len(verdicts)} budgets met.", *(f"- {one}" for one in missed)])


def page(lines: Sequence[Line], facts: Mapping[str, str]) -> str:
    """Returns the section for the documentation."""
    listed = "\n".join(f"- {name}: {text}" for name, text in facts.items())
    return f"## What a call costs\n\n{listed}\n\n{table(lines)}\n\n{NOTES}\n\n{summary(lines)}\n"


def data(lines: Sequence[Line], facts: Mapping[str, str]) -> dict[str, Any]:
    """Returns everything that was measured, for `--json`."""
    return {
        "facts": dict(facts),
        "rows": [
            {
                "key": line.key,
                "title": line.title,
                "figures": {
                    name: {"low": one.low, "median": one.median, "unit": one.unit, "note": one.note}
                    for name, one in line.result.figures.items()
                },
                "missing": line.result.missing,
                "budgets": [
                    {"budget": str(v.budget), "measured": v.measured, "over": v.over, "verdict": v.text}
                    for v in line.verdicts
                ],
            }
            for line in lines
        ],
    }
