"""What a storm is about: a system that is run in two ways, the faults that strike it, the requests that it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal

from seawall._core import arguments
from seawall._core.errors import SeawallError


class ScenarioError(SeawallError):
    """A scenario could not be run: a variant did not start, a fault could not be made, the script makes no sense."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What both variants meet alike.

    Args:
        seconds: the length of the load, above 0.
        rate: requests a second, for each variant, above 0; they are sent at fixed moments, however long answers take.
        seed: fixes what a scenario leaves to chance.
    """

    seconds: float
    rate: float
    seed: int

    def __post_init__(self) -> None:
        arguments.seconds("seconds", self.seconds)
        arguments.number("rate", self.rate, least=0, above=True)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise TypeError(f"seed={self.seed!r} is not a whole number; use one such as 1")


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the fault script.

    Args:
        target: the dependency that it strikes, such as "catalog".
        kind: the scenario's own word for what is done to it, such as "refuse" or "errors".
        begins, ends: shares of the run, `0 <= begins < ends <= 1`.
        says: one line for people, such as "refuses every connection".
    """

    target: str
    kind: str
    begins: float
    ends: float
    says: str

    def __post_init__(self) -> None:
        for argument, example in (("target", "catalog"), ("kind", "refuse"), ("says", "refuses every connection")):
            value = getattr(self, argument)
            if not isinstance(value, str):
                raise TypeError(f"{argument}={value!r} is not a text; use one such as {example!r}")
            if not value.strip():
                raise ValueError(f"{argument}={value!r} is empty; use a text such as {example!r}")
        arguments.number("begins", self.begins, least=0, most=1)
        arguments.number("ends", self.ends, least=0, most=1)
        if self.ends <= self.begins:
            raise ValueError(
                f"ends={self.ends!r} is not after begins={self.begins!r}; use a share of the run above begins, up to 1"
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request, as its caller sees it.

    Args:
        outcome: "fresh", "cached" (an older answer), "fallback" (a substitute), "pending" (accepted, and done later) or
            "failed".
        target: the dependency that a fresh answer came from, for recovery times.
        reference: of a pending answer: what it is called when it is settled.
    """

    outcome: Literal["fresh", "cached", "fallback", "pending", "failed"]
    target: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What a variant counted itself, from the moment when it was warm.

    Args:
        wasted_calls: calls to a dependency that brought no usable answer: errors, time-outs, refusals by the network,
            5xx, 429.
        retries: calls that repeated another one.
        breaker_openings: how often a circuit breaker opened.
        fallbacks: answers that were substitutes.
        further: the scenario's own measures, each a number of things that should not happen, such as
            `{"double_charges": 0}`: less is better.
        unsettled: references of pending answers that were not settled by the end.
    """

    wasted_calls: int
    retries: int
    breaker_openings: int
    fallbacks: int
    further: Mapping[str, int] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()


class Variant(ABC):
    """One way of running the system."""

    async def warm(self) -> None:
        """Brings the variant to its usual state before the clock starts: connections open, caches warm."""
        return

    @abstractmethod
    async def strike(self, fault: Fault) -> None:
        """Begins a fault."""

    @abstractmethod
    async def lift(self, fault: Fault) -> None:
        """Ends a fault. Also called for one whose `strike` was cut short."""

    @abstractmethod
    async def send(self, number: int) -> Answer:
        """Sends one request. Many run at once; an exception counts as failed; may be cancelled.

        Args:
            number: which request, from 0; both variants get the same numbers at the same moments.
        """

    @abstractmethod
    async def counts(self) -> Counts:
        """Returns the counts as of now."""

    @abstractmethod
    async def finish(self) -> Counts:
        """Settles what is pending, for a bounded time, and returns the counts.

        The load is over and the faults are lifted. When the run was cut short it has 5 s, else 60 s.
        """


class Scenario(ABC):
    """A system, the two ways of running it that are compared, and what befalls both.

    Attributes:
        name: a short name.
        says: one or two sentences about the system and its variants.
        rate: the rate of requests to use unless told otherwise, in requests a second.
        usable_within: seconds after which an answer is of no use; default 2.
    """

    name: str
    says: str
    rate: float
    usable_within: float = 2.0

    @abstractmethod
    def faults(self, conditions: Conditions) -> Sequence[Fault]:
        """Returns the fault script. Faults of different targets or kinds may overlap."""

    def notes(self, conditions: Conditions) -> Sequence[str]:
        """Returns lines that people should know when they read the figures; none by default."""
        return ()

    @abstractmethod
    def variants(self, conditions: Conditions) -> Mapping[str, AbstractAsyncContextManager[Variant]]:
        """Returns the two ways of running the system by name, the one to compare with first.

        Each is entered and left once, in one and the same task; leaving it must end all that it started.
        """
