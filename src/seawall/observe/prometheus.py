"""Prometheus' text format 0.0.4, as its documentation has it ("Exposition formats")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from seawall.observe.instruments import Labels
from seawall.observe.merge import Figures, Value
from seawall.observe.table import ROWS, Row

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TYPES: Final = {"counter": "counter", "histogram": "histogram", "gauge": "gauge", "state": "gauge"}


def to_text(figures: Figures) -> str:
    """Returns figures as text: each family once, families by name, series by label values, the same ones every time."""
    rows = sorted((ROWS[name] for name, series in figures.items() if series), key=lambda row: row.prometheus)
    return "".join(line for row in rows for line in _family(row, figures[row.name]))


def _family(row: Row, series: Mapping[Labels, Value]) -> Iterator[str]:
    yield f"# HELP {row.prometheus} {_escape(row.description)}.\n"
    yield f"# TYPE {row.prometheus} {_TYPES[row.kind]}\n"
    for labels, value in sorted(series.items()):
        pairs = [f'{name}="{_quoted(label)}"' for name, label in zip(row.labels, labels, strict=True) if label]
        if isinstance(value, list):
            yield from _histogram(row, pairs, value)
        else:
            yield f"{row.prometheus}{_braced(pairs)} {_number(value)}\n"


def _histogram(row: Row, pairs: list[str], value: list[float]) -> Iterator[str]:
    *counts, total = value
    running = list(accumulate(counts))
    for bound, count in zip((*row.buckets, math.inf), running, strict=True):
        limited = _braced([*pairs, f'le="{_number(bound)}"'])
        yield f"{row.prometheus}_bucket{limited} {_number(count)}\n"
    yield f"{row.prometheus}_sum{_braced(pairs)} {_number(total)}\n"
    yield f"{row.prometheus}_count{_braced(pairs)} {_number(running[-1])}\n"


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _escape(text: str) -> str:
    """Escapes what would end a line. Half a surrogate pair is no UTF-8 and becomes a question mark."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").encode("utf-8", "replace").decode()


def _quoted(text: str) -> str:
    return _escape(text).replace('"', '\\"')
