"""Steps that are commands to others: they leave with the commit that begins the step, and end with a reply."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from seawall import Backoff
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import SagaStateError, UnknownSagaError
from seawall.durable.events import SagaReplyLate, SagaStepFailed
from seawall.durable.outbox import Outbox
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.saga import Saga, Step, StepContext
from seawall.durable.saga_report import SagaReport
from seawall.durable.saga_rows import key_of
from seawall.durable.sagas import Sagas
from seawall.testing import FakeClock
from tests.durable.saga.witness import Witness, states


def command(name: str) -> Callable[[StepContext[Any]], Any]:
    """Returns what makes a command: to `name`, with the data, in the order of the saga."""
    return lambda context: (name, {"data": context.data, "attempt": context.attempt}, context.saga_id)


class Desk:
    """A saga of a local step, a command, and steps after it; and what it has sent."""

    def __init__(self, store: EmbeddedStore, *after: Step[Any], deadline: float | None = None, **options: Any) -> None:
        self.outbox = Outbox(store)
        self.witness = Witness()
        options.setdefault("undo_command", command("refunds"))
        if options.get("kind") == "retriable":
            options.pop("undo_command")
        charge: Step[Any] = Step("charge", command=command("payments"), **options)
        saga = Saga("s", self.witness.step("reserve"), charge, *after, deadline=deadline)
        self.sagas = Sagas(store, [saga], outbox=self.outbox, rng=lambda: 0.0)
        self.saga_id = self.sagas.start("s", {"total": 5})
        self.now = self.run()

    def run(self) -> SagaReport:
        """Works at the saga."""
        self.now = self.sagas.run(self.saga_id)
        return self.now

    def sent(self) -> list[OutboxMessage]:
        """Returns what left."""
        return self.outbox.waiting()


def test_a_command_leaves_and_the_saga_waits(store: EmbeddedStore) -> None:
    """Nobody holds it meanwhile; the message says which saga and step it belongs to, and carries the key."""
    desk = Desk(store)
    (message,) = desk.sent()
    assert ("payments", {"data": {"total": 5}, "attempt": 1}, desk.saga_id) == (
        message.destination,
        json.loads(message.body),
        message.ordering_key,
    )
    expected = {
        "seawall-saga": desk.saga_id,
        "seawall-step": "charge",
        "seawall-undo": "false",
        "seawall-key": key_of(desk.saga_id, "charge"),
    }
    assert expected == {name: value for name, value in message.headers.items() if name.startswith("seawall-")}
    assert ("running", False, None) == (desk.now.state, desk.now.held, desk.now.wake_at)
    assert {"reserve": "done", "charge": "sent"} == states(desk.now)
    assert 1 == len(desk.sent()) == len(desk.run().steps) - 1


def test_a_reply_ends_the_step(store: EmbeddedStore) -> None:
    """Its result is that of the step; what comes twice changes nothing."""
    after = Witness()
    desk = Desk(store, after.step("ship", kind="retriable"))
    assert desk.sagas.reply(desk.saga_id, "charge", result={"receipt": 7})
    assert desk.sagas.reply(desk.saga_id, "charge", result={"receipt": 7})
    assert "completed" == desk.run().state
    assert {"receipt": 7} == after.contexts[0].results["charge"]
    assert desk.sagas.reply(desk.saga_id, "charge", result={"receipt": 7})
    assert None is desk.run().steps[1].late


def test_a_reply_belongs_to_the_transaction(store: EmbeddedStore) -> None:
    """Rolled back, it was never given."""
    desk = Desk(store)
    with pytest.raises(ZeroDivisionError):
        store.transact(lambda db: [desk.sagas.reply(desk.saga_id, "charge", session=db), 1 / 0])
    assert "sent" == desk.run().steps[1].state
    assert store.transact(lambda db: desk.sagas.reply(desk.saga_id, "charge", session=db))
    assert "completed" == desk.run().state


def test_a_reply_that_it_failed_undoes_the_saga(store: EmbeddedStore) -> None:
    """The command's own undoing first, by a command, whose reply lets the others be undone."""
    desk = Desk(store)
    assert desk.sagas.reply(desk.saga_id, "charge", error=ValueError("no money"))
    report = desk.run()
    assert ("compensating", "step 'charge' failed: ValueError: no money") == (report.state, report.error)
    assert {"reserve": "undone", "charge": "undo_sent"} == states(report)
    payment, refund = desk.sent()
    assert ("refunds", "true") == (refund.destination, refund.headers["seawall-undo"])
    assert payment.headers["seawall-key"] == refund.headers["seawall-key"]
    assert desk.sagas.reply(desk.saga_id, "charge", undo=True)
    assert desk.sagas.reply(desk.saga_id, "charge", undo=True)
    assert ("compensated", {"reserve": "undone", "charge": "undone"}) == (desk.run().state, states(desk.now))


def test_an_undoing_that_failed_is_sent_again(store: EmbeddedStore, clock: FakeClock) -> None:
    """After its backoff, in a new message."""
    desk = Desk(store, undo_backoff=Backoff.fixed(60))
    desk.sagas.reply(desk.saga_id, "charge", error="no money")
    desk.run()
    assert desk.sagas.reply(desk.saga_id, "charge", undo=True, error="busy")
    assert (clock.wall() + 60, "busy") == (desk.run().wake_at, desk.now.steps[1].error)
    clock.advance(60)
    assert "undo_sent" == desk.run().steps[1].state
    assert ["payments", "refunds", "refunds"] == [message.destination for message in desk.sent()]
    assert 3 == len({message.message_id for message in desk.sent()})


