"""How strategies come by their names, and crash points that cost nothing."""

import functools
import os
import subprocess
import sys
import timeit

import pytest

from seawall import Bulkhead, Pipeline, Retry, SeawallWarning, Timeout
from seawall._core import crash
from seawall._core.names import Names


class Thing:
    """Something with a name."""


def test_listed_names_are_unique() -> None:
    """Numbers are given from 2 on, each with a warning; those of things that are gone are given again."""
    names, things = Names(), [Thing() for _ in range(4)]
    assert "a" == names.register("a", things[0])
    with pytest.warns(SeawallWarning, match="'a#2'"):
        assert "a#2" == names.register("a", things[1])
    assert "b" == names.register("b", things[2])
    del things[1]
    assert {"a", "b"} == set(names.listed())
    with pytest.warns(SeawallWarning, match="'a#2'"):
        assert "a#2" == names.register("a", things[2])


def test_a_strategy_is_named_by_what_first_uses_it() -> None:
    """Its own name; else the pipeline's; else that of the first function it decorates; else its kind."""
    assert "given" == Timeout(1, name="given").name
    assert "timeout" == Timeout(1).name
    named_by_pipeline, named_by_function = Timeout(1), Timeout(1)
    Pipeline("naming", named_by_pipeline)
    named_by_pipeline(_first)
    named_by_function(functools.partial(_first))
    named_by_function(_second)
    assert ("naming.timeout", "_first") == (named_by_pipeline.name, named_by_function.name)


def _first() -> None:
    """A function."""


def _second() -> None:
    """Another one."""


def test_a_name_that_comes_late_is_the_one_in_errors_and_events() -> None:
    """Also for what was made before the name was known."""
    bulkhead = Bulkhead(1)
    with bulkhead.guard():
        Pipeline("late name", bulkhead, Timeout(1))
        with pytest.raises(Exception, match=r"'late name\.bulkhead' is full"):
            bulkhead.acquire()


def test_strategies_without_names_are_not_listed() -> None:
    """They cannot be told apart, and do not warn of each other."""
    import seawall

    unnamed = [Bulkhead(1), Bulkhead(1), Retry(on=OSError)]
    assert "bulkhead" not in seawall.snapshot()
    assert 3 == len(unnamed)


def test_a_crash_point_that_is_not_armed_costs_a_truth_test() -> None:
    """Nothing is counted or opened: within twenty times an empty call, and mostly within two."""
    assert not crash._ARMED

    def empty(name: str) -> None:
        if crash._ARMED:
            raise AssertionError

    bare = min(timeit.repeat(lambda: empty("here"), number=2000, repeat=5))
    marked = min(timeit.repeat(lambda: crash.point("here"), number=2000, repeat=5))
    assert marked < 20 * bare
    assert {} == crash._passed


@pytest.mark.parametrize("at", ["here:2", "other:1", "here:3"])
def test_a_crash_point_counts_its_passages(at: str) -> None:
    """The process dies at the count-th passage of the named point, and at no other."""
    script = "from seawall.testing import point; [print(number, point('here'), flush=True) for number in (1, 2)]"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SEAWALL_CRASH_AT": at},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    killed = at == "here:2"
    assert (-9 if killed else 0, "1 None\n" if killed else "1 None\n2 None\n") == (done.returncode, done.stdout)
