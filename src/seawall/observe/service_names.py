"""TicketWave's own names: the same figures, told by service."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from seawall.observe.instruments import Labels
from seawall.observe.merge import Figures, Value
from seawall.observe.table import TABLE

Translate: TypeAlias = "Callable[[Labels], Labels | None]"

_PART: Final = re.compile(r"\.(?:breaker|retry)[0-9]*$")


def _service(strategy: str) -> str:
    """Returns the service of a strategy: the pipeline after which it was named, else its own name."""
    return _PART.sub("", strategy)


def _opened(labels: Labels) -> Labels | None:
    strategy, state = labels
    return (_service(strategy),) if state == "open" else None


def _retried(labels: Labels) -> Labels:
    """Here the first retry is attempt 1, as in TicketWave's own code."""
    strategy, attempt = labels
    many = attempt.endswith("+")
    number = attempt.removesuffix("+")
    shown = f"{int(number) - 1}{'+' * many}" if number.isdecimal() else attempt
    return _service(strategy), shown


def _same(labels: Labels) -> Labels:
    return labels


_TRANSLATE: Final[dict[str, Translate]] = {"circuit_breaker.opened": _opened, "retry.attempts": _retried}


def derive(figures: Figures) -> Figures:
    """Returns the figures under TicketWave's names."""
    derived: Figures = {}
    for row in TABLE:
        if row.option != "ticketwave" or row.of is None:
            continue
        translate = _TRANSLATE.get(row.name, _same)
        told: dict[Labels, Value] = {}
        for labels, value in figures.get(row.of, {}).items():
            new = translate(labels)
            if new is not None:
                told[new] = _plus(told[new], value) if new in told else value
        derived[row.name] = told
    return derived


def _plus(one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return other if isinstance(one, list) or isinstance(other, list) else one + other
