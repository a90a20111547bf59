"""A result in words and figures, as the report and the command line show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from seawall.chaos.record import UNAVAILABLE, Ending
from seawall.chaos.result import Result, VariantResult

ENDING_WORDS: Final[dict[Ending, str]] = {
    "fresh": "fresh",
    "cached": "cached",
    "fallback": "fallback",
    "pending": "settled later",
    "unsettled": "never settled",
    "late": "late",
    "failed": "failed",
}
"""What the ways of ending are called for people."""
TOLD: Final = ("availability", "p95", "wasted_calls")
"""The measures that the verdict names, besides those of the scenario that are not 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of both variants.

    Attributes:
        key: its name in the JSON.
        label: its name for people.
        cells: what it is for each variant.
        better: the index of the better variant; None: neither is, or it is no matter of better and worse.
        says: its definition.
    """

    key: str
    label: str
    cells: tuple[str, ...]
    better: int | None
    says: str


def count(value: float | None) -> str:
    """Returns a number of things as people read it."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Returns a duration as people read it."""
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s"


def recovered(value: float | None) -> str:
    """Returns the time of a recovery as people read it."""
    return "not seen" if value is None else seconds(value)


def percent(value: float | None) -> str:
    """Returns a share as people read it, rounded down: 100 % means all."""
    if value is None:
        return "–"
    return "100 %" if value == 1 else f"{math.floor(value * 10_000 + 1e-6) / 100:.2f} %"


@dataclass(frozen=True, slots=True)
class _Measure:
    key: str
    label: str
    better: Literal["more", "less"] | None
    show: Callable[[float | None], str]
    says: str


_MEASURES: Final = (
    _Measure("requests", "requests", None, count, "Requests that ended, or that were given up."),
    _Measure(
        "availability",
        "availability",
        "more",
        percent,
        "The share of requests that got an answer of use within {limit}: a fresh one, a cached one, a fallback, or a "
        "promise (pending) that was kept. Late answers, failures and promises that were not kept are of no use. "
        "Rounded down.",
    ),
    _Measure(
        "p50", "latency p50", "less", seconds, "Half of all requests took no longer. Counted from when each was due."
    ),
    _Measure("p95", "latency p95", "less", seconds, "95 in 100 requests took no longer; given-up ones count too."),
    _Measure("p99", "latency p99", "less", seconds, "99 in 100 requests took no longer."),
    _Measure(
        "wasted_calls",
        "wasted calls",
        "less",
        count,
        "Calls to a dependency that brought no usable answer: errors, time-outs, refusals by the network, 5xx, 429.",
    ),
    _Measure("retries", "retries", None, count, "Calls that repeated another one."),
    _Measure("breaker_openings", "breaker openings", None, count, "How often a circuit breaker opened."),
    _Measure("fallbacks", "fallbacks", None, count, "Answers that were substitutes, marked as such."),
    _Measure(
        "recovery_seconds",
        "recovery",
        "less",
        recovered,
        "From the end of a dependency's last fault to the first fresh answer from it, of requests due after that; the "
        "longest of all dependencies that had a fault. “Not seen”: one did not come back during the run.",
    ),
)


def rows(result: Result) -> list[Row]:
    """Returns every measure of a result, the scenario's own ones last."""
    figures = [variant.measures.as_dict() for variant in result.variants.values()]
    known = {measure.key for measure in _MEASURES}
    own = dict.fromkeys(key for values in figures for key in values if key not in known)
    says = "A measure of this scenario; less is better."
    measures = [*_MEASURES, *(_Measure(key, key.replace("_", " "), "less", count, says) for key in own)]
    return [_row(measure, [values.get(measure.key) for values in figures], result) for measure in measures]


def verdict(result: Result) -> str:
    """Returns what was seen, in one sentence with its figures."""
    struck = sum(period.began is not None for period in result.faults)
    faults = f"{struck} fault{'' if struck == 1 else 's'}"
    span = f"{'Cut short: in the first' if result.cut_short else 'In'} {result.lasted:.3g} s with {faults}"
    if not any(side.measures.requests for side in result.variants.values()):
        return "Nothing was measured: the run was cut short before any request had ended."
    left = [f"{_missing(side)} of {count(side.measures.requests)}" for side in result.variants.values()]
    names = list(result.variants)
    told = [row for row in rows(result) if row.key in TOLD or _own_and_seen(row)]
    figures = ", ".join(f"{row.label} {' and '.join(row.cells)}" for row in told)
    return f"{span}, {names[0]} left {left[0]} requests without an answer of use, {names[1]} {left[1]}; {figures}."


def _row(measure: _Measure, values: Sequence[float | None], result: Result) -> Row:
    cells = tuple(measure.show(value) for value in values)
    return Row(
        measure.key,
        measure.label,
        cells,
        None if len(set(cells)) == 1 else _better(measure.better, values),  # what looks the same is no better
        measure.says.format(limit=f"{result.usable_within:g} s"),
    )


def _better(better: Literal["more", "less"] | None, values: Sequence[float | None]) -> int | None:
    """Returns the index of the best value, where one is better than all others; None is the worst."""
    sign = 1 if better == "less" else -1
    ranks = [float("inf") if value is None else sign * value for value in values]
    best = min(ranks)
    return None if better is None or ranks.count(best) > 1 else ranks.index(best)


def _own_and_seen(row: Row) -> bool:
    return row.key not in {measure.key for measure in _MEASURES} and set(row.cells) != {"0"}


def _missing(side: VariantResult) -> str:
    missing = sum(side.endings.get(ending, 0) for ending in UNAVAILABLE)
    return count(missing) if missing else "none"