def test_no_reply_in_time_is_a_failure_of_unknown_outcome(store: EmbeddedStore, clock: FakeClock) -> None:
    """The saga is undone, that step included."""
    desk = Desk(store, timeout=30)
    assert clock.wall() + 30 == desk.now.wake_at
    clock.advance(29)
    assert "running" == desk.run().state
    clock.advance(2)
    assert ("compensating", "step 'charge' failed: no reply within 30 s") == (desk.run().state, desk.now.error)
    assert ["payments", "refunds"] == [message.destination for message in desk.sent()]


def test_a_retriable_command_is_sent_again(store: EmbeddedStore, clock: FakeClock) -> None:
    """After no reply in time, and after a reply that it failed, each time with the same key, until it is done."""
    desk = Desk(store, kind="retriable", timeout=30, backoff=Backoff.fixed(60))
    told: list[Any] = []
    desk.sagas.listen(told.append, SagaStepFailed)
    clock.advance(30)
    assert clock.wall() + 60 == desk.run().wake_at
    clock.advance(60)
    assert "sent" == desk.run().steps[1].state
    assert desk.sagas.reply(desk.saga_id, "charge", error="busy")
    assert ("started", clock.wall() + 60) == (desk.run().steps[1].state, desk.now.wake_at)
    clock.advance(60)
    desk.run()
    assert desk.sagas.reply(desk.saga_id, "charge", result=1)
    assert ("completed", 3) == (desk.run().state, desk.now.steps[1].attempts)
    assert 1 == len({message.headers["seawall-key"] for message in desk.sent()})
    assert [("no reply within 30 s", 1), ("busy", 2)] == [(event.error, event.attempt) for event in told]


def test_a_deadline_ends_the_wait_for_a_reply(store: EmbeddedStore, clock: FakeClock) -> None:
    """Of a compensatable command."""
    desk = Desk(store, deadline=20)
    assert clock.wall() + 20 == desk.now.wake_at
    clock.advance(20)
    assert ("compensating", "its deadline has passed") == (desk.run().state, desk.now.error)


def test_a_late_reply_is_recorded(store: EmbeddedStore, clock: FakeClock) -> None:
    """It is no error, changes nothing, is shown, and told; also after the end."""
    desk = Desk(store, timeout=30)
    told: list[Any] = []
    desk.sagas.listen(told.append, SagaReplyLate)
    clock.advance(30)
    desk.run()
    assert not desk.sagas.reply(desk.saga_id, "charge", result=7)
    assert ({"undo": False, "result": 7}, "undo_sent") == (desk.run().steps[1].late, desk.now.steps[1].state)
    desk.sagas.reply(desk.saga_id, "charge", undo=True)
    assert "compensated" == desk.run().state
    assert not desk.sagas.reply(desk.saga_id, "charge", error="no money")
    assert ({"undo": False, "error": "no money"}, "compensated") == (desk.run().steps[1].late, desk.now.state)
    assert [SagaReplyLate("s", desk.saga_id, "charge")] * 2 == told


def test_replies_to_nothing_are_errors(store: EmbeddedStore) -> None:
    """An unknown saga, and a step that was never begun; a reply to an action comes late by nature."""
    desk = Desk(store)
    with pytest.raises(UnknownSagaError, match="there is no saga 'nobody'"):
        desk.sagas.reply("nobody", "charge")
    with pytest.raises(SagaStateError, match="has begun no step 'ship'"):
        desk.sagas.reply(desk.saga_id, "ship")
    assert not desk.sagas.reply(desk.saga_id, "reserve", result=1)
    assert "reserve done" == desk.run().steps[0].result


def test_replying_needs_no_definitions(store: EmbeddedStore) -> None:
    """Another service, with nothing but the store, may reply."""
    desk = Desk(store)
    assert Sagas(store).reply(desk.saga_id, "charge", result=1)
    assert "completed" == desk.run().state


@pytest.mark.parametrize("made", [ValueError("no address"), "payments", ("payments",), ("", "body"), ("p", object())])
def test_a_command_that_cannot_be_made_fails_its_step(store: EmbeddedStore, made: Any) -> None:
    """Nothing is sent for it, and the saga is undone."""
    witness = Witness()

    def make(context: StepContext[Any]) -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    saga = Saga("s", witness.step("a"), Step("b", command=make, compensate=witness.does("-b")))
    sagas = Sagas(store, [saga], outbox=Outbox(store))
    report = witness.go_on(sagas, saga)
    assert ("compensated", ["a", "-b", "-a"]) == (report.state, witness.calls)
    assert [] == Outbox(store).waiting()
    assert str(report.error).startswith("step 'b' failed: ")


def test_commands_need_an_outbox_of_the_same_store(store: EmbeddedStore) -> None:
    """Else they could not leave in the commit that begins their step."""
    saga = Saga("s", Step("a", command=command("x")))
    with pytest.raises(TypeError, match=r"step 'a' of saga 's' sends a command; give outbox=Outbox\(store\)"):
        Sagas(store, [saga])
    other = EmbeddedStore.in_memory()
    with pytest.raises(ValueError, match="outbox= belongs to another store"):
        Sagas(store, [saga], outbox=Outbox(other))
    other.close()


def test_a_reply_that_comes_while_the_saga_is_worked_at_is_not_lost(store: EmbeddedStore) -> None:
    """Given between the sending and the worker's putting the saga aside: the worker sees it and goes on."""
    replied: list[bool] = []
    outbox = Outbox(store)
    store.listen("outbox", lambda: replied.append(Sagas(store).reply("one", "a", result=1)) if not replied else None)
    witness = Witness()
    saga = Saga("s", Step("a", command=command("x")), witness.step("b"))
    sagas = Sagas(store, [saga], outbox=outbox)
    sagas.start("s", {}, saga_id="one")
    assert ("completed", [True], ["b"]) == (sagas.run("one").state, replied, witness.calls)
