"""Steps one after another: what they are told, what is kept of them, what their failures lead to."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from seawall import Backoff, Pipeline, Retry, Timeout, remaining
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import InProgressError, KeyMismatchError, SagaStateError, UnknownSagaError
from seawall.durable.events import SagaCompensating, SagaEnded, SagaStarted, SagaStepFailed
from seawall.durable.saga import Later, Saga, Step, StepContext
from seawall.durable.saga_rows import key_of
from seawall.durable.sagas import Sagas
from seawall.testing import FakeClock
from tests.durable.saga.witness import Witness, states


@dataclass
class Order:
    customer: str
    total: Decimal
    at: datetime


def bounded(name: str, *strategies: Any) -> Pipeline:
    """Returns a pipeline with which the linter finds no fault."""
    return Pipeline(name, *strategies, Timeout(5))


def test_steps_run_in_order_and_are_kept(store: EmbeddedStore, witness: Witness) -> None:
    """Each step runs once, sees the results of those before it, and its own result is shown."""
    saga = Saga(
        "checkout",
        witness.step("reserve", {"seats": 2}),
        witness.step("charge", "paid", kind="pivot"),
        witness.step("mail", None, kind="retriable"),
    )
    report = witness.run(store, saga)
    assert ["reserve", "charge", "mail"] == witness.calls
    assert ("completed", True, None) == (report.state, report.ended, report.error)
    assert [("reserve", {"seats": 2}), ("charge", "paid"), ("mail", None)] == [(s.name, s.result) for s in report.steps]
    assert [{}, {"reserve": {"seats": 2}}, {"reserve": {"seats": 2}, "charge": "paid"}] == [
        context.results for context in witness.contexts
    ]


def test_a_context_names_the_saga_and_the_key_of_its_step(store: EmbeddedStore, witness: Witness) -> None:
    """The key belongs to saga and step: others have others, the undoing has the same, and attempts are counted."""
    saga = Saga("s", witness.step("a"), witness.step("b", ValueError("no"), undo=None))
    report = witness.run(store, saga)
    act, fails, undo = witness.contexts
    assert [report.saga_id] * 3 == [context.saga_id for context in witness.contexts]
    assert (act.key, "a", 1) == (undo.key, undo.step, undo.attempt)
    assert key_of(report.saga_id, "b") == fails.key != act.key
    assert [act.key, fails.key] == [step.key for step in report.steps]
    assert 64 == len(act.key)


def test_keys_of_similar_names_differ() -> None:
    """The saga `1` with a step `1x` has another key than `11` with `x`, and it never changes."""
    assert 4 == len({key_of("1", "1x"), key_of("11", "x"), key_of("1:1", "x"), key_of("1", ":1x")})
    assert "2f96a3754179590a" == key_of("checkout-7", "charge")[:16]


def test_data_come_back_as_what_they_were(store: EmbeddedStore, witness: Witness) -> None:
    """A dataclass with exact fields reaches each step as that dataclass; a result keeps its types, too."""
    order = Order("ann", Decimal("12.30"), datetime(2026, 5, 1, tzinfo=UTC))
    saga: Saga[Any] = Saga("s", witness.step("a", Decimal("0.10")), witness.step("b"), data=Order)
    report = witness.run(store, saga, order)
    assert [order, order] == [context.data for context in witness.contexts]
    assert Decimal("0.10") == witness.contexts[1].results["a"]
    assert {"customer": "ann", "total": Decimal("12.30"), "at": order.at} == report.data


def test_a_failure_undoes_what_was_begun_in_reverse_order(store: EmbeddedStore, witness: Witness) -> None:
    """The step that failed is undone first, since it may have had its effect; then those before it."""
    saga = Saga("s", *(witness.step(name) for name in "abc"), witness.step("d", OSError("gone")), witness.step("e"))
    report = witness.run(store, saga)
    assert ["a", "b", "c", "d", "-d", "-c", "-b", "-a"] == witness.calls
    assert ("compensated", "step 'd' failed: OSError: gone") == (report.state, report.error)
    assert dict.fromkeys("abcd", "undone") == states(report)
    assert {"a": "a done", "b": "b done", "c": "c done"} == witness.contexts[-1].results


def test_a_step_without_a_compensation_is_passed_over(store: EmbeddedStore, witness: Witness) -> None:
    """What nothing undoes stays as it is."""
    saga = Saga("s", witness.step("a"), witness.step("look", undo=None), witness.step("b", ValueError("no"), undo=None))
    report = witness.run(store, saga)
    assert ["a", "look", "b", "-a"] == witness.calls
    assert {"a": "undone", "look": "done", "b": "failed"} == states(report)
    assert "compensated" == report.state


def test_a_pivot_that_fails_turns_the_saga_around(store: EmbeddedStore, witness: Witness) -> None:
    """It is undone itself where it says how, like any step whose outcome may be unknown."""
    saga = Saga("s", witness.step("a"), witness.step("p", ValueError("no"), kind="pivot"))
    assert "compensated" == witness.run(store, saga).state
    assert ["a", "p", "-p", "-a"] == witness.calls


def test_a_retriable_step_is_tried_until_it_is_done(store: EmbeddedStore, clock: FakeClock) -> None:
    """With its backoff; the saga goes forward only, and a short wait does not put it aside."""
    witness = Witness()
    saga = Saga("s", witness.step("a"), witness.step("r", OSError("1"), OSError("2"), "ok", kind="retriable"))
    sagas = Sagas(store, [saga], rng=lambda: 0.0)  # equal jitter: half of 1 s, half of 2 s
    report = witness.go_on(sagas, saga)
    assert (["a", "r", "r", "r"], "completed") == (witness.calls, report.state)
    assert [0.5, 1.0] == clock.slept
    assert [1, 2, 3] == [context.attempt for context in witness.contexts[1:]]
    assert 3 == report.steps[1].attempts


def test_a_long_backoff_puts_the_saga_aside(store: EmbeddedStore, clock: FakeClock) -> None:
    """Nobody holds it until the time has come; looking at it earlier changes nothing."""
    witness = Witness()
    step = Step("r", witness.does("r", OSError("down"), "ok"), kind="retriable", backoff=Backoff.fixed(60))
    sagas = Sagas(store, [Saga("s", step)])
    saga_id = sagas.start("s", {})
    report = sagas.run(saga_id)
    assert ("running", False, clock.wall() + 60) == (report.state, report.held, report.wake_at)
    assert "OSError: down" == report.steps[0].error
    clock.advance(59.9)
    assert ("running", ["r"]) == (sagas.run(saga_id).state, witness.calls)
    clock.advance(0.2)
    assert ("completed", ["r", "r"]) == (sagas.run(saga_id).state, witness.calls)


@pytest.mark.parametrize("way", ["returned", "raised"])
def test_a_step_may_ask_to_be_called_later(store: EmbeddedStore, clock: FakeClock, way: str) -> None:
    """Returned or raised, `Later` is no failure: the step is called again then, as the next attempt."""
    witness = Witness()
    later: Any = Later(120) if way == "raised" else lambda context: Later(120)
    sagas = Sagas(store, [Saga("s", witness.step("a", later, "ok"))])
    failures: list[Any] = []
    sagas.listen(failures.append, SagaStepFailed)
    saga_id = sagas.start("s", {})
    report = sagas.run(saga_id)
    assert ("running", clock.wall() + 120) == (report.state, report.wake_at)
    clock.advance(120)
    assert "completed" == sagas.run(saga_id).state
    assert ([1, 2], []) == ([context.attempt for context in witness.contexts], failures)


def test_an_undoing_may_ask_to_be_called_later(store: EmbeddedStore, clock: FakeClock) -> None:
    """Meanwhile the other steps are undone."""
    witness = Witness()
    fails = witness.step("c", ValueError("no"), undo=None)
    sagas = Sagas(store, [Saga("s", witness.step("a"), witness.step("b", undo=(Later(60), None)), fails)])
    saga_id = sagas.start("s", {})
    assert ("compensating", clock.wall() + 60) == ((report := sagas.run(saga_id)).state, report.wake_at)
    assert ["a", "b", "c", "-b", "-a"] == witness.calls
    clock.advance(60)
    assert ("compensated", "-b") == (sagas.run(saga_id).state, witness.calls[-1])


def test_later_is_no_failure_for_a_pipeline(store: EmbeddedStore, clock: FakeClock) -> None:
    """A Retry around the action does not repeat it, though it repeats every failure."""
    witness = Witness()
    step = Step("a", witness.does("a", Later(60)), pipeline=bounded("later", Retry(on=Exception, backoff=0.1)))
    assert "running" == witness.run(store, Saga("s", step)).state
    assert ["a"] == witness.calls


def test_actions_are_called_through_the_pipeline(store: EmbeddedStore, witness: Witness) -> None:
    """In the worker's colour: what the pipeline mends is no failure of the step, its undoing included."""
    name = f"{witness.colour} steps"
    retry = bounded(name, Retry(on=OSError, max_attempts=2, backoff=0.001))
    step: Step[Any] = Step(
        "a", witness.does("a", OSError("once"), "ok"), compensate=witness.does("-a", OSError(), None), pipeline=retry
    )
    report = witness.run(store, Saga("s", step, witness.step("b", ValueError("no"), undo=None)))
    assert ["a", "a", "b", "-a", "-a"] == witness.calls
    assert (1, 1) == (report.steps[0].attempts, report.steps[0].undo_attempts)


