"""A copy of a strategy was half another one: its own name, and the same or a broken state."""

import copy
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, Fallback, Hedge, RateLimit, Retry, Timeout

MAKE: list[Any] = [
    lambda: Retry(on=OSError),
    lambda: CircuitBreaker(failures=1),
    lambda: Timeout(1),
    lambda: Bulkhead(1),
    lambda: RateLimit(1),
    lambda: Fallback(1, on=OSError),
    lambda: Hedge(),
]


@pytest.mark.parametrize("make", MAKE)
def test_a_copy_is_the_strategy_itself(make: Any) -> None:
    """Copied and deep-copied, alone and within something else that is copied."""
    strategy = make()
    assert strategy is copy.copy(strategy)
    assert strategy is copy.deepcopy(strategy)
    assert strategy is copy.deepcopy({"policy": [strategy]})["policy"][0]


def test_settings_that_hold_one_can_be_taken_apart() -> None:
    """`dataclasses.asdict` makes deep copies."""

    @dataclass
    class Settings:
        slots: Bulkhead

    slots = Bulkhead(1)
    assert slots is asdict(Settings(slots))["slots"]
