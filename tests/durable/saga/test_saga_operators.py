"""Undoings that fail, and what operators can do about them; no definitions are needed for that."""

from typing import Any

import pytest

from seawall import Backoff
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import SagaStateError, UnknownSagaError
from seawall.durable.events import SagaEnded, SagaStepFailed, SagaStuck
from seawall.durable.saga import Saga, Step, StepContext
from seawall.durable.saga_report import SagaReport
from seawall.durable.sagas import Sagas
from seawall.testing import FakeClock
from tests.durable.saga.witness import Witness, states

DAY = 86400.0


class Broken:
    """A saga of a, b, c and d; d fails, and so do the undoings given."""

    def __init__(self, store: EmbeddedStore, clock: FakeClock, **undoings: tuple[Any, ...]) -> None:
        self.witness, self.clock, self.store = Witness(), clock, store
        steps = [self.step(name, undoings.get(name, ())) for name in "abc"]
        fails = self.witness.step("d", ValueError("no"), undo=None)
        self.sagas = Sagas(store, [Saga("s", *steps, fails)], rng=lambda: 0.0)
        self.told: list[Any] = []
        self.sagas.listen(self.told.append)
        self.saga_id = self.sagas.start("s", {})
        self.now = self.run()

    def step(self, name: str, outcomes: tuple[Any, ...]) -> Step[Any]:
        """Returns a step with these outcomes of its undoing."""
        undo = self.witness.does(f"-{name}", *outcomes)
        return Step(name, self.witness.does(name), compensate=undo, undo_backoff=Backoff.exponential(10, cap=600))

    def run(self) -> SagaReport:
        """Works at the saga."""
        self.now = self.sagas.run(self.saga_id)
        return self.now

    def go_on(self, until: float) -> None:
        """Works at it whenever it is due, for so many seconds."""
        end = self.clock.wall() + until
        while self.now.wake_at is not None and self.now.wake_at <= end:
            self.clock.advance(self.now.wake_at - self.clock.wall())
            self.run()


def test_an_undoing_that_fails_does_not_stop_the_others(store: EmbeddedStore, clock: FakeClock) -> None:
    """It is tried again after its backoff, and the saga ends well."""
    broken = Broken(store, clock, c=(OSError("down"), OSError("down"), None))
    assert ["a", "b", "c", "d", "-c", "-b", "-a"] == broken.witness.calls
    assert ("compensating", clock.wall() + 10) == (broken.now.state, broken.now.wake_at)
    clock.advance(10)
    assert clock.wall() + 20 == broken.run().wake_at
    clock.advance(20)
    assert ("compensated", 3) == (broken.run().state, broken.now.steps[2].undo_attempts)
    failures = [event for event in broken.told if isinstance(event, SagaStepFailed) and event.undo]
    assert [(1, 10.0), (2, 20.0)] == [(event.attempt, event.again_in) for event in failures]


def test_the_undoing_of_the_step_that_failed_has_a_backoff_of_its_own(store: EmbeddedStore, clock: FakeClock) -> None:
    """Its first pause is the first one, though its action has failed before."""
    witness = Witness()
    step: Step[Any] = Step(
        "a", witness.does("a", OSError()), compensate=witness.does("-a", OSError(), None),
        undo_backoff=Backoff.listed(10, 600),
    )  # fmt: skip
    report = witness.run(store, Saga("s", step))
    assert ("compensating", clock.wall() + 10) == (report.state, report.wake_at)


def stuck(store: EmbeddedStore, clock: FakeClock, **undoings: tuple[Any, ...]) -> Broken:
    """Returns one whose undoing of b, or what is given, was given up."""
    broken = Broken(store, clock, **(undoings or {"b": (OSError("down"),)}))
    broken.go_on(DAY + 700)
    assert "stuck" == broken.now.state
    return broken


def test_an_undoing_is_given_up_after_a_day_and_the_saga_is_stuck(store: EmbeddedStore, clock: FakeClock) -> None:
    """It is tried about every ten minutes; then the saga stays, visible, told of, and untouched."""
    broken = stuck(store, clock)
    assert {"a": "undone", "b": "stuck", "c": "undone", "d": "failed"} == states(broken.now)
    tries = broken.now.steps[1].undo_attempts
    assert DAY / 600 < tries < DAY / 600 + 10
    assert ("OSError: down", None, False) == (broken.now.steps[1].error, broken.now.wake_at, broken.now.ended)
    assert [SagaStuck("s", broken.saga_id, ("b",))] == [event for event in broken.told if isinstance(event, SagaStuck)]
    assert [broken.saga_id] == [saga.saga_id for saga in broken.sagas.list(state="stuck")]
    clock.advance(DAY)
    assert ("stuck", tries) == (broken.run().state, broken.now.steps[1].undo_attempts)


