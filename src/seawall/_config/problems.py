"""What is wrong with a configuration: everything at once, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seawall._core.errors import SeawallError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: the file, or the environment variable, that says so.
        key: where in it, with dots: policies.rates.retry.max_attempts.
        value: what is written there, as Python shows it.
        reason: why that cannot be, and what would be right.
    """

    source: str
    key: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key} = {self.value}: {self.reason}"


class PolicyError(SeawallError, ValueError):
    """A configuration that cannot be used. Nothing of it was put in force.

    Attributes:
        problems: everything that is wrong with it.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        number = len(self.problems)
        head = "1 problem" if number == 1 else f"{number} problems"
        return "\n  ".join([f"the policies cannot be used, {head}:", *map(str, self.problems)])