def test_a_deadline_turns_a_saga_around_before_the_pivot(store: EmbeddedStore, clock: FakeClock) -> None:
    """Looked at between steps: what was begun is undone."""
    witness = Witness()
    slow = witness.step("a", lambda context: clock.advance(20))
    saga = Saga("s", slow, witness.step("b"), witness.step("p", kind="pivot"), deadline=10)
    report = witness.run(store, saga)
    assert (["a", "-a"], "compensated", "its deadline has passed") == (witness.calls, report.state, report.error)


def test_a_deadline_wakes_a_saga_that_waits(store: EmbeddedStore, clock: FakeClock) -> None:
    """A step that asks for an hour is undone when the deadline comes, and not before."""
    witness = Witness()
    sagas = Sagas(store, [Saga("s", witness.step("a", Later(3600)), deadline=60)])
    saga_id = sagas.start("s", {})
    assert clock.wall() + 60 == sagas.run(saga_id).wake_at
    clock.advance(60)
    assert ("compensated", ["a", "-a"]) == (sagas.run(saga_id).state, witness.calls)


def test_a_deadline_does_not_count_from_the_pivot_on(store: EmbeddedStore, clock: FakeClock) -> None:
    """A pivot that was begun in time may end late, and what follows it takes the time that it takes."""
    witness = Witness()
    late: Any = lambda context: clock.advance(100)  # noqa: E731
    saga = Saga("s", witness.step("p", late, kind="pivot"), witness.step("r", late, kind="retriable"), deadline=10)
    assert ("completed", ["p", "r"]) == (witness.run(store, saga).state, witness.calls)


