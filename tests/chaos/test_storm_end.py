"""How a run ends, also when it is cancelled: the result so far, a bounded time to finish, nothing left behind."""

import asyncio

import pytest

from seawall.chaos import Fault
from tests.chaos.test_storm_run import FAULTS, Shops, Step, fail, forever, measures, play


def test_cancelled_midway_it_gives_the_result_so_far() -> None:
    """At 5.05 s: 51 requests were sent, the fault that is on is lifted, both finish, and the rest is as ever."""
    scenario = Shops()
    result = play(scenario, 5.05)

    assert (True, pytest.approx(5.05)) == (result.cut_short, result.lasted)
    assert [51, 51] == [side.requests for side in measures(result)]
    assert [None, None] == [side.recovery_seconds for side in measures(result)]
    assert [(5.05, "lift errors"), (5.05, "finish")] == scenario.shops["bare"].seen[-2:]
    assert pytest.approx(5.05) == result.faults[1].ended
    assert ["bare", "protected"] == sorted(scenario.left)


def test_a_fault_that_was_not_reached_never_began() -> None:
    """And a target that was lifted and came back does not make up for one that was not struck yet."""
    result = play(Shops(faults=(FAULTS[0], Fault("payments", "errors", 0.7, 0.9, "answers 503"))), 6)

    assert (None, None) == (result.faults[1].began, result.faults[1].ended)
    assert [None, None] == [side.recovery_seconds for side in measures(result)]


def test_cut_short_a_variant_has_five_seconds_to_finish() -> None:
    """One that takes longer is left with the counts of the last look at it, and a note says so."""
    scenario = Shops(finishing=forever)
    result = play(scenario, 5)

    assert 7 == measures(result)[1].wasted_calls
    assert (
        "a note for 10 s",
        "protected did not finish (it took too long): its own counts are those of the last look at it.",
    ) == result.notes
    assert ["bare", "protected"] == sorted(scenario.left)


def test_cancelled_twice_it_does_not_wait_for_anybody_to_finish() -> None:
    """But contexts are left in peace, however often it is cancelled; here that takes 3 s."""
    scenario = Shops(finishing=forever, exiting=lambda: asyncio.sleep(3), counting=fail)
    result = play(scenario, 5, 5.5, 6, 6.5)

    assert (
        "protected did not finish (it was not waited for): its own counts are not known, and shown as 0.",
    ) == result.notes[1:]
    assert (0, {}) == (measures(result)[1].wasted_calls, measures(result)[1].further)
    assert ["bare", "protected"] == sorted(scenario.left)


def test_cancelled_twice_it_does_not_wait_for_faults_to_be_lifted() -> None:
    """The requests so far are measured; a fault that is still on has no end."""
    scenario = Shops(lifting=forever)
    result = play(scenario, 3.05, 3.5)

    assert [31, 31] == [side.requests for side in measures(result)]
    assert (2, None) == (result.faults[0].began, result.faults[0].ended)
    assert ["bare", "protected"] == sorted(scenario.left)


def test_cancelled_while_finishing_it_has_five_seconds_left() -> None:
    """The load was whole, and is all there."""
    result = play(Shops(finishing=forever), 11)

    assert (True, 10, [100, 100]) == (result.cut_short, result.lasted, [side.requests for side in measures(result)])


@pytest.mark.parametrize("step", ["entering", "warming"])
def test_cancelled_before_the_load_there_is_nothing_to_measure(step: str) -> None:
    """And what has been started is left."""
    scenario = Shops(**{step: forever})
    result = play(scenario, 3)

    assert (True, 0.0) == (result.cut_short, result.lasted)
    assert [(0, None), (0, None)] == [(side.requests, side.availability) for side in measures(result)]
    assert (["bare"] if step == "entering" else ["bare", "protected"]) == sorted(scenario.left)


def test_a_fault_that_cannot_be_lifted_is_noted_when_cut_short() -> None:
    """The result so far is worth more than the complaint: Ctrl-C may have ended parts of the system itself."""
    result = play(Shops(lifting=fail), 3.05)

    assert "variant 'protected' could not end 'refuse' on 'catalog': OSError: no more files" == result.notes[-1]
    assert [True, 31] == [result.cut_short, measures(result)[1].requests]


def test_a_variant_that_does_not_finish_after_a_whole_run_is_noted() -> None:
    """Its requests were measured all the same."""
    result = play(Shops(finishing=fail))

    assert (
        "protected did not finish (OSError: no more files): its own counts are those of the last look at it.",
    ) == result.notes[1:]
    assert 100 == measures(result)[1].requests


@pytest.mark.parametrize(
    ("exiting", "note"),
    [
        (fail, "protected: its end failed: OSError: no more files"),
        (forever, "protected: its end failed: CancelledError: cancelled"),
    ],
)
def test_trouble_at_the_end_of_a_variant_is_noted(exiting: Step, note: str) -> None:
    """One that hangs is cancelled after 15 s."""
    assert note == play(Shops(exiting=exiting)).notes[-1]
