"""All instruments of one process, made from the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from seawall.observe.instruments import Counter, Gauge, Histogram, Instrument
from seawall.observe.table import ROWS, TABLE, Row

I = TypeVar("I", Counter, Gauge, Histogram)  # noqa: E741 - the letter that it begins with


class Instruments:
    """The instruments of the table: all but states, which are read, and what is derived from others."""

    def __init__(self) -> None:
        self._made = {row.name: _make(row) for row in TABLE if row.kind != "state" and row.option is None}

    def each(self) -> Iterator[tuple[Row, Instrument]]:
        """Gives every instrument with its row."""
        for name, instrument in self._made.items():
            yield ROWS[name], instrument

    def get(self, name: str, kind: type[I]) -> I:
        """Returns an instrument. Raises LookupError for a name that is not in the table, TypeError for another kind."""
        instrument = self._made.get(name)
        if instrument is None:
            raise LookupError(f"there is no instrument {name!r}; use one of {', '.join(sorted(self._made))}")
        if not isinstance(instrument, kind):
            raise TypeError(f"{name!r} is a {type(instrument).__name__}, not a {kind.__name__}")
        return instrument

    def counts(self) -> dict[str, dict[str, Any]]:
        """Returns all counters and histograms as of now: `{name: {series: amount}}`."""
        return {
            name: {series.key: series.read() for series in instrument.series()}
            for name, instrument in self._made.items()
            if not isinstance(instrument, Gauge)
        }

    def values(self) -> dict[str, dict[str, float]]:
        """Returns all gauges as of now: `{name: {series: value}}`."""
        return {
            name: {series.key: series.read() for series in instrument.series()}
            for name, instrument in self._made.items()
            if isinstance(instrument, Gauge)
        }


def _make(row: Row) -> Instrument:
    if row.kind == "counter":
        return Counter(row.name, row.attributes)
    if row.kind == "histogram":
        return Histogram(row.name, row.attributes, row.buckets)
    return Gauge(row.name, row.attributes)
