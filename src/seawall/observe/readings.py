"""States: what is read when somebody looks, and never counted along the way. Looking changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seawall.observe.instruments import MOST_SERIES, OTHER, Labels
from seawall.observe.table import ROWS


class Readings:
    """Gauges and states of one process at one moment, at most 200 label sets of each; the others are one, `other`.

    A state is written down as the word that it is in, under the labels without `state`.
    """

    def __init__(self) -> None:
        self._gauges: dict[str, dict[Labels, float]] = {}
        self._states: dict[str, dict[Labels, str]] = {}

    def gauge(self, name: str, value: float | None, *labels: str) -> None:
        """Takes note of a value; None: there is none."""
        if value is None:
            return
        values = self._gauges.setdefault(name, {})
        key = _room(values, labels)
        if key not in values:
            values[key] = value
        else:
            values[key] = max(values[key], value) if ROWS[name].merge == "max" else values[key] + value

    def state(self, name: str, word: str, *labels: str) -> None:
        """Takes note of a state; a word that the table does not have is left out."""
        order = ROWS[name].states
        if word not in order:
            return
        words = self._states.setdefault(name, {})
        key = _room(words, labels)
        words[key] = min(words.get(key, word), word, key=order.index)

    def gauges(self) -> dict[str, dict[str, float]]:
        """Returns the gauges: `{name: {series: value}}`."""
        return _keyed(self._gauges)

    def states(self) -> dict[str, dict[str, str]]:
        """Returns the states: `{name: {series: word}}`."""
        return _keyed(self._states)


def _room(values: Mapping[Labels, Any], labels: Labels) -> Labels:
    return labels if labels in values or len(values) < MOST_SERIES else (OTHER,) * len(labels)


def _keyed(values: Mapping[str, Mapping[Labels, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {json.dumps(labels): value for labels, value in each.items()} for name, each in values.items()}