def test_others_are_undone_before_it_is_stuck(store: EmbeddedStore, clock: FakeClock) -> None:
    """A saga of which one undoing was given up goes on with those that may still succeed."""
    witness = Witness()
    often = (*[OSError("down")] * 5, None)
    saga = Saga(
        "s",
        Step("a", witness.does("a"), compensate=witness.does("-a", *often), undo_backoff=Backoff.fixed(60)),
        Step("b", witness.does("b"), compensate=witness.does("-b", OSError()), undo_for=30),
        witness.step("c", ValueError("no"), undo=None),
    )
    sagas = Sagas(store, [saga])
    report = witness.go_on(sagas, saga)
    clock.advance(100)
    report = sagas.run(report.saga_id)
    assert ("compensating", {"a": "undoing", "b": "stuck", "c": "failed"}) == (report.state, states(report))
    for _ in range(5):
        clock.advance(60)
        report = sagas.run(report.saga_id)
    assert ("stuck", {"a": "undone", "b": "stuck", "c": "failed"}) == (report.state, states(report))


def test_retry_gives_an_undoing_another_day(store: EmbeddedStore, clock: FakeClock) -> None:
    """From its first backoff on; when it succeeds, the saga is compensated."""
    outcomes: tuple[Any, ...] = (*[OSError("down")] * 200, None)
    broken = Broken(store, clock, b=outcomes)
    broken.go_on(DAY + 700)
    Sagas(store).retry(broken.saga_id)
    assert "compensating" == broken.sagas.show(broken.saga_id).state
    assert clock.wall() + 10 == broken.run().wake_at
    broken.go_on(DAY + 700)
    assert ("compensated", 201) == (broken.now.state, broken.now.steps[1].undo_attempts)


def test_skip_passes_over_an_undoing(store: EmbeddedStore, clock: FakeClock) -> None:
    """With a note; with nothing else given up, the saga is compensated. Said twice, it is done once."""
    broken = stuck(store, clock, b=(OSError("down"),), c=(OSError("down"),))
    desk = Sagas(store)
    desk.skip(broken.saga_id, "b", "ann: refunded by hand")
    desk.skip(broken.saga_id, "b", "ann: refunded by hand")
    assert "stuck" == broken.run().state
    desk.skip(broken.saga_id, "c", "ann: likewise")
    assert "compensated" == broken.run().state
    assert {"a": "undone", "b": "skipped", "c": "skipped", "d": "failed"} == states(broken.now)
    assert ["ann: refunded by hand", "ann: likewise"] == [step.note for step in broken.now.steps[1:3]]


def test_skip_passes_over_a_retriable_step(store: EmbeddedStore, clock: FakeClock) -> None:
    """It has no result, and the saga goes on."""
    witness = Witness()
    saga = Saga(
        "s",
        Step("a", witness.does("a", OSError("down")), kind="retriable", backoff=Backoff.fixed(60)),
        witness.step("b", kind="retriable"),
    )
    sagas = Sagas(store, [saga])
    saga_id = witness.go_on(sagas, saga).saga_id
    sagas.skip(saga_id, "a", "ann: done by hand")
    report = sagas.run(saga_id)
    assert ("completed", ["a", "b"]) == (report.state, witness.calls)
    assert ({}, "skipped") == (dict(witness.contexts[-1].results), report.steps[0].state)


def test_skip_is_refused_where_it_makes_no_sense(store: EmbeddedStore, clock: FakeClock) -> None:
    """A compensatable step of a running saga, an undoing that is done, a step that never began, an ended saga."""
    witness = Witness()
    saga = Saga("s", Step("a", witness.does("a", lambda context: refuse(context))), witness.step("b"))
    sagas = Sagas(store, [saga])

    def refuse(context: StepContext[Any]) -> None:
        with pytest.raises(SagaStateError, match=r"step 'a' of saga .* is started in a saga that is running"):
            sagas.skip(context.saga_id, "a", "why")

    ended = witness.go_on(sagas, saga)
    assert "completed" == ended.state
    with pytest.raises(SagaStateError, match="has ended: it is completed"):
        sagas.skip(ended.saga_id, "a", "why")
    broken = stuck(store, clock)
    with pytest.raises(SagaStateError, match="is undone in a saga that is stuck"):
        sagas.skip(broken.saga_id, "c", "why")
    with pytest.raises(SagaStateError, match="has begun no step 'x'"):
        sagas.skip(broken.saga_id, "x", "why")
    with pytest.raises(ValueError, match="note='  ' says nothing"):
        sagas.skip(broken.saga_id, "b", "  ")


