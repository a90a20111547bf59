"""The fault script: what is refused, and in which order things happen."""

import re
from typing import Any

import pytest

from seawall.chaos import Conditions, Fault, FaultPeriod
from seawall.chaos.script import Script


def a_fault(begins: float, ends: float, *, target: str = "catalog", kind: str = "refuse") -> Fault:
    """Return a fault."""
    return Fault(target, kind, begins, ends, "refuses every connection")


@pytest.mark.parametrize(
    ("begins", "ends", "text"),
    [
        (-0.1, 0.5, "begins=-0.1 is out of range; use a number from 0 to 1"),
        (0.5, 1.1, "ends=1.1 is out of range; use a number from 0 to 1"),
        (float("nan"), 0.5, "begins=nan; use a number from 0 to 1"),
        (0.5, 0.5, "ends=0.5 is not after begins=0.5; use a share of the run above begins, up to 1"),
        (0.5, 0.2, "ends=0.2 is not after begins=0.5; use a share of the run above begins, up to 1"),
    ],
)
def test_shares_that_make_no_sense_are_refused(begins: float, ends: float, text: str) -> None:
    """With the argument, its value, and what would be right."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        a_fault(begins, ends)


@pytest.mark.parametrize("argument", ["target", "kind", "says"])
def test_words_of_a_fault_are_not_empty(argument: str) -> None:
    """Each is a text with something in it."""
    words: dict[str, Any] = {"target": "catalog", "kind": "refuse", "says": "refuses"}
    with pytest.raises(ValueError, match=f"{argument}=' ' is empty; use a text such as '"):
        Fault(**{**words, argument: " "}, begins=0, ends=1)
    with pytest.raises(TypeError, match=f"{argument}=None is not a text; use one such as '"):
        Fault(**{**words, argument: None}, begins=0, ends=1)


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({"seconds": 0}, "seconds=0 is out of range; use a duration above 0"),
        ({"seconds": float("inf")}, "seconds=inf is out of range"),
        ({"rate": 0}, "rate=0 is out of range; use a number above 0"),
        ({"rate": float("nan")}, "rate=nan; use a number above 0"),
        ({"seed": 1.5}, "seed=1.5 is not a whole number; use one such as 1"),
        ({"seed": True}, "seed=True is not a whole number"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(conditions: Any, text: str) -> None:
    """With the argument, its value, and what would be right."""
    with pytest.raises((TypeError, ValueError)) as caught:
        Conditions(**{"seconds": 30, "rate": 60, "seed": 1, **conditions})

    assert text in str(caught.value)


def test_steps_of_a_target_come_in_order() -> None:
    """At the moment when one fault ends and the next begins, the first is lifted before the second strikes."""
    script = Script([a_fault(0.5, 0.75), a_fault(0.25, 0.5, kind="stall"), a_fault(0, 1, target="mail")], 40)

    assert [(10, "strike", "stall"), (20, "lift", "stall"), (20, "strike", "refuse"), (30, "lift", "refuse")] == [
        (step.at, step.action, step.fault.kind) for step in script.steps("catalog")
    ]
    assert ("mail", "catalog") == script.targets


def test_the_same_fault_does_not_overlap_itself() -> None:
    """What one's end would mean for the other is not to be guessed; other kinds and targets may overlap."""
    with pytest.raises(
        ValueError, match=r"begins=0.4 of 'refuse' on 'catalog' lies within the same fault, from 0.2 to"
    ):
        Script([a_fault(0.4, 0.6), a_fault(0.2, 0.5)], 10)
    Script([a_fault(0.4, 0.6), a_fault(0.2, 0.4), a_fault(0.2, 0.5, kind="stall"), a_fault(0.2, 0.5, target="b")], 10)


def test_only_faults_are_in_a_script() -> None:
    """Anything else is a TypeError."""
    wrong: Any = ["refuse"]
    with pytest.raises(TypeError, match="faults holds 'refuse', which is no fault; use Fault"):
        Script(wrong, 10)


def test_the_most_faults_at_once_are_counted() -> None:
    """Those that only touch are not there at once."""
    assert 0 == Script([], 10).most_at_once()
    assert 1 == Script([a_fault(0, 0.5), a_fault(0.5, 1)], 10).most_at_once()
    overlapping = [a_fault(0, 0.5), a_fault(0.4, 1, kind="b"), a_fault(0.45, 0.6, kind="c"), a_fault(0.9, 1)]
    assert 3 == Script(overlapping, 10).most_at_once()


def test_a_fault_is_on_from_the_first_strike_to_the_last_lift() -> None:
    """A variant that is slower to be struck, even after the other was lifted, counts too."""
    period = FaultPeriod(a_fault(0, 1))
    period.strike(1.0)
    period.lift(2.0)
    assert (1.0, 2.0, False) == (period.began, period.ended, period.on)
    period.strike(2.5)
    assert (1.0, None, True) == (period.began, period.ended, period.on)
    period.lift(3.0)
    assert (1.0, 3.0, False) == (period.began, period.ended, period.on)
