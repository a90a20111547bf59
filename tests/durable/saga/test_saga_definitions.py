"""What a saga may be made of: each mistake is refused where it is made, with what would be right."""

from typing import Any

import pytest

from seawall import Pipeline, Timeout
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.saga import Later, Saga, Step
from seawall.durable.sagas import Sagas
from seawall.testing import FakeClock


def act(context: object) -> None:
    """Does nothing."""


async def aact(context: object) -> None:
    """Does nothing, asynchronously."""


def gives(context: object) -> Any:
    """Is a generator."""
    yield context


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Step("", act), TypeError, "name='' is no name"),
        (lambda: Step("a"), TypeError, "step 'a' needs an action or a command, one of the two"),
        (lambda: Step("a", act, command=act), TypeError, "step 'a' needs an action or a command, one of the two"),  # type: ignore[arg-type]
        (lambda: Step("a", 5), TypeError, "action=5 cannot be called; use a plain or an async function"),  # type: ignore[arg-type]
        (lambda: Step("a", gives), TypeError, "is a generator; use a plain or an async function"),
        (lambda: Step("a", command=aact), TypeError, "is no plain function; it only says what is sent"),  # type: ignore[arg-type]
        (lambda: Step("a", act, kind="final"), ValueError, "kind='final' is unknown; use one of 'compensatable'"),  # type: ignore[arg-type]
        (lambda: Step("a", act, compensate=act, undo_command=act), TypeError, "has both compensate= and undo_command="),  # type: ignore[arg-type]
        (lambda: Step("a", act, compensate=act, kind="retriable"), ValueError, "is retriable, and never undone"),
        (lambda: Step("a", act, timeout=5), ValueError, "timeout=5 is for commands; bound an action by pipeline="),
        (lambda: Step("a", act, pipeline=Timeout(1)), TypeError, "is no Pipeline; use one such as"),  # type: ignore[arg-type]
        (lambda: Step("a", act, backoff=5), TypeError, "backoff=5 is no Backoff; use one such as"),  # type: ignore[arg-type]
        (lambda: Step("a", act, undo_for=0), ValueError, "undo_for=0 is out of range"),
        (lambda: Saga("s"), TypeError, "saga 's' has no steps; use it as in Saga"),
        (lambda: Saga("s", act), TypeError, "which is no Step"),  # type: ignore[call-overload]
        (lambda: Saga("s", Step("a", act), Step("a", act)), ValueError, "has two steps 'a'"),
        (lambda: Saga("s", Step("a", act), version=0), ValueError, "version=0 is too small"),
        (lambda: Saga("s", Step("a", act), data=int), TypeError, "is neither a dataclass nor dict"),
        (lambda: Saga("s", Step("a", act), deadline=0), ValueError, "deadline=0 is out of range"),
        (lambda: Later(-1), ValueError, "seconds=-1 is out of range"),
    ],
)
def test_mistakes_are_refused(make: Any, error: type[Exception], says: str) -> None:
    """With the argument, the value, and what would be right."""
    with pytest.raises(error) as refused:
        make()
    assert says in str(refused.value)


@pytest.mark.parametrize("kinds", ["pc", "rc", "rp", "pp", "cprc"])
def test_the_order_of_kinds_is_held(kinds: str) -> None:
    """Compensatable steps, then at most one pivot, then retriable ones."""
    words: Any = {"c": "compensatable", "p": "pivot", "r": "retriable"}
    steps = [Step(f"{number}{kind}", act, kind=words[kind]) for number, kind in enumerate(kinds)]
    with pytest.raises(ValueError, match="comes after one that is not undone any more; put it before the pivot"):
        Saga("s", *steps)


def test_right_ones_are_taken() -> None:
    """All kinds in order, each way to undo, both colours."""
    pipeline = Pipeline("right steps", Timeout(1))
    saga = Saga(
        "s",
        Step("a", act, compensate=aact, pipeline=pipeline),
        Step("b", command=lambda context: ("x", "y"), undo_command=lambda context: ("x", "z"), timeout=5),
        Step("c", aact, kind="pivot"),
        Step("d", act, kind="retriable"),
    )
    assert "Saga('s', 'a', 'b', 'c', 'd', version=1)" == repr(saga)
    assert [True, False, True, False] == [step.is_async for step in saga.steps]
    assert "Step('c', kind='pivot')" == repr(saga.steps[2])


def test_sagas_check_what_they_are_given(store: EmbeddedStore) -> None:
    """A list of definitions, each kind once; leases that can be kept."""
    saga = Saga("s", Step("a", act))
    with pytest.raises(TypeError, match=r"is no list; give a list of them, as in Sagas\(store, \[checkout\]\)"):
        Sagas(store, saga)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sagas holds 5, which is no Saga"):
        Sagas(store, [5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="two of the name 's' and version 1"):
        Sagas(store, [saga, saga])
    with pytest.raises(ValueError, match="heartbeat=20 leaves no time"):
        Sagas(store, [saga], lease=30, heartbeat=20)
    with pytest.raises(ValueError, match="concurrency=0 is too small"):
        Sagas(store, [saga], concurrency=0)
    with pytest.raises(RuntimeError, match="have no definitions to work at"), Sagas(store):
        pass
    with FakeClock(), Sagas(store, [saga]) as sagas, pytest.raises(RuntimeError, match="being worked at"), sagas:
        pass
    assert "Sagas('sqlite://', ['s:1'])" == repr(sagas)