def test_retry_tries_what_waits_at_once(store: EmbeddedStore, clock: FakeClock) -> None:
    """Of a running saga, too; one that has ended is refused."""
    witness = Witness()
    step: Step[Any] = Step("a", witness.does("a", OSError("down"), "ok"), kind="retriable", backoff=Backoff.fixed(3600))
    sagas = Sagas(store, [saga := Saga("s", step)])
    saga_id = witness.go_on(sagas, saga).saga_id
    sagas.retry(saga_id)
    assert "completed" == sagas.run(saga_id).state
    with pytest.raises(SagaStateError, match="has ended: it is completed, and nothing is left to do"):
        sagas.retry(saga_id)
    with pytest.raises(UnknownSagaError, match="there is no saga 'nobody'"):
        sagas.retry("nobody")


def test_resolve_ends_a_saga_by_word(store: EmbeddedStore, clock: FakeClock) -> None:
    """With a note, told, and for good. Said twice with the same note, it is done once."""
    broken = stuck(store, clock)
    broken.sagas.resolve(broken.saga_id, "ann: all in order")
    broken.sagas.resolve(broken.saga_id, "ann: all in order")
    report = broken.run()
    assert ("resolved", True, "ann: all in order") == (report.state, report.ended, report.note)
    ended = [event for event in broken.told if isinstance(event, SagaEnded)]
    assert [("resolved", broken.saga_id)] == [(event.state, event.saga_id) for event in ended]
    assert ended[0].seconds > DAY
    with pytest.raises(SagaStateError, match="has ended: it is resolved"):
        broken.sagas.resolve(broken.saga_id, "bob: no, otherwise")


def test_sagas_are_listed_by_state_and_name(store: EmbeddedStore, clock: FakeClock) -> None:
    """The youngest first, at most so many."""
    witness = Witness()
    one, two = Saga("one", witness.step("a")), Saga("two", witness.step("a", ValueError("no")))
    sagas = Sagas(store, [one, two])
    for saga in (one, two, one):
        witness.go_on(sagas, saga)
        clock.advance(1)
    waiting = sagas.start("two", {"x": 1})
    assert ["two", "one", "two", "one"] == [saga.name for saga in sagas.list()]
    assert [waiting] == [saga.saga_id for saga in sagas.list(state="running")]
    assert ["compensated"] == [saga.state for saga in sagas.list(name="two", state="compensated")]
    assert ["two", "one"] == [saga.name for saga in sagas.list(limit=2)]
    assert ({"x": 1}, ()) == (sagas.list()[0].data, sagas.list()[0].steps)
    with pytest.raises(ValueError, match="state='done' is unknown; use one of 'running'"):
        sagas.list(state="done")  # type: ignore[arg-type]
    with pytest.raises(UnknownSagaError, match="there is no saga 'nobody'; it was never started"):
        sagas.show("nobody")


def test_an_operator_may_write_while_a_worker_acts(store: EmbeddedStore) -> None:
    """What the worker then writes of its step is not lost, and what the operator wrote is not, either."""
    witness = Witness()

    def resolve(context: StepContext[Any]) -> None:
        Sagas(store).retry(context.saga_id)

    sagas = Sagas(store, [saga := Saga("s", witness.step("a", resolve), witness.step("b"))])
    assert ("completed", ["a", "b"]) == (witness.go_on(sagas, saga).state, witness.calls)


def test_skipping_a_retriable_step_that_is_just_running_drops_its_result(store: EmbeddedStore) -> None:
    """The operator's word stands."""
    witness = Witness()

    def skip(context: StepContext[Any]) -> str:
        Sagas(store).skip(context.saga_id, "a", "ann: enough")
        return "too late"

    sagas = Sagas(
        store, [saga := Saga("s", witness.step("a", skip, kind="retriable"), witness.step("b", kind="retriable"))]
    )
    report = witness.go_on(sagas, saga)
    assert ("completed", ["a", "b"]) == (report.state, witness.calls)
    assert ("skipped", None) == (report.steps[0].state, report.steps[0].result)
