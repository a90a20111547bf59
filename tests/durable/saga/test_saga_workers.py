"""Workers: they take what is due, keep it, let go of it, and go on with what others have left."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import saga_scripts as scripts
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.events import SagaBlocked, SagaEnded, SagaInterrupted, SagaTakenOver
from seawall.durable.saga import Later, Saga, Step, StepContext
from seawall.durable.saga_rows import Claim
from seawall.durable.sagas import Sagas
from seawall.durable.script import Script, Statement
from seawall.durable.store import StoreError
from seawall.testing import FakeClock
from tests.durable.saga.witness import Witness, states

PATIENCE = 20.0
NEVER = 600.0  # a poll that nobody waits for


class Working:
    """Sagas with a worker, in either colour: in an event loop on a thread of its own, or on threads."""

    def __init__(self, colour: str) -> None:
        self.colour = colour

    @contextmanager
    def at(self, sagas: Sagas) -> Iterator[Callable[[], None]]:
        """Works at them while the block runs; gives what makes it leave, and waits for that."""
        if self.colour == "sync":
            with sagas:
                yield lambda: None
            return
        entered, leave = threading.Event(), threading.Event()
        failures: list[BaseException] = []

        async def work() -> None:
            async with sagas:
                entered.set()
                await asyncio.to_thread(leave.wait)

        def run() -> None:
            try:
                asyncio.run(work())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert entered.wait(PATIENCE)
        try:
            yield leave.set
        finally:
            leave.set()
            thread.join(PATIENCE)
        assert [] == failures


@pytest.fixture
def working(witness: Witness) -> Working:
    """In the colour of the witness."""
    return Working(witness.colour)


class Ends:
    """Counts the sagas that have ended."""

    def __init__(self, sagas: Sagas) -> None:
        self.events: list[SagaEnded] = []
        self._came = threading.Condition()
        sagas.listen(self._note, SagaEnded)

    def _note(self, event: SagaEnded) -> None:
        with self._came:
            self.events.append(event)
            self._came.notify_all()

    def wait_for(self, number: int) -> None:
        """Waits until so many have."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= number, PATIENCE), f"{len(self.events)} of {number}"


def until(condition: Callable[[], bool]) -> None:
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.005)


def test_a_worker_takes_what_is_there_and_what_comes(store: EmbeddedStore, witness: Witness, working: Working) -> None:
    """Woken by each start, without waiting for its next look; at most so many at a time."""
    running: list[int] = []
    most: list[int] = []

    def busy(context: StepContext[Any]) -> None:
        running.append(1)
        most.append(len(running))
        running.pop()

    sagas = Sagas(store, [Saga("s", witness.step("a", busy), witness.step("b"))], concurrency=3, poll=NEVER)
    ends = Ends(sagas)
    for _ in range(10):
        sagas.start("s", {})
    with working.at(sagas):
        ends.wait_for(10)
        for _ in range(10):
            sagas.start("s", {})
        ends.wait_for(20)
    assert 20 == len(sagas.list(state="completed"))
    assert (40, True) == (len(witness.calls), max(most) <= 3)


def test_a_worker_looks_again_by_itself(tmp_path: Path, witness: Witness, working: Working) -> None:
    """Where nobody wakes it, as when another process starts a saga."""
    with EmbeddedStore(tmp_path / "store.db") as store, EmbeddedStore(tmp_path / "store.db") as other:
        saga = Saga("s", witness.step("a"))
        sagas = Sagas(store, [saga], poll=0.02)
        ends = Ends(sagas)
        with working.at(sagas):
            Sagas(other, [saga]).start("s", {})
            ends.wait_for(1)


def test_on_leaving_the_running_step_ends_and_the_rest_is_left(
    store: EmbeddedStore, witness: Witness, working: Working
) -> None:
    """Not begun, not held, and due at once: another worker goes on with it."""
    began, go_on = threading.Event(), threading.Event()

    def hold(context: StepContext[Any]) -> None:
        began.set()
        assert go_on.wait(PATIENCE)

    held = Witness().step("a", hold)  # a plain function in both colours: it must not hold up the loop
    sagas = Sagas(store, [Saga("s", held, witness.step("b"))])
    saga_id = sagas.start("s", {})
    with working.at(sagas) as leave:
        assert began.wait(PATIENCE)
        leave()
        threading.Thread(target=lambda: (until(lambda: not store._listeners["saga"]), go_on.set())).start()
    report = sagas.show(saga_id)
    assert ({"a": "done"}, "running", False) == (states(report), report.state, report.held)
    ends = Ends(sagas)
    with working.at(sagas):
        ends.wait_for(1)
    assert ["b"] == witness.calls


