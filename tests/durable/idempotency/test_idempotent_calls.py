"""Calls that happen once: executed, replayed, refused, given back, unknown."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from seawall import BulkheadFullError, CallTimeoutError, Event, RejectedError, deadline, listen
from seawall.durable import (
    NOT_DONE,
    STILL_UNKNOWN,
    Claim,
    CodecError,
    InProgressError,
    JsonCodec,
    KeyMismatchError,
    LeaseLostError,
    OperationEnded,
    OperationInProgress,
    OperationMismatched,
    OperationOutcome,
    OperationReplayed,
    OperationSettled,
    OperationStarted,
    OperationTakenOver,
    OperationUnknown,
    OutcomeUnknownError,
)
from tests.durable.idempotency.conftest import Used

UNKNOWN_FAILURES: list[Exception] = [
    TimeoutError("late"),
    CallTimeoutError("bank", 2.0),
    ConnectionResetError("gone"),
    BrokenPipeError("gone"),
    OutcomeUnknownError("the bank does not say"),
    ExceptionGroup("several", [ValueError("no"), TimeoutError("late")]),
]
KNOWN_FAILURES: list[Exception] = [
    ValueError("no funds"),
    ConnectionRefusedError("nobody there"),
    BulkheadFullError("bank"),
    ExceptionGroup("several", [ValueError("no"), BulkheadFullError("bank")]),
]


def state(used: Used, key: str = "k", namespace: str = "payments") -> str:
    """Returns the state of an operation, as it is stored."""
    shown = used.call(used.idempotency(namespace), "show", key)
    return "free" if shown is None else str(shown.state)


def test_an_operation_is_executed_once_and_its_result_given_to_all(used: Used) -> None:
    """A repeat gets an equal result of the same types, and can tell that it is one."""
    result = {"id": "p-1", "amount": Decimal("12.50"), "lines": [(1, "a"), (2, "b")]}
    pay, payments = used.function(result), used.idempotency()

    assert OperationOutcome(result, False) == used.call(payments, "call_outcome", "k", pay, "c-1", amount=3)
    assert OperationOutcome(result, True) == used.call(payments, "call_outcome", "k", pay, "c-1", amount=3)
    assert result == used.call(payments, "call", "k", pay, "c-1", amount=3)
    assert [(("c-1",), {"amount": 3})] == pay.calls


def test_other_keys_and_namespaces_are_other_operations(used: Used) -> None:
    """Each executes for itself."""
    pay = used.function("done")
    for namespace in ("payments", "refunds"):
        for key in ("a", "b"):
            used.call(used.idempotency(namespace), "call", key, pay)

    assert 4 == len(pay.calls)


@pytest.mark.parametrize("failure", KNOWN_FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failure_gives_the_operation_back(used: Used, failure: Exception) -> None:
    """It passes as it is, and the next call executes."""
    pay, payments = used.function(failure, "paid"), used.idempotency()
    with pytest.raises(type(failure)) as raised:
        used.call(payments, "call", "k", pay)

    assert failure is raised.value
    assert "failed" == state(used)
    assert "paid" == used.call(payments, "call", "k", pay)


@pytest.mark.parametrize("failure", UNKNOWN_FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failure_that_does_not_say_what_took_place_leaves_it_unknown(used: Used, failure: Exception) -> None:
    """Nobody executes it again until that is settled."""
    pay, payments = used.function(failure, "paid"), used.idempotency()
    with pytest.raises(type(failure)):
        used.call(payments, "call", "k", pay)
    with pytest.raises(OutcomeUnknownError, match=f"'k' took place is not known .*{type(failure).__name__}"):
        used.call(payments, "call", "k", pay)

    assert 1 == len(pay.calls)


def test_further_failures_that_do_not_say_are_named(used: Used) -> None:
    """By a class, several, or a function of the exception."""
    for number, named in enumerate((KeyError, (KeyError, IndexError), lambda error: "why" in str(error))):
        payments = used.idempotency(unknown_on=named)
        with pytest.raises(KeyError):
            used.call(payments, "call", str(number), used.function(KeyError("why")))
        assert "unknown" == state(used, str(number))
    with pytest.raises(BulkheadFullError):
        used.call(used.idempotency(unknown_on=RejectedError), "call", "r", used.function(BulkheadFullError("bank")))
    assert "unknown" == state(used, "r")


def test_an_operation_that_may_run_again_is_given_back_after_any_failure(used: Used) -> None:
    """With takeover="rerun" nothing is ever unknown."""
    pay, payments = used.function(TimeoutError("late"), "paid"), used.idempotency(takeover="rerun")
    with pytest.raises(TimeoutError):
        used.call(payments, "call", "k", pay)

    assert "paid" == used.call(payments, "call", "k", pay)


def test_an_interrupt_in_the_middle_leaves_it_unknown(sync_used: Used) -> None:
    """Ctrl-C, or an exit, says nothing of what took place."""
    for key, interrupt in (("k", KeyboardInterrupt), ("e", SystemExit)):
        with pytest.raises(interrupt):
            sync_used.idempotency().call(key, sync_used.function(interrupt()))
        assert "unknown" == state(sync_used, key)


@pytest.mark.parametrize(("takeover", "then"), [("unknown", "unknown"), ("rerun", "failed")])
def test_a_cancellation_in_the_middle_leaves_it_unknown_unless_it_may_run_again(
    async_used: Used, takeover: str, then: str
) -> None:
    """The claim is put in order before the cancellation passes on."""
    payments = async_used.idempotency(takeover=takeover)

    async def scenario() -> None:
        started = asyncio.Event()

        async def pay() -> None:
            started.set()
            await asyncio.sleep(1000)

        task = asyncio.create_task(payments.acall("k", pay))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_used.awaited(scenario())
    assert then == state(async_used)


def test_a_cancellation_before_it_began_leaves_nothing_behind(async_used: Used) -> None:
    """Whatever became of the claim: the next call executes."""
    payments, pay = async_used.idempotency(), async_used.function("paid")

    async def scenario() -> None:
        for turns in range(4):
            task = asyncio.create_task(payments.acall(f"k{turns}", pay))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            if task.cancelled() and not pay.calls:
                assert "paid" == await payments.acall(f"k{turns}", pay)
            pay.calls.clear()

    async_used.awaited(scenario())


def test_a_key_that_is_used_for_another_request_is_refused(used: Used) -> None:
    """The arguments tell, and nothing is executed (case durable 18)."""
    pay, payments = used.function("paid"), used.idempotency()
    used.call(payments, "call", "k", pay, {"amount": 1})
    with pytest.raises(KeyMismatchError, match="key 'k' was used before for another request"):
        used.call(payments, "call", "k", pay, {"amount": 2})

    assert 1 == len(pay.calls)


def test_what_tells_requests_apart_can_be_said(used: Used) -> None:
    """By a fingerprint, in place of the arguments; an empty one asks for no check."""
    pay, payments = used.function("paid"), used.idempotency()
    used.call(payments, "call", "k", pay, object(), fingerprint="one")
    assert "paid" == used.call(payments, "call", "k", pay, object(), fingerprint="one")
    with pytest.raises(KeyMismatchError):
        used.call(payments, "call", "k", pay, fingerprint="two")
    for arguments in ((1,), (2,)):
        used.call(payments, "call", "free", pay, *arguments, fingerprint="")

    assert 2 == len(pay.calls)


def test_arguments_without_a_fingerprint_are_refused_before_anything_runs(used: Used) -> None:
    """The error says which, and what else there is."""
    pay, payments = used.function("paid"), used.idempotency()
    with pytest.raises(CodecError, match=r"part 0\[0\] is of type object.*fingerprint="):
        used.call(payments, "call", "k", pay, object())

    assert ([], "free") == (pay.calls, state(used))


def test_an_equal_operation_in_flight_is_refused(used: Used) -> None:
    """With a word on when to ask again."""
    payments = used.idempotency()
    refused = []

    def inside() -> Any:
        if used.kind.is_async:
            return ainside()
        with pytest.raises(InProgressError) as raised:
            payments.call("k", used.function("again"))
        refused.append(raised.value)
        return "paid"

    async def ainside() -> Any:
        with pytest.raises(InProgressError) as raised:
            await payments.acall("k", used.function("again"))
        refused.append(raised.value)
        return "paid"

    assert "paid" == used.call(payments, "call", "k", used.function(inside))
    assert ("payments", 1.0) == (refused[0].name, refused[0].retry_after)


def test_a_repeat_may_wait_for_the_end_of_the_one_in_flight(used: Used) -> None:
    """It looks again every 0.1 s, and gets the result (requirement I1)."""
    payments, slow = used.idempotency(wait=30.0), used.idempotency()
    claim = used.call(slow, "claim", "k")
    assert isinstance(claim, Claim)

    async def repeat_and_complete() -> Any:
        repeat = used.function("again")
        if used.kind.is_async:
            repeating: Any = asyncio.create_task(payments.acall("k", repeat))
        else:
            repeating = asyncio.create_task(asyncio.to_thread(payments.call, "k", repeat))
        await asyncio.sleep(0.15)
        assert not repeating.done()
        await claim.acomplete("paid")
        return await repeating

    assert "paid" == used.awaited(repeat_and_complete())


def test_a_wait_has_an_end(used: Used) -> None:
    """Its own, or that of the ambient deadline; 0.2 s here, far below the 30 s of the other one."""
    used.call(used.idempotency(), "claim", "k")
    pay = used.function("again")
    with pytest.raises(InProgressError):
        used.call(used.idempotency(wait=0.2), "call", "k", pay)
    patient = used.idempotency(wait=1000.0)

    async def under_a_deadline() -> None:
        with deadline(0.2):
            await patient.acall("k", pay)

    if used.kind.is_async:
        with pytest.raises(InProgressError):
            used.awaited(under_a_deadline())
    else:
        with deadline(0.2), pytest.raises(InProgressError):
            patient.call("k", pay)


def test_a_sync_wait_does_not_block_an_event_loop(sync_used: Used) -> None:
    """It is refused, as every sync use of the store there is."""

    async def scenario() -> None:
        sync_used.idempotency(wait=1.0).call("k", sync_used.function("paid"))

    with pytest.raises(RuntimeError, match="async form"):
        asyncio.run(scenario())


def test_an_execution_whose_process_died_is_unknown_after_its_lease(used: Used) -> None:
    """In progress before."""
    payments, pay = used.idempotency(), used.function("paid")
    used.call(payments, "claim", "k")
    used.clock.advance(29)
    with pytest.raises(InProgressError):
        used.call(payments, "call", "k", pay)
    used.clock.advance(2)
    with pytest.raises(OutcomeUnknownError, match="its lease ran out before it ended"):
        used.call(payments, "call", "k", pay)

    assert [] == pay.calls


def test_an_execution_whose_process_died_is_taken_over_where_it_may_run_again(used: Used) -> None:
    """And what the first one still writes is refused."""
    payments, pay = used.idempotency(takeover="rerun"), used.function("paid")
    first = used.call(payments, "claim", "k")
    used.clock.advance(31)

    assert "paid" == used.call(payments, "call", "k", pay)
    with pytest.raises(LeaseLostError, match="'k' was lost"):
        used.call(first, "complete", "late")
    with pytest.raises(LeaseLostError):
        used.call(first, "heartbeat")
    assert (False, False) == (used.call(first, "release"), used.call(first, "mark_unknown", "?"))
    assert "paid" == used.call(payments, "call", "k", pay)


def test_a_result_is_forgotten_after_its_time(used: Used) -> None:
    """A day, or as it was said."""
    for ttl, payments in ((86400.0, used.idempotency()), (60.0, used.idempotency("short", ttl=60))):
        pay = used.function("paid")
        used.call(payments, "call", "k", pay)
        used.clock.advance(ttl - 1)
        used.call(payments, "call", "k", pay)
        assert 1 == len(pay.calls)
        used.clock.advance(2)
        used.call(payments, "call", "k", pay)
        assert 2 == len(pay.calls)


def test_the_lease_is_kept_while_an_operation_lasts(used: Used) -> None:
    """However long: repeats find it in progress, and its result is stored."""
    payments = used.idempotency(heartbeat=0.02)

    def left() -> float:
        shown = used.idempotency().show("k")
        assert shown is not None
        return shown.left

    def work() -> Any:
        if used.kind.is_async:
            return awork()
        for _ in range(5):
            used.clock.advance(20)
            used.until(lambda: left() > 29)
        return "paid"

    async def awork() -> Any:
        for _ in range(5):
            used.clock.advance(20)
            await used.until(lambda: left() > 29)
        return "paid"

    assert "paid" == used.call(payments, "call", "k", used.function(work))
    assert OperationOutcome("paid", True) == used.call(payments, "call_outcome", "k", used.function("again"))


def test_an_execution_that_lost_its_claim_is_told(used: Used) -> None:
    """An async one is cut short, a sync one told at its end; its result is not stored."""
    payments = used.idempotency(heartbeat=0.02)
    ended = []

    def settle() -> bool:
        used.clock.advance(31)
        return bool(used.idempotency().resolve("k", "by hand"))

    def work() -> Any:
        if used.kind.is_async:
            return awork()
        used.until(settle)
        ended.append("at its end")
        return "paid"

    async def awork() -> Any:
        try:
            await used.until(settle)
            await asyncio.sleep(1000)
        finally:
            ended.append("at its end")

    with pytest.raises(LeaseLostError):
        used.call(payments, "call", "k", used.function(work))

    assert ["at its end"] == ended
    assert "by hand" == used.call(payments, "call", "k", used.function("again"))


def test_a_result_that_cannot_be_stored_leaves_the_operation_unknown(used: Used) -> None:
    """It took place: the caller is told, and nobody executes it again."""
    payments = used.idempotency(codec=JsonCodec(largest=100))
    for key, result, error in (("type", object(), "the result is of type object"), ("size", "x" * 99, "101 bytes")):
        with pytest.raises(CodecError, match=error):
            used.call(payments, "call", key, used.function(result))
        with pytest.raises(OutcomeUnknownError, match="it took place, but its result is not stored"):
            used.call(payments, "call", key, used.function("again"))


def test_a_result_of_another_codec_is_not_guessed_at(used: Used) -> None:
    """Both are named."""

    class Raw:
        name = "raw"

        def dumps(self, value: bytes) -> bytes:
            """Returns it as it is."""
            return value

        loads = dumps

    raw = used.idempotency(codec=Raw())
    assert b"\x00\xff" == used.call(raw, "call", "k", used.function(b"\x00\xff"))
    assert b"\x00\xff" == used.call(raw, "call", "k", used.function(b"again"))
    with pytest.raises(CodecError, match="the codec 'raw', and this one is 'json'"):
        used.call(used.idempotency(), "call", "k", used.function("again"))


def test_what_is_unknown_is_settled_by_hand(used: Used) -> None:
    """By a result, which repeats get, or as not done, which lets the next call execute."""
    payments = used.idempotency()
    for key in ("done", "not"):
        used.call(used.call(payments, "claim", key), "mark_unknown", "the power failed")
    pay = used.function("paid")

    assert used.call(payments, "resolve", "done", {"id": 7}, note="seen at the bank")
    assert used.call(payments, "resolve", "not", NOT_DONE)
    assert not used.call(payments, "resolve", "never", "x")
    assert not used.call(payments, "resolve", "done", "x")
    assert ({"id": 7}, "paid") == tuple(used.call(payments, "call", key, pay) for key in ("done", "not"))
    assert 1 == len(pay.calls)


def test_what_is_unknown_is_reconciled_by_a_function(used: Used) -> None:
    """It is asked by the repeat that finds it unknown: a result, not done, still unknown."""
    found = {"paid": "from the bank", "not": NOT_DONE, "open": STILL_UNKNOWN}
    asked = []

    def look(key: str) -> Any:
        asked.append(key)
        if key == "down":
            raise ConnectionError("the bank is away")
        return found[key]

    async def alook(key: str) -> Any:
        return look(key)

    payments = used.idempotency(reconcile=alook if used.kind.is_async else look)
    for key in ("paid", "not", "open", "down"):
        used.call(used.call(payments, "claim", key), "mark_unknown", "?")
    pay = used.function("paid now")

    assert OperationOutcome("from the bank", True) == used.call(payments, "call_outcome", "paid", pay)
    assert OperationOutcome("paid now", False) == used.call(payments, "call_outcome", "not", pay)
    with pytest.raises(OutcomeUnknownError):
        used.call(payments, "call", "open", pay)
    with pytest.raises(OutcomeUnknownError) as raised:
        used.call(payments, "call", "down", pay)
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert (["paid", "not", "open", "down"], 1) == (asked, len(pay.calls))


def test_an_async_reconciliation_needs_an_async_call(sync_used: Used) -> None:
    """A coroutine is no result."""

    async def look(key: str) -> Any:
        return None

    payments = sync_used.idempotency(reconcile=look)
    claim: Any = payments.claim("k")
    claim.mark_unknown("?")
    with pytest.raises(TypeError, match="is async, and this call is not"):
        payments.call("k", sync_used.function("paid"))


def test_what_happens_is_told(used: Used) -> None:
    """An event for everything that is counted: to the listeners of these operations, and to those of all."""
    payments = used.idempotency(takeover="rerun")
    told: list[Event] = []
    everywhere: list[Event] = []
    stop = listen(everywhere.append, OperationStarted)
    payments.listen(told.append)
    used.call(payments, "call", "k", used.function("paid"))
    used.call(payments, "call", "k", used.function("paid"))
    with pytest.raises(KeyMismatchError):
        used.call(payments, "call", "k", used.function("paid"), 1)
    with pytest.raises(ValueError, match="no"):
        used.call(payments, "call", "f", used.function(ValueError("no")))
    claim = used.call(payments, "claim", "c")
    with pytest.raises(InProgressError):
        used.call(payments, "claim", "c")
    used.clock.advance(31)
    claim = used.call(payments, "claim", "c")
    used.call(claim, "mark_unknown", "why")
    used.call(payments, "resolve", "c", 1, note="seen")
    stop()
    seen = [event for event in told if type(event).__name__.startswith("Operation")]

    assert [
        OperationStarted("payments", "k"),
        OperationEnded("payments", "k", "done"),
        OperationReplayed("payments", "k"),
        OperationMismatched("payments", "k"),
        OperationStarted("payments", "f"),
        OperationEnded("payments", "f", "failed"),
        OperationStarted("payments", "c"),
        OperationInProgress("payments", "c"),
        OperationTakenOver("payments", "c"),
        OperationStarted("payments", "c"),
        OperationUnknown("payments", "c", "why"),
        OperationSettled("payments", "c", "done", "seen"),
    ] == seen
    assert all("'payments': operation" in str(event) for event in seen)
    assert 4 == len(everywhere)


def test_an_operation_that_expired_into_the_unknown_is_told_once(used: Used) -> None:
    """By the repeat that found it."""
    payments = used.idempotency()
    used.call(payments, "claim", "k")
    used.clock.advance(31)
    told: list[Event] = []
    payments.listen(told.append, OperationUnknown)
    for _ in range(3):
        with pytest.raises(OutcomeUnknownError):
            used.call(payments, "claim", "k")

    assert 1 == len(told)


def test_one_hundred_equal_calls_at_once_execute_once(used: Used) -> None:
    """Each gets the result, or is refused; afterwards all get it (case durable 17)."""
    payments, calls = used.idempotency(), []

    async def pay() -> dict[str, Any]:
        calls.append(1)
        await asyncio.sleep(0.2)
        return {"id": 7}

    def pay_plainly() -> dict[str, Any]:
        return asyncio.run(pay())

    async def one() -> Any:
        if used.kind.is_async:
            return await payments.acall_outcome("k", pay)
        return await asyncio.to_thread(payments.call_outcome, "k", pay_plainly)

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(one() for _ in range(100)), return_exceptions=True)

    first, second = used.awaited(all_of_them()), used.awaited(all_of_them())

    assert [1] == calls
    assert 1 == sum(each == OperationOutcome({"id": 7}, False) for each in first)
    assert all(isinstance(each, InProgressError | OperationOutcome) for each in first)
    assert [OperationOutcome({"id": 7}, True)] * 100 == second


def test_what_fails_has_a_note_that_every_database_can_keep(used: Used) -> None:
    """Without NULs and halves of characters, and no longer than 500."""
    with pytest.raises(ValueError, match="bad"):
        used.call(used.idempotency(), "call", "k", used.function(ValueError("bad \0 words \ud800 " + "x" * 1000)))
    shown = used.call(used.idempotency(), "show", "k")

    assert shown.note.startswith("ValueError: bad   words ? xxx")
    assert len(shown.note) <= 500


def test_a_result_that_would_have_to_be_awaited_is_refused(sync_used: Used) -> None:
    """The coroutine never ran, so the operation is free again."""

    async def pay() -> None:
        """Never runs."""

    with pytest.raises(TypeError, match="acall"):
        sync_used.idempotency().call("k", lambda: pay())
    assert "failed" == state(sync_used)


def test_functions_of_the_wrong_kind_are_refused(sync_used: Used) -> None:
    """Before anything is claimed."""
    payments = sync_used.idempotency()

    async def apay() -> None:
        """Is async."""

    def items() -> Any:
        yield 1

    for fn, words in ((apay, "an async function; use acall"), (items, "a generator"), (dict, "is a class")):
        with pytest.raises(TypeError, match=words):
            payments.call("k", fn)  # type: ignore[arg-type]
    assert "free" == state(sync_used)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"namespace": ""}, "namespace='' is empty"),
        ({"namespace": 7}, "namespace=7 is not a text"),
        ({"lease": 10, "heartbeat": 6}, "heartbeat=6 leaves no time"),
        ({"ttl": 0}, "ttl=0 is out of range"),
        ({"takeover": "never"}, "takeover='never' is unknown; use one of 'unknown', 'rerun'"),
        ({"wait": -1}, "wait=-1"),
        ({"reconcile": 7}, "reconcile=7 cannot be called"),
        ({"unknown_on": 7}, "unknown_on=7"),
        ({"codec": object()}, "is no codec"),
    ],
)
def test_wrong_arguments_are_named(sync_used: Used, options: dict[str, Any], words: str) -> None:
    """With what would be right."""
    with pytest.raises((TypeError, ValueError), match=words):
        sync_used.idempotency(**{"namespace": "payments", **options})


@pytest.mark.parametrize("key", ["", 7, "x" * 1025, "a\0b", "\ud800"])
def test_wrong_keys_are_named(sync_used: Used, key: Any) -> None:
    """Before anything is executed."""
    pay = sync_used.function("paid")
    with pytest.raises((TypeError, ValueError), match=r"^key="):
        sync_used.idempotency().call(key, pay)
    assert [] == pay.calls


def test_no_store_is_no_store() -> None:
    """It says what is one."""
    from seawall.durable import Idempotency

    with pytest.raises(TypeError, match="is no store; use one such as open_store"):
        Idempotency(object(), "payments")  # type: ignore[arg-type]
