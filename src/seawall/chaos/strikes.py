"""Carries the fault script out on one variant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from seawall.chaos.scenario import Fault, Variant
from seawall.chaos.script import FaultPeriod, Script
from seawall.chaos.together import together, within

LIMIT: Final = 15.0
"""Seconds that a variant has to begin or end a fault."""


class Strikes:
    """Strikes and lifts faults on time. Targets do not wait for one another; on one target all happens in order.

    Args:
        name, variant: what is struck.
        script: the faults.
        periods: told when each fault really begins and ends.
        start: when the load begins, on the clock of the running event loop.
    """

    def __init__(
        self, name: str, variant: Variant, script: Script, periods: Mapping[Fault, FaultPeriod], start: float
    ) -> None:
        self._name = name
        self._variant = variant
        self._script = script
        self._periods = periods
        self._start = start
        self._clock = asyncio.get_running_loop().time
        self._on: list[Fault] = []
        self._lifted: dict[Fault, float] = {}  # by the script, not because the run was cut short

    async def play(self) -> None:
        """Plays the script to its end. Raises ScenarioError where a fault cannot be begun or ended."""
        await together(self._play(target) for target in self._script.targets)

    async def lift_all(self) -> None:
        """Ends what is on, when the run is cut short. Raises ScenarioError where that fails."""
        await together(self._lift(fault) for fault in list(self._on))

    def lifted(self) -> dict[str, float | None]:
        """Returns, for each target, the second at which the script lifted its last fault; None: it did not."""
        last = {fault.target: fault for fault in sorted(self._script.faults, key=lambda fault: fault.ends)}
        return {target: self._lifted.get(fault) for target, fault in last.items()}

    async def _play(self, target: str) -> None:
        for step in self._script.steps(target):
            await asyncio.sleep(self._start + step.at - self._clock())
            if step.action == "strike":
                await self._strike(step.fault)
            else:
                await self._lift(step.fault)
                self._lifted[step.fault] = self._now

    async def _strike(self, fault: Fault) -> None:
        self._on.append(fault)  # before it is there: one that is cut short half done must be lifted too
        self._periods[fault].strike(self._now)
        await within(LIMIT, self._trouble("begin", fault), self._variant.strike(fault))

    async def _lift(self, fault: Fault) -> None:
        await within(LIMIT, self._trouble("end", fault), self._variant.lift(fault))
        self._on.remove(fault)
        self._periods[fault].lift(self._now)

    @property
    def _now(self) -> float:
        return self._clock() - self._start

    def _trouble(self, verb: str, fault: Fault) -> str:
        return f"variant {self._name!r} could not {verb} {fault.kind!r} on {fault.target!r}"