def test_a_deadline_surrounds_compensatable_actions(store: EmbeddedStore, clock: FakeClock, witness: Witness) -> None:
    """What seawall protects in an action has no more time than the saga; a retriable one has all of it."""
    seen: list[float | None] = []
    note: Any = lambda context: seen.append(remaining())  # noqa: E731
    saga = Saga(
        "s", witness.step("a", note), witness.step("p", note, kind="pivot"), witness.step("r", note, kind="retriable"),
        deadline=10,
    )  # fmt: skip
    with FakeClock(grace=0.5):
        witness.run(store, saga)
    assert seen[0] is not None
    assert (True, None, None) == (9 < seen[0] <= 10, *seen[1:])


def test_starting_again_with_equal_data_changes_nothing(store: EmbeddedStore, witness: Witness) -> None:
    """Also after the end, and whatever the order of keys; other data, or another saga, under the id are an error."""
    sagas = Sagas(store, [Saga("s", witness.step("a")), Saga("t", witness.step("b"))])

    async def start(name: str, data: Any) -> str:
        return await sagas.astart(name, data, saga_id="order-7")

    def begin(name: str, data: Any) -> str:
        if witness.colour == "async":
            return asyncio.run(start(name, data))
        return sagas.start(name, data, saga_id="order-7")

    assert "order-7" == begin("s", {"a": 1, "b": [2]}) == begin("s", {"b": [2], "a": 1})
    with pytest.raises(KeyMismatchError, match="saga_id='order-7' is that of another saga, a 's' with other data"):
        begin("s", {"a": 2, "b": [2]})
    with pytest.raises(KeyMismatchError, match="is that of another saga, a 's';"):
        begin("t", {"a": 1, "b": [2]})
    assert 1 == len(sagas.list())


