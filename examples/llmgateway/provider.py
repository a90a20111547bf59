"""How a stand-in for a provider behaves: what it says, how fast, how often it may be asked, and how it fails."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

from seawall import RateLimit

Fault = Literal["error", "overloaded", "busy", "stall", "cut", "stall midway", "error midway"]
"""Before the answer: 500, 503 with Retry-After, 429 with Retry-After, silence. In the middle of a stream: a connection
that is cut, silence, and an event that tells of an error."""
BEFORE: Final[tuple[Fault, ...]] = ("error", "overloaded", "busy", "stall")
WORDS: Final = [
    "A",
    "wall",
    "in",
    "the",
    "sea",
    "takes",
    "the",
    "force",
    "out",
    "of",
    "the",
    "waves,",
    "so",
    "that",
    "what",
    "lies",
    "behind",
    "it",
    "stays",
    "as",
    "it",
    "is.",
]


class Asked(NamedTuple):
    """A request as a provider saw it."""

    key: str | None
    correlation: str | None
    seconds: str | None
    fault: Fault | None
    model: str


@dataclass
class Faults:
    """How often a provider fails, and how.

    Args:
        rate: the share of requests that fail.
        kinds: how; one is picked for each.
        seed: of the chance.
    """

    rate: float = 0.0
    kinds: Sequence[Fault] = BEFORE
    seed: int = 1
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        unknown = set(self.kinds) - set(get_args(Fault))
        if unknown or not self.kinds or not 0 <= self.rate <= 1:
            raise ValueError(f"rate={self.rate!r}, kinds={self.kinds!r}; use 0 to 1, and some of {get_args(Fault)}")
        self.chance = random.Random(self.seed)

    def pick(self) -> Fault | None:
        """Returns how the next request fails; None: not at all."""
        return self.chance.choice(self.kinds) if self.chance.random() < self.rate else None


class Provider:
    """A provider of language models, whose answers are always the same sentence.

    Attributes:
        faults: set them to let it fail.
        asked: the last requests.
        received: how many there were.
        abandoned: how often a client went away before its answer was complete.
        working: requests that are being answered now; `most` at once so far.
    """

    first_word = 0.04
    """Seconds until the first word."""
    word = 0.002
    """Seconds until each further one."""

    def __init__(self, name: str, *, rate: float = 500.0) -> None:
        self.name = name
        self.faults = Faults()
        self.asked: deque[Asked] = deque(maxlen=10_000)
        self.struck: Counter[Fault] = Counter()
        self.received = self.abandoned = 0
        self.working = self.most = 0
        # Its own limit, in requests a second; who asks more often is told to wait.
        self.limit = RateLimit(rate, name=f"{name} stand-in")

    def notice(self, headers: Mapping[str, str], model: str) -> Fault | None:
        """Takes down a request; returns how it is to fail."""
        self.received += 1
        fault = self.faults.pick()
        if fault is not None:
            self.struck[fault] += 1
        key, correlation, seconds = map(headers.get, ("idempotency-key", "x-correlation-id", "x-request-timeout"))
        self.asked.append(Asked(key, correlation, seconds, fault, model))
        return fault

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Counts a request that is being answered, and one that was abandoned."""
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned += 1
            raise
        finally:
            self.working -= 1

    def words(self, most: int) -> list[str]:
        """Returns the answer."""
        return [f"{word} " for word in WORDS[:most]]
