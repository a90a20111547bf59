"""The sums of the dead: how they are added up, and what bounds them."""

import json

import pytest

from seawall._runtime.sums import MOST, Counters, add


def test_numbers_and_lists_are_added_series_by_series() -> None:
    """A list item by item; what is on one side only stays; what is added to is not shared with what is added."""
    into: Counters = {"a": {"x": 1, "l": [1, 2]}}
    more: Counters = {"a": {"x": 2, "y": 5, "l": [10, 0.5]}, "b": {"l": [7]}}
    add(into, more)
    add(into, more)
    assert {"a": {"x": 5, "y": 10, "l": [21, 3.0]}, "b": {"l": [14]}} == into
    assert {"a": {"x": 2, "y": 5, "l": [10, 0.5]}, "b": {"l": [7]}} == more


def test_series_beyond_the_bound_are_added_up_as_other() -> None:
    """So that what the dead leave does not grow for ever, however many label values there were; no count is lost."""
    into: Counters = {}
    for number in range(MOST + 50):
        add(into, {"a": {json.dumps(["x", str(number)]): 1}})
    assert MOST + 1 == len(into["a"])
    assert 50 == into["a"]['["other", "other"]']
    add(into, {"a": {json.dumps(["x", "0"]): 1, json.dumps(["x", "new"]): 1, "no json": 4}})
    assert (2, 51, 4) == (into["a"]['["x", "0"]'], into["a"]['["other", "other"]'], into["a"]["other"])


@pytest.mark.parametrize(("old", "new"), [([1, 2], [1, 2, 3]), ([1, 2], 3), (3, [1, 2])])
def test_of_two_shapes_the_newer_is_kept(old: int | list[int], new: int | list[int]) -> None:
    """As after a release with other buckets: wrong sums would be worse than a fresh start."""
    into: Counters = {"a": {"x": old}}  # type: ignore[dict-item]
    add(into, {"a": {"x": new}})  # type: ignore[dict-item]
    assert {"a": {"x": new}} == into