def test_a_start_belongs_to_the_transaction(store: EmbeddedStore) -> None:
    """Begun in an effect, a saga is there when that is committed, and never if it fails."""
    witness = Witness()
    sagas = Sagas(store, [Saga("s", witness.step("a"))])
    with pytest.raises(ZeroDivisionError):
        store.transact(lambda db: [sagas.start("s", {}, saga_id="one", session=db), 1 / 0])
    assert () == sagas.list()
    assert "two" == store.transact(lambda db: sagas.start("s", {}, saga_id="two", session=db))
    assert "completed" == sagas.run("two").state


def test_start_refuses_what_it_cannot_keep(store: EmbeddedStore) -> None:
    """With the argument, what is wrong, and what would be right; nothing is written."""
    witness = Witness()
    sagas = Sagas(store, [Saga("s", witness.step("a")), Saga("t", witness.step("a"), data=Order)])
    with pytest.raises(UnknownSagaError, match="no definition of a saga 'x'; there are 's', 't'"):
        sagas.start("x", {})
    with pytest.raises(TypeError, match=r"data=\[1\] is not what saga 's' is started with; use a dict"):
        sagas.start("s", [1])
    with pytest.raises(TypeError, match="use a Order"):
        sagas.start("t", {})
    with pytest.raises(TypeError, match=r"data\['x'\] is of type object"):
        sagas.start("s", {"x": object()})
    with pytest.raises(TypeError, match="data takes 70011 bytes as JSON, and at most 65536 are stored"):
        sagas.start("s", {"blob": "x" * 70_000})
    with pytest.raises(ValueError, match="saga_id='', 0 characters, is none"):
        sagas.start("s", {}, saga_id="")
    assert () == sagas.list()


def test_a_result_that_cannot_be_kept_fails_its_step(store: EmbeddedStore, witness: Witness) -> None:
    """The effect took place: so the step is undone."""
    report = witness.run(store, Saga("s", witness.step("a", object())))
    assert (["a", "-a"], "compensated") == (witness.calls, report.state)
    assert report.error is not None
    assert "the result of step 'a' is of type object" in report.error


def test_the_highest_version_is_started_and_older_ones_go_on(store: EmbeddedStore) -> None:
    """A saga keeps to the version that it was begun with."""
    witness = Witness()
    first = Saga("s", witness.step("old", Later(60), None))
    saga_id = Sagas(store, [first]).start("s", {})
    Sagas(store, [first]).run(saga_id)
    with FakeClock() as clock:
        clock.set_wall(3_000_000_000)
        both = Sagas(store, [first, Saga("s", witness.step("new"), version=2)])
        both.run(saga_id)
        report = both.run(both.start("s", {}))
    assert (["old", "old", "new"], 2) == (witness.calls, report.version)


