"""The contract of sagas, over every store that has transactions."""

from functools import partial
from typing import Any

import pytest

from seawall import Backoff
from seawall.durable import saga_directing as directing
from seawall.durable import saga_scripts as scripts
from seawall.durable.errors import KeyMismatchError, LeaseLostError
from seawall.durable.outbox import Outbox
from seawall.durable.saga import Saga, Step
from seawall.durable.saga_rows import Change
from seawall.durable.sagas import Sagas
from tests.durable.engines import Engine
from tests.durable.saga.witness import Witness, states


def command(context: Any) -> tuple[str, dict[str, Any]]:
    """Says what is sent."""
    return "payments", {"saga": context.saga_id}


class TestSagasOverEveryStore:
    """One saga of each kind of course."""

    def test_one_completes(self, engine: Engine) -> None:
        """With a command that is answered, data and results of all types."""
        witness = Witness()
        saga = Saga("s", witness.step("a", {"x": [1, None]}), Step("b", command=command), witness.step("c"))
        sagas = Sagas(engine.store, [saga], outbox=Outbox(engine.store))
        saga_id = engine.call(sagas, "start", "s", {"text": "ü\u2028\0", "n": 2**70})
        assert saga_id == engine.call(sagas, "start", "s", {"n": 2**70, "text": "ü\u2028\0"}, saga_id=saga_id)
        with pytest.raises(KeyMismatchError):
            engine.call(sagas, "start", "s", {}, saga_id=saga_id)
        waiting = engine.call(sagas, "run", saga_id)
        assert ("running", {"a": "done", "b": "sent"}, None) == (waiting.state, states(waiting), waiting.wake_at)
        ((message),) = engine.call(Outbox(engine.store), "waiting")
        assert saga_id == message.headers["seawall-saga"]
        assert engine.call(sagas, "reply", saga_id, "b", result=7)
        done = engine.call(sagas, "run", saga_id)
        assert ("completed", ["a", "c"]) == (done.state, witness.calls)
        assert {"a": {"x": [1, None]}, "b": 7} == witness.contexts[-1].results
        assert {"text": "ü\u2028\0", "n": 2**70} == done.data
        assert [saga_id] == [each.saga_id for each in engine.call(sagas, "list", state="completed", name="s")]
        assert not engine.call(sagas, "reply", saga_id, "b", error="bad \0 words \ud800")

    def test_one_is_compensated_and_gets_stuck(self, engine: Engine) -> None:
        """Then an operator retries, skips, and resolves."""
        witness = Witness()
        undo: Any = witness.does("-b", OSError("down \0"))
        saga = Saga(
            "s",
            witness.step("a"),
            Step("b", witness.does("b"), compensate=undo, undo_backoff=Backoff.fixed(0.01), undo_for=0.05),
            witness.step("c", ValueError("no"), undo=None),
        )
        sagas = Sagas(engine.store, [saga])
        report = engine.call(sagas, "run", engine.call(sagas, "start", "s", {}))
        assert ("stuck", {"a": "undone", "b": "stuck", "c": "failed"}) == (report.state, states(report))
        desk = Sagas(engine.another())
        engine.call(desk, "retry", report.saga_id)
        assert "compensating" == engine.call(desk, "show", report.saga_id).state
        assert "stuck" == engine.call(sagas, "run", report.saga_id).state
        engine.call(desk, "skip", report.saga_id, "b", "ann")
        assert "compensated" == engine.call(sagas, "run", report.saga_id).state
        other = engine.call(sagas, "start", "s", {})
        engine.call(desk, "resolve", other, "bob")
        assert "resolved" == engine.call(sagas, "run", other).state

    def test_a_start_and_a_reply_take_part_in_a_transaction(self, engine: Engine) -> None:
        """Rolled back with it; committed with it."""
        saga = Saga("s", Step("a", command=command))
        sagas = Sagas(engine.store, [saga], outbox=Outbox(engine.store))
        start = partial(directing.start, "one", "s", 1, "{}", None)
        with pytest.raises(ZeroDivisionError):
            engine.enlisted(start, failure=ZeroDivisionError())
        assert () == engine.call(sagas, "list")
        engine.enlisted(start)
        assert "running" == engine.call(sagas, "run", "one").state
        reply = partial(directing.reply, "one", directing.Reply("a", False, "7", None))
        with pytest.raises(ZeroDivisionError):
            engine.enlisted(reply, failure=ZeroDivisionError())
        assert "running" == engine.call(sagas, "run", "one").state
        assert [("s", True)] == engine.enlisted(reply)
        assert "completed" == engine.call(sagas, "run", "one").state

    def test_each_saga_has_one_holder(self, engine: Engine) -> None:
        """However many look at the same time; no saga is left out."""
        sagas = Sagas(engine.store, [Saga("s", Witness().step("a"))])
        ids = [engine.call(sagas, "start", "s", {}) for _ in range(12)]
        looks = [lambda owner=f"o{number}": scripts.claim(owner, 30.0, ["s:1"], 4) for number in range(8)]
        claimed = [claim for claims in engine.together(looks) for claim in claims]
        for _ in range(8):  # {skip_locked} may have left some to the next look
            claimed += engine.run(lambda: scripts.claim("last", 30.0, ["s:1"], 4))
        held = {claim.progress.saga_id: claim for claim in claimed}
        assert sorted(ids) == sorted(held)
        assert 12 == len({(claim.progress.saga_id, claim.epoch) for claim in claimed})

    def test_a_claim_that_is_repeated_finds_its_own(self, engine: Engine) -> None:
        """As after a connection that was lost in COMMIT."""
        sagas = Sagas(engine.store, [Saga("s", Witness().step("a"))])
        engine.call(sagas, "start", "s", {})
        (first,) = engine.run(lambda: scripts.claim("me", 30.0, ["s:1"], 4))
        (second,) = engine.run(lambda: scripts.claim("me", 30.0, ["s:1"], 4))
        assert (first.epoch, first.progress.saga_id) == (second.epoch, second.progress.saga_id)
        assert [] == engine.run(lambda: scripts.claim("you", 30.0, ["s:1"], 4))

    def test_a_saga_whose_every_commit_is_repeated_goes_its_way(self, engine: Engine) -> None:
        """Each action is called once, and what is told is told."""
        store, witness, told = engine.store, Witness(), []
        once, aonce = store.run, store.arun

        async def atwice(script: Any) -> Any:
            await aonce(script)
            return await aonce(script)

        store.run = lambda script: (once(script), once(script))[1]
        store.arun = atwice
        saga = Saga("s", witness.step("a"), Step("b", command=command), witness.step("c", ValueError("no")))
        sagas = Sagas(store, [saga], outbox=Outbox(store))
        sagas.listen(lambda event: told.append(type(event).__name__))
        saga_id = engine.call(sagas, "start", "s", {})
        assert "running" == engine.call(sagas, "run", saga_id).state
        assert engine.call(sagas, "reply", saga_id, "b")
        assert "compensated" == engine.call(sagas, "run", saga_id).state
        assert ["a", "c", "-c", "-a"] == witness.calls
        assert ["SagaStarted", "SagaStepFailed", "SagaCompensating", "SagaEnded"] == told
        assert 1 == len(engine.call(Outbox(store), "waiting"))

    def test_what_a_former_holder_writes_is_refused(self, engine: Engine) -> None:
        """After a takeover, and after its own release."""
        sagas = Sagas(engine.store, [Saga("s", Witness().step("a"))])
        engine.call(sagas, "start", "s", {})
        (old,) = engine.run(lambda: scripts.claim("old", 0.001, ["s:1"], 1))
        new = []
        while not new:
            new = engine.run(lambda: scripts.claim("new", 30.0, ["s:1"], 1))
        assert (True, old.epoch + 1) == (new[0].taken_over, new[0].epoch)
        change = Change("running", None)
        for write in (
            lambda: scripts.keep(old, change),
            lambda: scripts.leave(old, change, None),
            lambda: scripts.end(old, change),
            lambda: scripts.load(old),
        ):
            with pytest.raises(LeaseLostError, match="is in other hands"):
                engine.run(write)
        assert not engine.run(lambda: scripts.renew(old, 30.0))
        assert engine.run(lambda: scripts.renew(new[0], 30.0))
        assert engine.run(lambda: scripts.leave(new[0], change, None)) is not None
        with pytest.raises(LeaseLostError):
            engine.run(lambda: scripts.keep(new[0], Change("running", None)))

    def test_nobody_knows_it(self, engine: Engine) -> None:
        """What was due for longer than a lease and 5 s, and is of no kind that is known, is marked once."""
        sagas = Sagas(engine.store, [Saga("s", Witness().step("a"), version=3)])
        saga_id = engine.call(sagas, "start", "s", {})
        assert [] == engine.run(lambda: scripts.block(30.0, ["s:1"], "why"))
        assert [] == engine.run(lambda: scripts.block(-5.0, ["s:3"], "why"))
        while not (marked := engine.run(lambda: scripts.block(-5.0, ["s:1"], "why"))):
            pass
        assert [(saga_id, "s", 3)] == marked
        assert [] == engine.run(lambda: scripts.block(-5.0, ["s:1"], "why"))
        report = engine.call(sagas, "show", saga_id)
        assert ("blocked", "why") == (report.state, report.blocked)
        assert [saga_id] == [each.saga_id for each in engine.call(sagas, "list", state="blocked")]
        assert () == engine.call(sagas, "list", state="running")
        done = engine.call(sagas, "run", saga_id)
        assert ("completed", None) == (done.state, done.blocked)
