"""Sums that outlive their worker: how they are written down, checked and added up.

A section of a snapshot may hold `counters`: `{name: {series: amount}}`. An amount is a number, or a list of numbers
that are added one by one; a series is the JSON text of a list of label values. Amounts only grow while a worker lives.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from seawall._runtime.complaints import complain

Amount: TypeAlias = "int | float | list[int | float]"
Series: TypeAlias = "dict[str, Amount]"
Counters: TypeAlias = "dict[str, Series]"
Sections: TypeAlias = "dict[str, Counters]"

MOST: Final = 1000
"""Series of one name that are kept of the dead; those beyond are added up as `other`."""


def counters_of(snapshot: dict[str, Any]) -> Sections:
    """Returns the counters of each section of a snapshot, without what is no amount: others may have written it."""
    found: Sections = {}
    for section, content in snapshot.get("sections", {}).items():
        counters = content.get("counters") if isinstance(content, dict) else None
        if isinstance(counters, dict):
            found[section] = checked(counters)
    return found


def checked(counters: dict[Any, Any]) -> Counters:
    """Returns counters without what is no amount."""
    return {
        name: {key: amount for key, amount in series.items() if _is_amount(amount)}
        for name, series in counters.items()
        if isinstance(series, dict)
    }


def _is_amount(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_number(each) for each in value)
    return _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def add_sections(into: Sections, more: Sections) -> None:
    """Adds the counters of every section."""
    for section, counters in more.items():
        add(into.setdefault(section, {}), counters)


def add(into: Counters, more: Counters, *, most: int | None = MOST) -> None:
    """Adds counters to others, in place; `most` bounds the series of one name."""
    for name, series in more.items():
        sums = into.setdefault(name, {})
        for key, amount in series.items():
            if key not in sums and most is not None and len(sums) >= most:
                key = _other(key)
            sums[key] = _plus(name, sums[key], amount) if key in sums else amount


def _plus(name: str, sum_: Amount, more: Amount) -> Amount:
    if isinstance(sum_, list) and isinstance(more, list) and len(sum_) == len(more):
        return [a + b for a, b in zip(sum_, more, strict=True)]
    if isinstance(sum_, list) or isinstance(more, list):
        complain(f"counters of {name!r} have different shapes, as of different versions; the older ones are dropped")
        return more
    return sum_ + more


def _other(key: str) -> str:
    """Returns the series that stands for all beyond the bound."""
    try:
        labels = json.loads(key)
    except (ValueError, RecursionError):
        labels = None
    return json.dumps(["other"] * len(labels)) if isinstance(labels, list) else "other"