def test_run_says_why_it_cannot(store: EmbeddedStore) -> None:
    """Unknown, held by a worker, of an unknown version; and one that has ended is merely shown."""
    witness = Witness()
    seen: list[Any] = []

    def again(context: StepContext[Any]) -> None:
        with pytest.raises(InProgressError, match="saga one") as refused:
            sagas.run("one")
        seen.append(refused.value.retry_after)

    sagas = Sagas(store, [Saga("s", witness.step("a", again))])
    with pytest.raises(UnknownSagaError, match="there is no saga 'one'"):
        sagas.run("one")
    sagas.start("s", {}, saga_id="one")
    with pytest.raises(SagaStateError, match="saga 'one' is of kind 's:1', which is not known here"):
        Sagas(store, [Saga("s", witness.step("a"), version=2)]).run("one")
    assert "completed" == sagas.run("one").state == sagas.run("one").state
    assert (True, ["a"]) == (0 < seen[0] <= 30, witness.calls)


def test_a_sync_worker_refuses_async_steps(store: EmbeddedStore) -> None:
    """Before anything runs; and a plain function that returns a coroutine fails its step."""
    witness = Witness("async")
    sagas = Sagas(store, [Saga("s", witness.step("a"))])
    with pytest.raises(TypeError, match=r"step 'a' of saga 's' is an async function, .* use arun"):
        sagas.run(sagas.start("s", {}))
    with pytest.raises(TypeError, match="use async with"), sagas:
        pass
    hidden = Witness().step("b", lambda context: asyncio.sleep(0))
    report = Witness().run(store, Saga("t", hidden))
    assert "TypeError: step 'b' returned a coroutine to a sync worker" in str(report.error)


def test_an_async_worker_runs_plain_steps_on_threads(store: EmbeddedStore) -> None:
    """So that they do not hold up the event loop; what they return to be awaited is awaited."""
    threads: list[threading.Thread] = []
    plain = Witness()

    async def answer() -> str:
        return "awaited"

    saga = Saga(
        "s",
        plain.step("a", lambda context: threads.append(threading.current_thread())),
        plain.step("b", lambda context: answer()),
        plain.step("c", ValueError("no")),
    )
    sagas = Sagas(store, [saga])

    async def run() -> Any:
        return await sagas.arun(await sagas.astart("s", {}))

    report = asyncio.run(run())
    assert ["a", "b", "c", "-c", "-b", "-a"] == plain.calls
    assert threads[0] is not threading.main_thread()
    assert "awaited" == report.steps[1].result


def test_a_step_that_cancels_itself_has_failed(store: EmbeddedStore) -> None:
    """Nobody cancelled the worker: it would otherwise go round for ever."""
    witness = Witness("async")
    report = witness.run(store, Saga("s", witness.step("a", asyncio.CancelledError())))
    assert "step 'a' failed: RuntimeError: step 'a' cancelled itself" == report.error


def test_what_happens_is_told(store: EmbeddedStore, witness: Witness) -> None:
    """As events of the saga's name, to those who listen."""
    sagas = Sagas(store, [saga := Saga("s", witness.step("a"), witness.step("b", ValueError("no"), undo=None))])
    told: list[Any] = []
    stop = sagas.listen(told.append)
    saga_id = witness.go_on(sagas, saga).saga_id
    stop()
    witness.go_on(sagas, saga)
    assert [
        SagaStarted("s", saga_id),
        SagaStepFailed("s", saga_id, "b", False, 1, "ValueError: no", None),
        SagaCompensating("s", saga_id, "b", "step 'b' failed: ValueError: no"),
        SagaEnded("s", saga_id, "compensated", told[-1].seconds),
    ] == told
    assert f"saga 's' {saga_id}: step 'b', attempt 1, failed; no other one is made: ValueError: no" == str(told[1])
