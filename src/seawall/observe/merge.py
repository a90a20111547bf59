"""One service out of many workers: how their snapshots become one set of figures.

Counters and distributions are added up, those of the dead included; gauges go by the rule of their row; of states the
worst is shown. Snapshots are files, so nothing in them is taken on trust.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from seawall._runtime.runtime import Gathering
from seawall._runtime.sums import Counters, add, checked
from seawall.observe.instruments import Labels
from seawall.observe.table import ROWS, TABLE, Row

Value: TypeAlias = "float | list[float]"
Figures: TypeAlias = "dict[str, dict[Labels, Value]]"
"""By the name of the instrument and its label values: a number, or of a histogram its buckets' counts and the sum."""

SECTION: Final = "metrics"
SILENT: Final = 5.0
"""Seconds after which a worker that has written nothing is shown as not up."""


def merge(gathering: Gathering) -> Figures:
    """Returns the figures of all workers together."""
    sections = {worker["id"]: _section(worker) for worker in gathering.workers}
    figures = _counters(
        [gathering.retired.get(SECTION, {}), *(checked(each["counters"]) for each in sections.values())]
    )
    for row in TABLE:
        if row.kind == "gauge" and row.counts is None and row.option is None:
            figures[row.name] = _gauge(row, sections)
        elif row.kind == "state":
            figures[row.name] = _worst(row, sections)
        elif row.counts is not None:
            figures[row.name] = _workers(ROWS[row.counts], sections)
    now = time.time()
    figures["seawall.worker.up"] = {
        (worker["id"],): int(abs(now - _number(worker.get("written"))) < SILENT) for worker in gathering.workers
    }
    return figures


def _section(worker: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns a worker's section, each part an object."""
    found = worker["sections"].get(SECTION)
    section = found if isinstance(found, dict) else {}
    parts = {part: section.get(part) for part in ("counters", "gauges", "states")}
    return {part: content if isinstance(content, dict) else {} for part, content in parts.items()}


def _counters(all_: list[Counters]) -> Figures:
    sums: Counters = {}
    for each in all_:
        add(sums, each, most=None)
    figures: Figures = {}
    for name, series in sums.items():
        row = ROWS.get(name)
        if row is not None and row.kind in ("counter", "histogram"):
            fits = _is_distribution(row) if row.kind == "histogram" else _is_number
            figures[name] = {labels: amount for labels, amount in _read(row, series).items() if fits(amount)}
    return figures


def _read(row: Row, series: Mapping[str, Any], attributes: int | None = None) -> dict[Labels, Any]:
    """Returns series by label values, without those that have other labels than the row."""
    count = len(row.attributes) if attributes is None else attributes
    read: dict[Labels, Any] = {}
    for key, value in series.items():
        try:
            labels = json.loads(key)
        except (ValueError, RecursionError):
            continue
        if isinstance(labels, list) and len(labels) == count and all(isinstance(label, str) for label in labels):
            read[tuple(labels)] = value
    return read


def _gauge(row: Row, sections: Mapping[str, Mapping[str, Any]]) -> dict[Labels, Value]:
    values: dict[Labels, Value] = {}
    for section in sections.values():
        series = section["gauges"].get(row.name)
        for labels, value in _read(row, series if isinstance(series, dict) else {}).items():
            if _is_number(value):
                before = values.get(labels)
                values[labels] = value if before is None else _together(row, before, value)
    return values


def _together(row: Row, one: Any, other: Any) -> Any:
    return max(one, other) if row.merge == "max" else one + other


def _words(row: Row, sections: Mapping[str, Mapping[str, Any]]) -> dict[Labels, list[str]]:
    """Returns, by labels, the state that each worker is in."""
    words: dict[Labels, list[str]] = {}
    for section in sections.values():
        series = section["states"].get(row.name)
        found = _read(row, series if isinstance(series, dict) else {}, len(row.attributes) - 1)
        for labels, word in found.items():
            if word in row.states:
                words.setdefault(labels, []).append(word)
    return words


def _worst(row: Row, sections: Mapping[str, Mapping[str, Any]]) -> dict[Labels, Value]:
    worst = {labels: min(words, key=row.states.index) for labels, words in _words(row, sections).items()}
    return {(*labels, state): int(state == word) for labels, word in worst.items() for state in row.states}


def _workers(row: Row, sections: Mapping[str, Mapping[str, Any]]) -> dict[Labels, Value]:
    found = _words(row, sections).items()
    return {(*labels, state): words.count(state) for labels, words in found for state in row.states}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _is_distribution(row: Row) -> Callable[[object], bool]:
    length = len(row.buckets) + 2
    return lambda value: isinstance(value, list) and len(value) == length
