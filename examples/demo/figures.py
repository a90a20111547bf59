"""The figures of a run, computed from what was recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from examples.demo.traffic import Call, Variant
from seawall import CircuitChanged, Event, FellBack, Pipeline, Retried


@dataclass(frozen=True, slots=True)
class Figures:
    """What is reported of a variant: `availability` and `fresh` in percent of the requests, times in seconds.

    Available is an answer, fresh or the last known one, within 2 s of when the request was due. `calls_reached` counts
    the requests that reached the server while it was broken, `recovery_seconds` from when it was healthy again until
    the variant gave fresh answers only, judged by the requests due from then on (None: not seen).
    """

    requests: int
    availability: float
    fresh: float
    p50: float
    p95: float
    p99: float
    calls_reached: int
    retries: int
    breaker_openings: int
    fallbacks: int
    recovery_seconds: float | None


class Tally:
    """Counts what a pipeline tells of: retries, openings of the breaker, fallbacks."""

    def __init__(self, pipeline: Pipeline | None = None) -> None:
        self.counts: Counter[type[Event]] = Counter()
        if pipeline is not None:
            pipeline.listen(self, Retried, CircuitChanged, FellBack)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, CircuitChanged) or event.new == "open":
            self.counts[type(event)] += 1


def figures(variant: Variant, tally: Tally, calls_reached: int, healed: float | None) -> Figures:
    """Returns the figures of a variant; `healed`: the second at which the server was healthy again."""
    latencies = sorted(call.latency for call in variant.ended)
    return Figures(
        requests=len(latencies),
        availability=_percent(variant.usable, len(latencies)),
        fresh=_percent(variant.outcomes["fresh"], len(latencies)),
        p50=percentile(latencies, 0.50),
        p95=percentile(latencies, 0.95),
        p99=percentile(latencies, 0.99),
        calls_reached=calls_reached,
        retries=tally.counts[Retried],
        breaker_openings=tally.counts[CircuitChanged],
        fallbacks=tally.counts[FellBack],
        recovery_seconds=None if healed is None else recovery(variant.ended, healed),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the smallest of the ordered values that `share` of them do not exceed; 0 where there are none."""
    return round(ordered[math.ceil(share * len(ordered)) - 1], 4) if ordered else 0.0


def recovery(calls: Sequence[Call], healed: float) -> float | None:
    """Returns the seconds from `healed` to the first fresh answer after which every answer was fresh."""
    after = [call for call in calls if call.due >= healed]
    bad = [call.ended for call in after if call.outcome != "fresh"]
    good = [call.ended for call in after if call.outcome == "fresh" and call.ended > max(bad, default=0.0)]
    return round(min(good) - healed, 3) if good else None


def _percent(part: int, whole: int) -> float:
    """Returns a percentage, rounded down: 100 means all of them."""
    return math.floor(10_000 * part / whole) / 100 if whole else 0.0
