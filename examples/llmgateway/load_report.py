"""What came of a load test: its figures, which targets were missed, and a page that can be kept."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

TARGETS: Final = {"p50": 0.2, "p95": 1.0, "p99": 3.0}
"""Seconds; with a tenth of what the providers are asked failing."""
MOST_ERRORS: Final = 0.001
LEAST_AVAILABILITY: Final = 0.999
BLAMED: Final = ("VALIDATION_ERROR", "NOT_FOUND")
"""Errors that blame the request: the gateway was there."""

ABOUT: Final = """\
Requests arrive at a fixed rate, each at a moment of its own (Poisson), whether those before were answered or not; a
latency counts from the moment when the request was due until its whole answer was there, or it was given up, and so
includes what the load test was late itself. Nobody is spared: all requests count, from the first one on, and whoever
gets no whole answer, or no proper end of a stream, is an error. Every request has 23 words for an answer, for which a
stand-in for a provider takes 0.086 s.

The gateway and the stand-ins share one process, the load test has another, on the same machine; what is said of
resources is that of the gateway's process, the stand-ins included. *Hedges*: second attempts that were started since
the first one was slow or had failed. *Fallbacks*: answers by another provider than the one asked first. *Turns*: a
provider that keeps leaving the answer to the other one is not the first to be asked for 30 s (`turns.py`).

Not in here yet: a cache, adaptive batching and limits on connections come with later parts of seawall."""


@dataclass
class Report:
    """What came of one load test.

    Attributes:
        title: what was the matter during it.
        rate: requests a second that were due.
        seconds: from the first request that was due to the last one that ended.
        durations: seconds from when a request was due until it ended, of all of them.
        first_words: seconds until the first event, of the streams that succeeded.
        outcomes: how requests ended: "ok", or the code of the error, or what happened in the place of an answer.
        misformed: errors that were not in the error format; must be empty.
        behind: the most seconds by which a request was sent too late.
        most_at_once: requests that were under way at the same time.
        figures: what the gateway's metrics say of the run.
        openings: how often which circuit breaker opened.
        struck: for each provider, how many requests it got, and how many of them were struck by which fault.
    """

    title: str = "Load"
    rate: float = 0.0
    seconds: float = 0.0
    durations: list[float] = field(default_factory=list)
    first_words: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    behind: float = 0.0
    most_at_once: int = 0
    misformed: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    openings: dict[str, int] = field(default_factory=dict)
    struck: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.outcomes.total()

    @property
    def error_rate(self) -> float:
        """The share of requests without a whole answer."""
        return 1 - self.outcomes["ok"] / self.requests if self.requests else 1.0

    @property
    def availability(self) -> float:
        """The share of requests that were answered, if with an error that blames the request."""
        answered = self.outcomes["ok"] + sum(self.outcomes[code] for code in BLAMED)
        return answered / self.requests if self.requests else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Returns it as JSON can hold it."""
        return {
            "title": self.title,
            "rate": self.rate,
            "seconds": round(self.seconds, 2),
            "requests": self.requests,
            "throughput": round(self.requests / self.seconds, 1) if self.seconds else 0.0,
            "concurrent_users": round(sum(self.durations) / self.seconds, 1) if self.seconds else 0.0,
            "most_concurrent_users": self.most_at_once,
            "error_rate": round(self.error_rate, 6),
            "availability": round(self.availability, 6),
            "outcomes": dict(self.outcomes),
            "latency": {f"p{share}": round(percentile(self.durations, share), 4) for share in (50, 95, 99)}
            | {"max": round(max(self.durations, default=0.0), 4)},
            "first_word": {f"p{share}": round(percentile(self.first_words, share), 4) for share in (50, 99)},
            "behind": round(self.behind, 4),
            "fallbacks": self.fallbacks,
            "breaker_openings": self.openings,
            "struck": self.struck,
            "misformed": self.misformed[:10],
            **{name: round(value, 3) for name, value in self.figures.items()},
        }

    def missed(self) -> list[str]:
        """Returns the targets that were not met."""
        late = [f"{name} {said}" for name, (_, said, met) in self.judged().items() if not met]
        return late + [f"not in the error format: {each}" for each in self.misformed[:3]]

    def judged(self) -> dict[str, tuple[str, str, bool]]:
        """Returns for each target what it is, what was measured, and whether it is met."""
        found = {}
        for name, limit in TARGETS.items():
            measured = percentile(self.durations, int(name[1:]))
            found[name] = (f"< {limit:g} s", f"{measured:.3f} s", 0 < measured < limit)
        errors, there = self.error_rate, self.availability
        found["errors"] = (f"< {MOST_ERRORS:.1%}", f"{errors:.3%}", errors < MOST_ERRORS)
        found["availability"] = (f"> {LEAST_AVAILABILITY:.1%}", f"{there:.3%}", there > LEAST_AVAILABILITY)
        return found


def percentile(values: Sequence[float], percent: int) -> float:
    """Returns the smallest value that `percent` of all do not exceed; 0 where there are none."""
    ordered = sorted(values)
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else 0.0


def page(reports: Sequence[Report], command: str) -> str:
    """Returns a page of Markdown about some runs, made by `command`."""
    now = datetime.now(UTC)
    facts = {
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "command": f"`{command}`",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    parts = [f"# Load on the LLM gateway, {now:%Y-%m-%d}", _listed(facts), ABOUT]
    for report in reports:
        parts += [f"## {report.title}", _targets(report), _listed(_figures(report))]
    return "\n\n".join(parts) + "\n"


def _listed(said: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in said.items())


def _targets(report: Report) -> str:
    rows = [("target", "asked for", "measured", ""), ("---",) * 4]
    rows += [
        (name, asked, said, "met" if met else "**missed**") for name, (asked, said, met) in report.judged().items()
    ]
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def _figures(report: Report) -> dict[str, str]:
    """Returns what else there is to say of a run, in the order of reading."""
    said, given = report.as_dict(), report.figures.get
    found = {
        "requests": f"{report.requests:,} in {report.seconds:.0f} s, {report.rate:g} due a second, at random moments",
        "throughput": f"{said['throughput']:,.1f} answers a second",
        "concurrent users": f"{said['concurrent_users']:.1f} on average, {report.most_at_once} at most",
        "longest": f"{said['latency']['max']:.3f} s",
        "first word of a stream": f"p50 {said['first_word']['p50']:.3f} s, p99 {said['first_word']['p99']:.3f} s",
        "outcomes": _counted(report.outcomes),
        "faults": "; ".join(f"{name} {_counted(each)}" for name, each in report.struck.items()) or "not known",
        "hedges": f"{given('hedges', 0):,.0f}",
        "fallbacks": f"{report.fallbacks:,}",
        "retries": f"{given('retries', 0):,.0f}",
        "breakers that opened": _counted(report.openings) or "none",
        "refused by full bulkheads": f"{given('bulkhead_rejections', 0):,.0f}",
        "memory": f"{given('memory_bytes', 0) / 2**20:,.0f} MiB at most",
        "open files": f"{given('open_files', 0):,.0f} at most",
        "processor": f"{given('cpu_seconds', 0) / max(report.seconds, 1e-9):.0%} of a core, "
        f"{1000 * given('cpu_seconds', 0) / max(report.requests, 1):.1f} ms a request",
        "load test": f"{report.behind * 1000:.0f} ms late at most, {given('own_cpu_seconds', 0):.1f} s of processor",
    }
    return found


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
