"""Which pipeline a strategy belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seawall._core.names import NAMES
from seawall._pipeline.pipeline import Pipeline


class Owners:
    """Strategy name -> pipeline name, as of the last look at what is alive."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._known: frozenset[str] = frozenset()

    def look(self, listed: Mapping[str, Any]) -> None:
        """Learns from everything that is alive, where that is not what it was."""
        if listed.keys() != self._known:
            self._known = frozenset(listed)
            self._learn(listed)

    def _learn(self, listed: Mapping[str, Any]) -> None:
        self._owners = {
            strategy.name: thing.name
            for thing in listed.values()
            if isinstance(thing, Pipeline)
            for strategy in thing.strategies
        }

    def pipeline_of(self, strategy: str) -> str:
        """Returns the pipeline of a strategy; empty for one that stands alone."""
        owner = self._owners.get(strategy)
        if owner is None:
            self._learn(NAMES.listed())
            owner = self._owners.setdefault(strategy, "")
        return owner
