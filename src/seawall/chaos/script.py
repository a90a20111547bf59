"""The fault script of a run: which faults, in which order, and when each really struck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seawall.chaos.scenario import Fault


@dataclass(slots=True)
class FaultPeriod:
    """A fault, and when it really was there.

    Attributes:
        fault: the entry of the script.
        began: the second of the load at which the first variant was struck; None: not yet, or never.
        ended: the second at which it had been lifted from every variant; None: not yet.
    """

    fault: Fault
    began: float | None = None
    ended: float | None = None
    _struck: int = 0  # variants on which it is now

    @property
    def on(self) -> bool:
        """Whether it is there now."""
        return self._struck > 0

    def strike(self, now: float) -> None:
        """Notes that it has begun for a variant."""
        self._struck += 1
        self.began = now if self.began is None else self.began
        self.ended = None

    def lift(self, now: float) -> None:
        """Notes that it has ended for a variant."""
        self._struck -= 1
        if not self._struck:
            self.ended = now


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of the script: at a second of the load, a fault begins or ends."""

    at: float
    action: Literal["strike", "lift"]
    fault: Fault


class Script:
    """The faults of a run, checked.

    Args:
        faults: the scenario's faults.
        seconds: the length of the load that their shares refer to.

    Raises:
        TypeError: something else than a Fault is among them.
        ValueError: two faults of one kind overlap on one target.
    """

    def __init__(self, faults: Sequence[Fault], seconds: float) -> None:
        for fault in faults:
            if not isinstance(fault, Fault):
                raise TypeError(
                    f"faults holds {fault!r}, which is no fault; use Fault(target, kind, begins, ends, says)"
                )
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.begins, fault.ends)))
        self.seconds = seconds
        for number, fault in enumerate(self.faults):
            for later in self.faults[number + 1 :]:
                if (fault.target, fault.kind) == (later.target, later.kind) and later.begins < fault.ends:
                    raise ValueError(
                        f"begins={later.begins!r} of {later.kind!r} on {later.target!r} lies within the same fault, "
                        f"from {fault.begins!r} to {fault.ends!r}; begin it there or later, or make them one"
                    )

    @property
    def targets(self) -> tuple[str, ...]:
        """The dependencies that are struck, in the order of their first faults."""
        return tuple(dict.fromkeys(fault.target for fault in self.faults))

    def steps(self, target: str) -> Iterator[Step]:
        """Yields what happens to a target, in order: at one moment, what ends comes before what begins."""
        lifts = [Step(fault.ends * self.seconds, "lift", fault) for fault in self.faults if fault.target == target]
        strikes = [
            Step(fault.begins * self.seconds, "strike", fault) for fault in self.faults if fault.target == target
        ]
        yield from sorted([*lifts, *strikes], key=lambda step: step.at)  # a stable sort: lifts stay first

    def most_at_once(self) -> int:
        """Returns how many faults there are at most at the same time."""
        begins = [fault.begins for fault in self.faults]
        return max((sum(other.begins <= begin < other.ends for other in self.faults) for begin in begins), default=0)
