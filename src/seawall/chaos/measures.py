"""The measures of a run, computed from what was recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from seawall.chaos.record import ENDINGS, UNAVAILABLE, Ending, Record, Request
from seawall.chaos.scenario import Counts


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one variant.

    Attributes:
        requests: requests that ended, or that were given up.
        availability: the share of them that got an answer of use, from 0 to 1, rounded down: 1 means all; None where
            there were none.
        p50, p95, p99: seconds, over all requests, those given up with the time until then; the nearest rank, so always
            one that was measured; None where there were none.
        wasted_calls, retries, breaker_openings, fallbacks: see `Counts`.
        recovery_seconds: for each target, from the moment when its last fault was lifted to the first fresh answer of a
            request due after that; the longest of them; None where nothing was struck or a target did not recover.
        further: the scenario's own measures.
    """

    requests: int
    availability: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    wasted_calls: int
    retries: int
    breaker_openings: int
    fallbacks: int
    recovery_seconds: float | None
    further: Mapping[str, int]

    def as_dict(self) -> dict[str, int | float | None]:
        """Returns the figures by name, those of the scenario last."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "further"}
        return {**own, **self.further}


MEASURES = frozenset(field.name for field in fields(Measures))
"""Names that a scenario's own measures cannot have."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One part of the time line: the requests that were due in it.

    Attributes:
        begins, ends: seconds of the load.
        endings: how many requests ended in which way.
        p95: seconds; None where no request was due.
    """

    begins: float
    ends: float
    endings: Mapping[Ending, int]
    p95: float | None


def measure(record: Record, counts: Counts, lifted: Mapping[str, float | None]) -> Measures:
    """Returns the measures of a variant.

    Args:
        record: its requests, `settled`.
        counts: what it counted itself.
        lifted: for each target that is struck, the second at which its last fault was lifted; None: it was not.
    """
    requests = len(record.requests)
    return Measures(
        requests=requests,
        availability=_share(record.available, requests),
        p50=percentile(record.latencies, 50),
        p95=percentile(record.latencies, 95),
        p99=percentile(record.latencies, 99),
        wasted_calls=counts.wasted_calls,
        retries=counts.retries,
        breaker_openings=counts.breaker_openings,
        fallbacks=counts.fallbacks,
        recovery_seconds=recovery(record.requests, lifted),
        further=dict(counts.further),
    )


def settled(record: Record, unsettled: frozenset[str]) -> Record:
    """Returns the record with the pending requests whose reference is in `unsettled` as such."""
    known = Record(record.seconds, record.expected)
    known.failures = record.failures
    for request in record.requests:
        broken = request.ending == "pending" and request.reference in unsettled
        known.add(replace(request, ending="unsettled") if broken else request)
    return known


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Returns the smallest of the ordered values that `percent` of them do not exceed; None where there are none."""
    rank = -(-percent * len(ordered) // 100)  # rounded up, without the errors of fractions
    return round(ordered[rank - 1], 4) if ordered else None


def recovery(requests: Iterable[Request], lifted: Mapping[str, float | None]) -> float | None:
    """Returns the longest time that a target took to give a fresh answer again; see `Measures.recovery_seconds`."""
    first: dict[str, float] = {}
    for request in requests:
        target = request.target
        since = None if target is None else lifted.get(target)
        if target is None or since is None or request.ending != "fresh" or request.due < since:
            continue
        first[target] = min(first.get(target, math.inf), request.ended - since)
    if not lifted or first.keys() != lifted.keys():
        return None
    return round(max(first.values()), 3)


def timeline(record: Record) -> tuple[Bin, ...]:
    """Returns the requests of a record part by part."""
    width = record.seconds / len(record.bins)
    latencies: list[list[float]] = [[] for _ in record.bins]
    for request in record.requests:
        latencies[record.bin_of(request.due)].append(request.latency)
    return tuple(
        Bin(number * width, (number + 1) * width, _in_order(endings), percentile(sorted(latencies[number]), 95))
        for number, endings in enumerate(record.bins)
    )


def available(endings: Mapping[Ending, int]) -> int:
    """Returns how many of some requests got an answer of use."""
    return sum(count for ending, count in endings.items() if ending not in UNAVAILABLE)


def _in_order(endings: Counter[Ending]) -> dict[Ending, int]:
    return {ending: endings[ending] for ending in ENDINGS if endings[ending]}


def _share(part: int, whole: int) -> float | None:
    return math.floor(part * 10_000 / whole) / 10_000 if whole else None
