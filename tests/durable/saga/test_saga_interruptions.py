"""Cancelled, interrupted, or asleep for longer than its lease: what a worker leaves, others can go on with."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import saga_scripts as scripts
from seawall.durable.driving import Transact, drive
from seawall.durable.embedded import EmbeddedStore
from seawall.durable.errors import LeaseLostError
from seawall.durable.saga import Saga, Step, StepContext
from seawall.durable.saga_calling import call
from seawall.durable.sagas import Sagas
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from tests.durable.saga.witness import Witness


class Cancelling(EmbeddedStore):
    """A store whose user is cancelled at the n-th thing that is asked of it, before or after that was done."""

    def begin(self, number: int, after: bool) -> None:
        """Counts from here."""
        self.left, self.after_it = number, after

    async def arun(self, script: Any) -> Any:
        """Runs it, and cancels."""
        self.left -= 1
        task = asyncio.current_task()
        if self.left or task is None:
            return await super().arun(script)
        if not self.after_it:
            task.cancel()
        result = await super().arun(script)
        task.cancel()
        await asyncio.sleep(0)
        return result


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fails", [False, True], ids=["completes", "compensates"])
def test_cancelled_at_every_await_a_saga_is_let_go_of(tmp_path: Path, after: bool, fails: bool) -> None:
    """Nobody waits for its lease: the next worker ends it, and each step took place, or was undone."""
    for number in range(1, 30):
        witness = Witness("async")
        last = witness.step("c", ValueError("no") if fails else "ok")
        saga = Saga("s", witness.step("a"), witness.step("b"), last)
        store = Cancelling(tmp_path / f"{number}.db")

        async def run(store: Cancelling = store, saga: Any = saga, number: int = number) -> tuple[bool, Any]:
            sagas = Sagas(store, [saga])
            store.begin(1000, after)
            saga_id = await sagas.astart("s", {})
            store.begin(number, after)
            task = asyncio.ensure_future(sagas.arun(saga_id))
            await asyncio.wait({task})
            store.begin(1000, after)
            if number == 1 and task.cancelled():  # the claim itself: whether it came about, its caller cannot know
                await store.arun(lambda: _expire())
            before = await sagas.ashow(saga_id)
            assert not before.held, f"held after {number}"
            report = await sagas.arun(saga_id)
            await store.aclose()
            return task.cancelled(), report

        cancelled, report = asyncio.run(run())
        assert ("compensated" if fails else "completed") == report.state, number
        if not fails:
            assert {"a", "b", "c"} == set(witness.calls)
        if not cancelled:
            return
    pytest.fail("it was never run to its end")


def _expire() -> Script[None]:
    yield Statement("UPDATE seawall_saga SET lease_until = 0"), {}


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "compensates"])
def test_a_worker_that_slept_through_its_lease_writes_nothing(clock: FakeClock, fails: bool) -> None:
    """Stopped before any of its commands while another one ends the saga: what it then writes is refused."""
    for number in range(1, 40):
        store, witness = EmbeddedStore.in_memory(), Witness()
        last = witness.step("c", ValueError("no") if fails else "ok")
        sagas = Sagas(store, [Saga("s", witness.step("a"), witness.step("b"), last)])
        saga_id = sagas.start("s", {})
        held = drive(store, sagas._work.take(saga_id))
        assert held is not None
        sleeper = sagas._work._flow(held, call, lambda: False)
        try:
            command = step_by_step(store, sleeper, number)
        except StopIteration:
            store.close()
            return
        clock.advance(31)
        end = sagas.run(saga_id)
        assert ("compensated" if fails else "completed") == end.state
        with pytest.raises(LeaseLostError, match="is in other hands"):
            step_by_step(store, sleeper, 1000, command)
        assert end == sagas.show(saga_id)
        store.close()
    pytest.fail("it was never run to its end")


def test_a_renewal_beside_the_last_write_does_not_take_the_lease_for_lost(store: EmbeddedStore) -> None:
    """The heartbeat may come just when the saga is let go of; else, an end by an operator, it says that it is lost."""
    for resolved in (False, True):
        sagas = Sagas(store, [Saga("s", Witness().step("a"))])
        held = drive(store, sagas._work.take(saga_id := sagas.start("s", {})))
        assert held is not None
        flow = sagas._work._flow(held, call, lambda: False)
        if resolved:
            sagas.resolve(saga_id, "ann")
        else:
            with pytest.raises(StopIteration):
                step_by_step(store, flow, 1000)
        assert store.run(lambda held=held: scripts.renew(held.claim, 30.0)) is not resolved


def step_by_step(store: EmbeddedStore, flow: Any, commands: int, command: Any = None) -> Any:
    """Runs so many commands of a flow, from its first or from `command`; returns the next one."""
    command = next(flow) if command is None else command
    for _ in range(commands):
        try:
            done = store.run(command.script) if isinstance(command, Transact) else command.fn(*command.args)
        except Exception as error:
            command = flow.throw(error)
        else:
            command = flow.send(done)
    return command


def test_an_interrupt_lets_go_of_the_saga(store: EmbeddedStore) -> None:
    """Ctrl-C in a plain function: the saga is free at once, and its step is tried again."""
    witness = Witness()
    sagas = Sagas(store, [saga := Saga("s", witness.step("a", KeyboardInterrupt(), "ok"))])
    with pytest.raises(KeyboardInterrupt):
        witness.go_on(sagas, saga)
    (report,) = sagas.list()
    assert (False, "running") == (report.held, report.state)
    assert "completed" == sagas.run(report.saga_id).state


NEVER = 600.0


def test_a_worker_that_lost_its_saga_writes_nothing_more(store: EmbeddedStore, witness: Witness) -> None:
    """Its step is cut short where it can be, and LeaseLostError is raised."""
    cut: list[str] = []

    def resolve(context: StepContext[Any]) -> str:
        Sagas(store).resolve(context.saga_id, "ann")
        return "done"

    async def aresolve(context: StepContext[Any]) -> str:
        await Sagas(store).aresolve(context.saga_id, "ann")
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            cut.append("cut")
            raise
        return "done"

    act: Any = resolve if witness.colour == "sync" else aresolve
    sagas = Sagas(store, [saga := Saga("s", Step("a", act), witness.step("b"))], heartbeat=0.05)
    with pytest.raises(LeaseLostError):
        witness.go_on(sagas, saga)
    (report,) = sagas.list()
    assert ("resolved", "started") == (report.state, sagas.show(report.saga_id).steps[0].state)
    assert ([], ["cut"] if witness.colour == "async" else []) == (witness.calls, cut)
