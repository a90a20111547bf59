"""Spans of time on a command line: 90s, 30m, 2h, 1d."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import click

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|m|h|d|)", re.ASCII)
LONGEST: Final = 366 * 86400.0


class Span(click.ParamType[float]):
    """Seconds, as a number with s, m, h or d; without one, seconds are meant.

    Args:
        least: the fewest seconds.
        never: whether "never" is one of them, which becomes infinity.
    """

    name = "time"

    def __init__(self, *, least: float, never: bool = False) -> None:
        self._least, self._never = least, never

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the seconds that a text stands for."""
        if self._never and value == "never":
            return math.inf
        found = _SPAN.fullmatch(str(value))
        seconds = float(found[1]) * _UNITS[found[2]] if found else -1.0
        if not self._least <= seconds <= LONGEST:
            never = ", or never" if self._never else ""
            self.fail(f"{value!r} is no time; use {self._least:g}s to 366d, such as 90s, 30m, 2h{never}.", param, ctx)
        return seconds