def test_an_async_step_that_does_not_end_is_cancelled_on_leaving(
    store: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    """After `drain`; the saga is let go of, and its step, whose outcome nobody knows, is tried again elsewhere."""
    began = threading.Event()
    attempts: list[int] = []

    async def hang(context: StepContext[Any]) -> None:
        attempts.append(context.attempt)
        began.set()
        await asyncio.sleep(NEVER if context.attempt == 1 else 0)

    sagas = Sagas(store, [Saga("s", Step("a", hang))], drain=0)
    saga_id = sagas.start("s", {})
    with Working("async").at(sagas):
        assert began.wait(PATIENCE)
    report = sagas.show(saga_id)
    assert ({"a": "started"}, False, True) == (states(report), report.held, report.wake_at is not None)
    assert "sagas: 1 steps did not end in time and were cancelled" in caplog.text
    ends = Ends(sagas)
    with Working("async").at(sagas):
        ends.wait_for(1)
    assert [1, 2] == attempts


def test_a_thread_that_does_not_end_is_left_behind(store: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    """Leaving takes no longer than `drain`; the step that runs on writes its end, and then lets go."""
    began, go_on = threading.Event(), threading.Event()

    def hold(context: StepContext[Any]) -> None:
        began.set()
        assert go_on.wait(PATIENCE)

    sagas = Sagas(store, [Saga("s", Step("a", hold), Step("b", hold))], drain=0.01)
    saga_id = sagas.start("s", {})
    with sagas:
        assert began.wait(PATIENCE)
    assert "sagas: 1 steps did not end in time and still run" in caplog.text
    assert sagas.show(saga_id).held
    go_on.set()
    until(lambda: not sagas.show(saga_id).held)
    assert {"a": "done"} == states(sagas.show(saga_id))


def claimed(store: EmbeddedStore, *kinds: str) -> Claim:
    """Takes the saga that is due, as a worker does that then dies."""
    (claim,) = store.run(lambda: scripts.claim("dead", 30.0, list(kinds), 1))
    return claim


def test_the_saga_of_a_dead_worker_is_taken_over(store: EmbeddedStore, clock: FakeClock) -> None:
    """When its lease has run out, within the lease and 5 seconds; and that is told."""
    witness = Witness()
    sagas = Sagas(store, [Saga("s", witness.step("a"))])
    ends, told = Ends(sagas), list[Any]()
    sagas.listen(told.append, SagaTakenOver)
    saga_id = sagas.start("s", {})
    died = clock.now()
    claimed(store, "s:1")
    with sagas:
        ends.wait_for(1)
    assert 30 <= clock.now() - died <= 35 + 1
    assert [SagaTakenOver("s", saga_id)] == told


def lease_of(store: EmbeddedStore, saga_id: str) -> float:
    """Returns the instant at which the lease of a saga ends."""
    asks = Statement("SELECT lease_until FROM seawall_saga WHERE id = :saga_id")

    def look() -> Script[float]:
        rows = yield asks, {"saga_id": saga_id}
        return float(rows[0][0])

    return store.run(look)


def test_a_lease_is_kept_while_a_step_runs(store: EmbeddedStore, witness: Witness) -> None:
    """Renewed again and again, however long it takes."""
    seen: set[float] = set()

    def long(context: StepContext[Any]) -> None:
        until(lambda: bool(seen.add(lease_of(store, context.saga_id))) or len(seen) >= 3)

    sagas = Sagas(store, [saga := Saga("s", Witness().step("a", long))], lease=30, heartbeat=0.05)
    assert "completed" == witness.go_on(sagas, saga).state


def test_the_loss_of_one_saga_does_not_stop_a_worker(store: EmbeddedStore, witness: Witness, working: Working) -> None:
    """It is told, and the others go on."""
    resolve: Any = lambda context: Sagas(store).resolve(context.saga_id, "ann")  # noqa: E731
    sagas = Sagas(store, [Saga("lost", Witness().step("a", resolve)), Saga("s", witness.step("a"))])
    ends, told = Ends(sagas), list[Any]()
    sagas.listen(told.append, SagaInterrupted)
    lost = sagas.start("lost", {})
    with working.at(sagas):
        until(lambda: bool(told))
        sagas.start("s", {})
        ends.wait_for(1)
    assert [("lost", lost, "LeaseLostError")] == [(e.name, e.saga_id, e.error.split(":")[0]) for e in told]


class Failing(EmbeddedStore):
    """A store that is out of reach while `down` is set."""

    down = False
    failures = 0

    def run(self, script: Any) -> Any:
        """Fails, or runs it."""
        self._fail()
        return super().run(script)

    async def arun(self, script: Any) -> Any:
        """Fails, or runs it."""
        self._fail()
        return await super().arun(script)

    def _fail(self) -> None:
        if self.down:
            self.failures += 1
            raise StoreError("out of reach")


def test_a_worker_outlives_an_outage_of_the_store(
    tmp_path: Path, witness: Witness, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so once, and once that it is over."""
    caplog.set_level(logging.INFO, "seawall")
    store = Failing(tmp_path / "store.db")
    sagas = Sagas(store, [Saga("s", witness.step("a"))], poll=0.01)
    ends = Ends(sagas)
    store.down = True
    with working.at(sagas):
        until(lambda: store.failures > 5)
        store.down = False
        sagas.start("s", {})
        ends.wait_for(1)
    store.close()
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("sagas:")]
    assert ["sagas: the store does not answer", "sagas: the store answers again"] == [
        text[:32].rstrip(" a") for text in said
    ]


def test_a_saga_of_an_unknown_version_is_blocked_and_goes_on_later(store: EmbeddedStore, clock: FakeClock) -> None:
    """It is told and shown, left alone, and taken by the first worker that knows it."""
    witness = Witness()
    new = Saga("s", witness.step("a"), version=2)
    saga_id = Sagas(store, [new]).start("s", {})
    old = Sagas(store, [Saga("s", witness.step("a"))])
    told: list[Any] = []
    old.listen(told.append)
    with old:
        until(lambda: bool(told))
        clock.advance(100)
    assert [SagaBlocked("s", saga_id, 2, "no worker knows this version of it")] == told
    report = old.show(saga_id)
    assert ("blocked", (), False) == (report.state, report.steps, report.held)
    sagas = Sagas(store, [new])
    ends = Ends(sagas)
    with sagas:
        ends.wait_for(1)
    assert ("completed", None) == ((report := sagas.show(saga_id)).state, report.blocked)


def test_a_changed_definition_of_the_same_version_blocks(store: EmbeddedStore, clock: FakeClock) -> None:
    """A step that was begun is not where it was: the saga is left alone until the right definition is back."""
    witness = Witness()
    right = Saga("s", witness.step("a"), witness.step("b", Later(60), None))
    saga_id = witness.go_on(Sagas(store, [right]), right).saga_id
    clock.advance(60)
    wrong = Sagas(store, [Saga("s", witness.step("x"), witness.step("a"), witness.step("b"))])
    report = wrong.run(saga_id)
    assert ("blocked", ["a", "b"]) == (report.state, witness.calls)
    assert "its step 1 was 'a', and is not so in the definition at hand" == report.blocked
    clock.advance(30)
    assert "completed" == Sagas(store, [right]).run(saga_id).state


def test_data_that_do_not_fit_any_more_block(store: EmbeddedStore, clock: FakeClock) -> None:
    """As with a dataclass that has other fields now."""
    witness = Witness()
    old, new = make_dataclass("Order", ["a"]), make_dataclass("Order", ["b"])
    saga_id = Sagas(store, [Saga("s", witness.step("a"), data=old)]).start("s", old(1))
    report = Sagas(store, [Saga("s", witness.step("a"), data=new)]).run(saga_id)
    assert ("blocked", []) == (report.state, witness.calls)
    assert "its data do not fit the definition at hand: TypeError: Order.__init__()" in str(report.blocked)


def test_many_workers_share_the_work(tmp_path: Path, witness: Witness) -> None:
    """Each with a store of its own, as in processes of their own: every step of every saga is called once."""
    stores = [EmbeddedStore(tmp_path / "store.db") for _ in range(3)]
    crews = [
        Sagas(store, [Saga("s", *(witness.step(name) for name in "abc"))], poll=0.02, concurrency=4) for store in stores
    ]
    for _ in range(30):
        crews[0].start("s", {})
    with (
        Working(witness.colour).at(crews[0]),
        Working(witness.colour).at(crews[1]),
        Working(witness.colour).at(crews[2]),
    ):
        until(lambda: 30 == len(crews[0].list(state="completed")))
    keys = [(context.saga_id, context.step) for context in witness.contexts]
    assert (90, 90) == (len(keys), len(set(keys)))
    for store in stores:
        store.close()


def test_a_forked_child_may_work_at_them_anew(store: EmbeddedStore) -> None:
    """The parent's worker is not its own."""
    witness = Witness()
    with Sagas(store, [Saga("s", witness.step("a"))]) as sagas:
        worker = sagas._worker
        sagas.after_fork()  # what a fork does in the child
        with sagas:
            ends = Ends(sagas)
            sagas.start("s", {})
            ends.wait_for(1)
        assert worker is not None
        sagas._worker = worker
