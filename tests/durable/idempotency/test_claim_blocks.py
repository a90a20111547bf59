"""Claims in the hands of who executes and ends the operation himself."""

import asyncio
from typing import Any

import pytest

from seawall.durable import (
    Claim,
    Idempotency,
    InProgressError,
    KeyMismatchError,
    LeaseLostError,
    OutcomeUnknownError,
    Replay,
    StoreError,
    open_store,
)
from tests.durable.idempotency.conftest import Used


def within(used: Used, operations: Idempotency, work: Any, key: str = "k", **options: Any) -> Any:
    """Runs a plain function of what the block gives, inside a block, in the colour of the store."""
    if not used.kind.is_async:
        with operations.claiming(key, **options) as got:
            return work(got)

    async def ablock() -> Any:
        async with operations.claiming(key, **options) as got:
            result = work(got)
            return await result if asyncio.iscoroutine(result) else result

    return used.awaited(ablock())


def ends(used: Used, method: str, *arguments: Any) -> Any:
    """Returns what ends a claim, in the colour of the store."""
    return lambda claim: getattr(claim, f"a{method}" if used.kind.is_async else method)(*arguments)


def state(used: Used, key: str = "k") -> str:
    """Returns the state of an operation."""
    return str(used.call(used.idempotency(), "show", key).state)


def test_a_claim_is_executed_and_completed_by_hand(used: Used) -> None:
    """A repeat gets a Replay of the result."""
    claim = used.call(used.idempotency(), "claim", "k", "fingerprint")
    assert isinstance(claim, Claim)
    assert ("k", 1, False, "") == (claim.key, claim.epoch, claim.over, claim.ended)
    used.call(claim, "heartbeat")
    used.call(claim, "complete", {"id": 7})

    assert "done" == claim.ended
    assert Replay({"id": 7}) == used.call(used.idempotency(), "claim", "k", "fingerprint")
    with pytest.raises(KeyMismatchError):
        used.call(used.idempotency(), "claim", "k", "other")
    assert "payments" in repr(claim)


def test_a_claim_that_is_given_back_is_free(used: Used) -> None:
    """At once, for the next one, under a further epoch."""
    claim = used.call(used.idempotency(), "claim", "k")
    assert used.call(claim, "release", "not now")
    assert used.call(claim, "release", "not now")
    again = used.call(used.idempotency(), "claim", "k")

    assert ("failed", 2) == (claim.ended, again.epoch)


def test_a_claim_may_be_waited_for(used: Used) -> None:
    """As long as this claim says, not as long as all."""
    operations = used.idempotency(wait=1000.0)
    used.call(operations, "claim", "k")
    with pytest.raises(InProgressError):
        used.call(operations, "claim", "k", wait=0)


def test_a_transactional_claim_is_taken_over_after_its_lease(used: Used) -> None:
    """Although others of the namespace become unknown."""
    operations = used.idempotency()
    used.call(operations, "claim", "k", transactional=True)
    used.clock.advance(31)
    claim = used.call(operations, "claim", "k", transactional=True)

    assert (2, True) == (claim.epoch, claim.over)


def test_a_block_executes_once(used: Used) -> None:
    """It gives the claim to the first, a Replay to the others."""
    operations = used.idempotency()
    within(used, operations, ends(used, "complete", "paid"))

    assert Replay("paid") == within(used, operations, lambda got: got)


def test_a_block_that_raises_gives_its_claim_back(used: Used) -> None:
    """By the rules of calls: known failures free it, others leave it unknown; in a transaction all free it."""

    def fail(got: Any) -> None:
        raise failure

    failure: Exception
    for failure, options, then in (
        (ValueError("no"), {}, "failed"),
        (TimeoutError("late"), {}, "unknown"),
        (TimeoutError("late"), {"transactional": True}, "failed"),
    ):
        key = f"{then}{options}"
        with pytest.raises(type(failure)):
            within(used, used.idempotency(), fail, key, **options)
        assert then == state(used, key)


def test_a_block_that_says_nothing_of_its_end_is_a_mistake(used: Used) -> None:
    """The outcome is unknown, and the caller is told what is missing."""
    with pytest.raises(RuntimeError, match=r"nobody said how operation 'k' ended; .*complete"):
        within(used, used.idempotency(), lambda got: None)
    with pytest.raises(OutcomeUnknownError, match=r"without complete\(\)"):
        used.call(used.idempotency(), "claim", "k")


def test_what_a_block_said_of_its_end_stands_whatever_it_raises_later(used: Used) -> None:
    """A completed claim is done; one that is unknown, unknown."""
    for method, then in (("complete", "done"), ("mark_unknown", "unknown"), ("release", "failed")):
        end = ends(used, method, "said")

        def say_and_fail(got: Any, end: Any = end) -> Any:
            if not used.kind.is_async:
                end(got)
                raise ValueError("later")

            async def later() -> None:
                await end(got)
                raise ValueError("later")

            return later()

        with pytest.raises(ValueError, match="later"):
            within(used, used.idempotency(), say_and_fail, method)
        assert then == state(used, method)


def test_a_block_is_cut_short_when_its_claim_is_lost(async_used: Used) -> None:
    """And nothing that it says then counts."""
    operations = async_used.idempotency(heartbeat=0.02)

    async def scenario() -> None:
        async with operations.claiming("k"):
            async_used.clock.advance(31)
            assert await operations.aresolve("k", "by hand")
            await asyncio.sleep(1000)

    with pytest.raises(LeaseLostError):
        async_used.awaited(scenario())
    assert Replay("by hand") == async_used.call(operations, "claim", "k")


def test_a_claim_is_kept_no_more_once_it_is_ended(async_used: Used) -> None:
    """A block may go on after complete(): no heartbeat takes the end for a loss."""
    operations = async_used.idempotency(heartbeat=0.01)

    async def scenario() -> None:
        async with operations.claiming("k") as claim:
            assert isinstance(claim, Claim)
            await claim.acomplete("paid")
            await asyncio.sleep(0.1)

    async_used.awaited(scenario())
    assert "done" == state(async_used)


def test_a_block_that_is_cancelled_leaves_its_claim_unknown(async_used: Used) -> None:
    """Before the cancellation passes on."""

    async def scenario() -> None:
        async def block() -> None:
            async with async_used.idempotency().claiming("k"):
                await asyncio.sleep(1000)

        task = asyncio.create_task(block())
        await async_used.until(lambda: async_used.idempotency().show("k") is not None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_used.awaited(scenario())
    assert "unknown" == state(async_used)


def test_a_result_cannot_join_a_transaction_where_there_is_none(redis_url: str) -> None:
    """Redis has none; nothing is stored."""
    store = open_store(redis_url)
    claim = Idempotency(store, "payments").claim("k")
    assert isinstance(claim, Claim)
    with pytest.raises(StoreError, match="a result that commits with its effect cannot live in redis://"):
        claim.complete("paid", session=object())
    store.close()
