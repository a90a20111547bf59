"""The budgets, as data: section 8 of the design, "Performance budget", and how a figure is judged by one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from benchmarks.contenders.embedded import PEER
from benchmarks.contenders.five import GLUED, PLAIN
from benchmarks.contenders.postgresql import BY_HAND
from benchmarks.measure import Result


@dataclass(frozen=True)
class Budget:
    """A bound on seawall's figure in one row.

    Kinds: *times*: at most `limit` times the figure of `against`; *beyond*: at most `limit` bare calls more than
    `against`; *faster*: at least `limit` times faster than `against`; *at most*: `limit`, in the row's own unit.
    """

    kind: Literal["times", "beyond", "faster", "at most"]
    limit: float
    against: str = "bare"
    unit: str = ""

    def __str__(self) -> str:
        limit = f"{self.limit:,g}"
        match self.kind:
            case "times":
                return f"{limit} x {self.against}"
            case "beyond":
                return f"+ {limit} x bare"
            case "faster":
                return f"{limit} x faster than {self.against}"
            case _:
                return f"{limit} {self.unit}"

    def judge(self, result: Result) -> Verdict:
        """Judges a row."""
        figures = result.figures
        needed = {"seawall"} if self.kind == "at most" else {"seawall", self.against}
        if self.kind == "beyond":
            needed.add("bare")
        lacking = sorted(needed - figures.keys())
        if lacking:
            return Verdict(self, None, 0.0, f"not judged: no {', '.join(lacking)}")
        own = figures["seawall"].low
        if self.kind == "at most":
            measured = own
        elif self.kind == "beyond":
            measured = (own - figures[self.against].low) / figures["bare"].low
        elif self.kind == "times":
            measured = own / figures[self.against].low
        else:
            measured = figures[self.against].low / own
        over = self.limit / measured - 1 if self.kind == "faster" else measured / self.limit - 1
        text = "ok" if over <= 0 else f"over by {100 * over:,.1f} %"
        return Verdict(self, measured, max(0.0, over), text)


@dataclass(frozen=True)
class Verdict:
    """How a row does by one budget. `over` is the share by which it is exceeded."""

    budget: Budget
    measured: float | None
    over: float
    text: str


def judged(key: str, result: Result) -> list[Verdict]:
    """Returns the verdicts on a row; none where it has no budget."""
    return [budget.judge(result) for budget in BUDGETS.get(key, [])]


NEW = sys.version_info >= (3, 13)

BUDGETS: dict[str, list[Budget]] = {
    "retry-sync": [Budget("times", 4)],
    "retry-async": [Budget("times", 4)],
    "breaker-sync": [Budget("times", 8)],
    "breaker-async": [Budget("times", 5)],
    "bulkhead-async": [Budget("times", 5)],
    "timeout-async": [Budget("times", 12)],
    "five-async": [
        Budget("times", 12.5 if NEW else 16),
        Budget("faster", 7, "nopanic"),
        Budget("faster", 25, GLUED),
    ],
    "five-rate-async": [Budget("beyond", 6, PLAIN)],
    "five-metrics-async": [Budget("beyond", 7, PLAIN)],
    "five-instruments-async": [Budget("beyond", 7, PLAIN)],
    "five-untimed-sync": [Budget("times", 16), Budget("faster", 5, "nopanic"), Budget("faster", 5, "pyresilience")],
    "rejection-sync": [Budget("times", 0.7, "circuitbreaker")],
    "rejection-async": [Budget("times", 0.7, "circuitbreaker")],
    "web-p50": [Budget("at most", 60, unit="µs")],
    "web-p99": [Budget("at most", 5000, unit="µs")],
    "memory": [Budget("at most", 2048, unit="B")],
    "import": [Budget("at most", 25, unit="ms")],
    "pipelines": [Budget("at most", 1.5, unit="x")],
    "in-flight": [Budget("at most", 1.5, unit="x")],
    "idempotent-embedded": [Budget("times", 3.33, PEER)],  # at least 30 % of its calls a second
    "transaction-sync": [Budget("times", 1.43, BY_HAND)],  # at least 70 % of the same by hand
    "transaction-async": [Budget("times", 1.43, BY_HAND)],
    "idempotent-postgresql": [Budget("times", 1.43, BY_HAND)],
}
