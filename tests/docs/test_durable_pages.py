"""The pages about durable work, held to the code: defaults and events are what they say."""

import ast
import inspect
import logging
from pathlib import Path

import pytest

import seawall.durable
from seawall.durable import Idempotency, Lock
from tests.docs.test_examples import tables

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "kind"), [("idempotency.md", Idempotency), ("locks.md", Lock)])
def test_defaults_are_the_signature(page: str, kind: type) -> None:
    """A table names exactly the constructor's arguments, in order, with their defaults."""
    (rows,) = tables((DOCS / page).read_text(encoding="utf-8"), f"Argument of `{kind.__name__}`")
    expected = [(each.name, each.default) for each in inspect.signature(kind).parameters.values()]
    said = [(name.strip("`"), default.strip("`")) for name, default, _ in rows]

    assert expected == [
        (name, inspect.Parameter.empty if default == "required" else ast.literal_eval(default))
        for name, default in said
    ]


def test_events_of_operations_are_those_that_there_are() -> None:
    """Each with its level."""
    (rows,) = tables((DOCS / "idempotency.md").read_text(encoding="utf-8"), "Event")
    said = {event.strip("`"): level for event, level, _ in rows}
    kinds = {name: getattr(seawall.durable, name) for name in said}
    events = {name for name in seawall.durable.__all__ if name.startswith("Operation")} - {"OperationOutcome"}

    assert {*events, "LeaseLost"} == set(said)
    assert said == {name: logging.getLevelName(kind.level) for name, kind in kinds.items()}
