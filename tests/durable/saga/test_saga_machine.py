"""A saga in the hands of workers that die at any command, of services that fail, of time, repliers and operators."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seawall import Backoff
from seawall.durable.driving import Call, Flow, Pause, Transact
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import InProgressError, SagaStateError
from seawall.durable.outbox import Outbox
from seawall.durable.saga import Kind, Later, Saga, Step, StepContext
from seawall.durable.saga_calling import call
from seawall.durable.saga_report import SagaReport
from seawall.durable.sagas import Sagas
from seawall.testing import FakeClock

OUTCOMES = st.sampled_from(["ok", "ok", "ok", "fails", "fails after its effect", "later"])
SHAPES = st.sampled_from(["action", "action", "command", "not undone"])
GONE = {"started", "sent", "done", "failed"}
LEASE = 30.0


class Died(BaseException):
    """The worker was killed."""


class World:
    """What took place, checked as it does: `effects` by step."""

    def __init__(self) -> None:
        self.effects: set[str] = set()
        self.acts: list[str] = []
        self.undos: list[str] = []
        self.pivot_done = False

    def act(self, step: str, order: list[str]) -> None:
        """Has an effect, in order, and never once something was undone."""
        assert [] == self.undos, f"{step} acted after {self.undos} were undone"
        assert set(order[: order.index(step)]) <= set(self.acts), f"{step} acted before its turn"
        self.effects.add(step)
        self.acts.append(step)

    def undo(self, step: str) -> None:
        """Takes an effect back."""
        assert not self.pivot_done, f"{step} was undone after the pivot"
        self.effects.discard(step)
        self.undos.append(step)


class SagaMachine(RuleBasedStateMachine):
    """One saga, from its start to an end that must come."""

    @initialize(
        shapes=st.lists(
            st.tuples(SHAPES, st.lists(OUTCOMES, max_size=3), st.lists(OUTCOMES, max_size=3)), min_size=1, max_size=4
        ),
        pivot=st.integers(0, 5),
        deadline=st.sampled_from([None, None, 100.0]),
    )
    def begin(self, shapes: list[Any], pivot: int, deadline: float | None) -> None:
        """Defines it and starts it."""
        self.clock = FakeClock()
        self.clock.__enter__()
        self.store = EmbeddedStore.in_memory()
        self.world = World()
        self.order = [f"s{number}" for number in range(len(shapes))]
        self.undoable: set[str] = set()
        self.skipped: set[str] = set()
        steps = [
            self.step(name, pivot, number, *shape)
            for number, (name, shape) in enumerate(zip(self.order, shapes, strict=True))
        ]
        self.outbox = Outbox(self.store)
        self.sagas = Sagas(self.store, [Saga("s", *steps, deadline=deadline)], outbox=self.outbox, rng=lambda: 0.5)
        self.id = self.sagas.start("s", {"n": 1})

    def step(self, name: str, pivot: int, number: int, shape: str, acts: list[str], undos: list[str]) -> Step[Any]:
        """Makes a step of a shape; after its listed outcomes, all goes well."""
        kind: Kind = "compensatable" if number < pivot else "pivot" if number == pivot else "retriable"

        def act(context: StepContext[Any]) -> Any:
            outcome = acts.pop(0) if acts else "ok"
            if outcome == "fails":
                raise OSError("down")
            if outcome == "later":
                return Later(50)
            self.world.act(name, self.order)
            if outcome == "fails after its effect":
                raise OSError("down")
            return name

        def undo(context: StepContext[Any]) -> Any:
            outcome = undos.pop(0) if undos else "ok"
            if outcome == "fails":
                raise OSError("down")
            if outcome == "later":
                return Later(50)
            self.world.undo(name)
            if outcome == "fails after its effect":
                raise OSError("down")
            return None

        soon = {"backoff": Backoff.fixed(20), "undo_backoff": Backoff.fixed(20)}
        undoes = shape != "not undone" and kind != "retriable"
        if undoes:
            self.undoable.add(name)
        if shape == "command":
            says: Any = lambda context: (name, None)  # noqa: E731
            return Step(name, command=says, undo_command=says if undoes else None, kind=kind, timeout=60, **soon)
        return Step(name, act, compensate=undo if undoes else None, kind=kind, **soon)

    def show(self) -> SagaReport:
        """Returns the saga."""
        return self.sagas.show(self.id)

    @rule(commands=st.integers(0, 25), side=st.booleans(), repeats=st.booleans())
    def work_and_die(self, commands: int, side: bool, repeats: bool) -> None:
        """A worker takes it, and is killed at a command, before or after that was done; or it lets go before.

        `repeats`: the answer to each of its commits is lost, and so each transaction is made once more.
        """
        self.repeats = repeats
        try:
            held = self.drive(self.sagas._work.take(self.id), commands, side)
            if held is not None:
                flow = self.sagas._work._flow(held, call, lambda: False)
                self.drive(flow, commands, side)
        except (Died, InProgressError):
            pass
        self.note()

    def drive(self, flow: Flow[Any], commands: int, side: bool) -> Any:
        """Runs a flow, for so many commands."""
        try:
            command = next(flow)
            while True:
                commands -= 1
                if commands < 0 and not side:
                    raise Died
                try:
                    result = self.do(command)
                except Exception as error:
                    command = flow.throw(error)
                else:
                    if commands < 0:
                        raise Died
                    command = flow.send(result)
        except StopIteration as end:
            return end.value

    def do(self, command: Any) -> Any:
        """Does what a flow asks for."""
        match command:
            case Transact(script=script):
                if self.repeats:
                    self.store.run(script)
                return self.store.run(script)
            case Call(fn=fn, args=args):
                return fn(*args)
            case Pause(seconds=seconds):
                self.clock.advance(seconds)
        return None

    @rule(seconds=st.sampled_from([1.0, 20.0, LEASE, 60.0]))
    def time_passes(self, seconds: float) -> None:
        """Leases, timers and deadlines come nearer."""
        self.clock.advance(seconds)

    @rule(well=st.booleans(), twice=st.booleans())
    def reply(self, well: bool, twice: bool) -> None:
        """The receiver of the last command does it, or not, and says so."""
        waiting = self.outbox.waiting()
        if not waiting:
            return
        message = waiting[-1]
        step, undo = message.headers["seawall-step"], message.headers["seawall-undo"] == "true"
        state = {each.name: each.state for each in self.show().steps}.get(step)
        if well and state == ("undo_sent" if undo else "sent"):
            if undo:
                self.world.undo(step)
            else:
                self.world.act(step, self.order)
        for _ in range(2 if twice else 1):
            self.sagas.reply(self.id, step, result=1, error=None if well else "busy", undo=undo)
        self.note()

    @rule()
    def operator_retries(self) -> None:
        """Which is refused once it has ended."""
        try:
            self.sagas.retry(self.id)
        except SagaStateError:
            assert self.show().ended

    @rule(number=st.integers(0, 3))
    def operator_skips(self, number: int) -> None:
        """The undoing of a step; one that is undone cannot be skipped, and nor can one that may still go well."""
        step = self.order[number % len(self.order)]
        if self.show().state not in ("compensating", "stuck"):
            return
        try:
            self.sagas.skip(self.id, step, "ann")
        except SagaStateError:
            return
        self.skipped.add(step)

    def note(self) -> None:
        """Notes whether the pivot is done."""
        pivots = [step for step in self.sagas._sagas["s:1"].steps if step.kind != "compensatable"]
        states = {step.name: step.state for step in self.show().steps}
        if any(states.get(step.name) == "done" for step in pivots):
            self.world.pivot_done = True

    @invariant()
    def it_is_never_forgotten(self) -> None:
        """It has ended, or is stuck, or held for a while, or due at some time, or waits for a reply."""
        report = self.show()
        waits = any(step.state in ("sent", "undo_sent") for step in report.steps)
        assert report.ended or report.state == "stuck" or report.held or report.wake_at is not None or waits

    @invariant()
    def its_end_is_whole(self) -> None:
        """All effects, or none of those that can be undone; nobody undid what was never begun."""
        report = self.show()
        begun = {step.name for step in report.steps}
        assert set(self.world.undos) <= begun
        if report.state == "completed":
            assert ([], set(self.order)) == (self.world.undos, self.world.effects)
        if report.state == "compensated":
            assert not self.world.effects & self.undoable - self.skipped
            assert (begun & self.undoable) - self.skipped <= set(self.world.undos)

    def teardown(self) -> None:
        """From wherever it is, it comes to an end, when workers live and services answer."""
        try:
            for _ in range(200):
                report = self.show()
                if report.ended or report.state == "stuck":
                    break
                self.clock.advance(LEASE + 5)
                self.work_and_die(1000, False, False)
                self.reply(True, False)
            assert self.show().ended or self.show().state == "stuck"
            self.its_end_is_whole()
        finally:
            self.store.close()
            self.clock.__exit__()


TestSagaMachine = SagaMachine.TestCase
TestSagaMachine.settings = settings(max_examples=60, stateful_step_count=20)
