"""Steps that surely did nothing: they fail their saga, and are not undone themselves."""

from __future__ import annotations

from typing import Any

import pytest

from seawall import Backoff
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import StepRefusedError
from seawall.durable.outbox import Outbox
from seawall.durable.saga import Saga, Step, StepContext
from seawall.durable.sagas import Sagas
from tests.durable.saga.witness import Witness


def test_an_action_that_refused_is_not_undone(store: EmbeddedStore) -> None:
    """What was done before it is undone, and it is not, though it could be."""
    witness = Witness()
    undone: list[str] = []

    def refuse(context: StepContext[Any]) -> None:
        raise StepRefusedError("no such card")

    charge: Step[Any] = Step("charge", refuse, compensate=lambda context: undone.append(context.step))
    sagas = Sagas(store, [Saga("s", witness.step("reserve"), charge)])
    report = sagas.run(sagas.start("s", {}))

    assert "compensated" == report.state
    assert [("reserve", "undone"), ("charge", "refused")] == [(step.name, step.state) for step in report.steps]
    assert [] == undone
    assert report.error is not None
    assert "no such card" in report.error


@pytest.mark.parametrize(("error", "sent"), [(StepRefusedError("no"), 0), ("no", 1)])
def test_a_command_that_was_refused_is_not_undone(store: EmbeddedStore, error: Any, sent: int) -> None:
    """A reply that says so sends no command to undo; any other failure does. A repeat of the reply changes nothing."""
    outbox = Outbox(store)
    charge: Step[Any] = Step(
        "charge", command=lambda context: ("payments", {}), undo_command=lambda context: ("refunds", {})
    )
    sagas = Sagas(store, [Saga("s", charge)], outbox=outbox)
    saga_id = sagas.start("s", {})
    sagas.run(saga_id)
    assert sagas.reply(saga_id, "charge", error=error)
    assert sagas.reply(saga_id, "charge", error=error)
    report = sagas.run(saga_id)

    assert sent == [message.destination for message in outbox.waiting()].count("refunds")
    assert ("compensating" if sent else "compensated") == report.state


def test_a_retriable_step_that_refuses_is_tried_again(store: EmbeddedStore) -> None:
    """It is never given up, whatever it says."""
    ship: Step[Any] = Step(
        "ship", command=lambda context: ("parcels", {}), kind="retriable", backoff=Backoff.fixed(0.001)
    )
    outbox = Outbox(store)
    sagas = Sagas(store, [Saga("s", ship)], outbox=outbox)
    saga_id = sagas.start("s", {})
    sagas.run(saga_id)
    sagas.reply(saga_id, "ship", error=StepRefusedError("no"))
    report = sagas.run(saga_id)

    assert ("running", "sent") == (report.state, report.steps[0].state)
    assert 2 == len(outbox.waiting())
