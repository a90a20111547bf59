"""Strips of characters over time: a row of columns, each a part of the run. Their shapes tell as much as colours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from seawall.chaos.measures import available
from seawall.chaos.record import Ending
from seawall.chaos.scenario import Fault

PARTLY: Final = "▁▂▃▄▅▆▇"
LEGEND: Final = Text.assemble(
    ("█", "green"),
    (" fresh  ", "dim"),
    ("▓", "yellow"),
    (" some cached, fallback, pending  ", "dim"),
    ("▃", "red"),
    (" some of no use  ", "dim"),
    ("×", "bold red"),
    (" all of no use", "dim"),
)


def strip(bins: Sequence[Mapping[Ending, int]], room: int) -> Text:
    """Returns how the requests of a variant ended over time.

    Args:
        bins: the parts of the run.
        room: the most columns that there are; neighbouring parts share one where that is too few.
    """
    share = _share(len(bins), room)
    text = Text(no_wrap=True)
    for first in range(0, len(bins), share):
        together: Counter[Ending] = Counter()
        for part in bins[first : first + share]:
            together.update(part)
        text.append(*_column(together))
    return text


def faults_strip(faults: Sequence[Fault], bins: int, room: int) -> Text:
    """Returns when there are how many faults, by the script, in columns that match those of `strip`."""
    columns = math.ceil(bins / _share(bins, room))
    text = Text(no_wrap=True, style="magenta")
    for column in range(columns):
        begins, ends = column / columns, (column + 1) / columns
        there = sum(fault.begins < ends and fault.ends > begins for fault in faults)
        text.append("·" if not there else str(there) if there < 10 else "+")
    return text


def _share(bins: int, room: int) -> int:
    return math.ceil(bins / max(1, room))


def _column(endings: Mapping[Ending, int]) -> tuple[str, str]:
    """Returns a character and its style for some requests."""
    total, good = sum(endings.values()), available(endings)
    if not total:
        return "·", "dim"
    if not good:
        return "×", "bold red"
    if good < total:
        return PARTLY[min(len(PARTLY) - 1, int(good / total * len(PARTLY)))], "red"
    return ("█", "green") if endings.get("fresh", 0) == total else ("▓", "yellow")
