"""The nth strategy of one name looked at all the n numbers before its own."""

import weakref
from typing import Any

import pytest

from seawall import Timeout
from seawall._core import strategy
from seawall._core.names import Names

MANY = 10_000
LOOKUPS = 100 * MANY


class Counting(weakref.WeakValueDictionary[str, Any]):
    """Counts how often it is asked."""

    asked = 0

    def get(self, *args: Any) -> Any:
        """Looks up, at most so often."""
        self.asked += 1
        assert self.asked <= LOOKUPS, "takes more than linear time"
        return super().get(*args)

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        assert self.asked <= LOOKUPS, "takes more than linear time"
        return super().__contains__(key)


def work() -> None:
    """A function that gives its name to many strategies."""


def test_many_strategies_of_one_name_are_made_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those are that decorate one function; each is listed under a name of its own."""
    names = Names()
    listed = names._listed = Counting()
    monkeypatch.setattr(strategy, "NAMES", names)
    made = [Timeout(1) for _ in range(MANY)]
    for each in made:
        each(work)
    assert {"work"} == {each.name for each in made}
    assert MANY == len(names.listed())
    assert LOOKUPS > listed.asked
    del made[9_000:], each
    assert 9_000 == len(names.listed())
    made += [Timeout(1) for _ in range(1_000)]
    for timeout in made[9_000:]:
        timeout(work)
    assert MANY == len(names.listed())
