"""What is kept of the requests of one variant: each with its latency and outcome, and sums for the view."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

Ending: TypeAlias = Literal["fresh", "cached", "fallback", "pending", "unsettled", "late", "failed"]
"""How a request ended: the outcome of its answer, or late, or, for a promise that was not kept, unsettled."""

ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)
UNAVAILABLE: Final = frozenset[Ending](("unsettled", "late", "failed"))
BINS: Final = 60
"""The most parts that a time line has."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its caller saw it.

    Attributes:
        due: the second of the load at which it was to be sent.
        latency: seconds from then until it ended, so that a delay in sending it counts too.
        ending: how it ended.
        target, reference: as in `Answer`.
    """

    due: float
    latency: float
    ending: Ending
    target: str | None = None
    reference: str | None = None

    @property
    def ended(self) -> float:
        """The second of the load at which it ended."""
        return self.due + self.latency


class Record:
    """The requests of one variant that have ended, in the order in which they did.

    Args:
        seconds: the length of the load.
        expected: how many requests it has.
    """

    def __init__(self, seconds: float, expected: int) -> None:
        self.seconds = seconds
        self.expected = expected
        self.requests: list[Request] = []
        self.latencies: list[float] = []  # in ascending order
        self.endings: Counter[Ending] = Counter()
        self.failures: Counter[str] = Counter()  # what failed requests raised, by class
        self.bins: list[Counter[Ending]] = [Counter() for _ in range(_bins(expected))]

    def add(self, request: Request) -> None:
        """Keeps a request that has ended."""
        self.requests.append(request)
        insort(self.latencies, request.latency)
        self.endings[request.ending] += 1
        self.bins[self.bin_of(request.due)][request.ending] += 1

    def bin_of(self, due: float) -> int:
        """Returns the index of the bin that a second of the load belongs to."""
        return min(len(self.bins) - 1, int(due / self.seconds * len(self.bins) + 1e-9))

    @property
    def available(self) -> int:
        """Requests that got an answer of use, as far as is known before what is pending has been settled."""
        return len(self.requests) - sum(self.endings[ending] for ending in UNAVAILABLE)


def _bins(expected: int) -> int:
    """Returns a number of bins that as many requests are due in each of; where none of some 30 to 60 does, 60."""
    fitting = [bins for bins in range(BINS, BINS // 2 - 1, -1) if expected % bins == 0]
    return max(1, min(expected, fitting[0] if fitting else BINS))
