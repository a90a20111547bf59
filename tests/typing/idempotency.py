"""What type checkers must make of idempotent operations, locks and counters. mypy (strict) and pyright read it."""

import sqlite3
from collections.abc import Callable
from typing import Any, assert_type

from seawall.durable import (
    Claim,
    ClaimRecord,
    Counter,
    Idempotency,
    JsonCodec,
    Lock,
    OperationOutcome,
    Replay,
    Store,
    content_key,
    idempotent,
)


def pay(customer: str, amount: int = 1) -> dict[str, int]:
    """Pays."""
    return {customer: amount}


async def apay(customer: str, amount: int = 1) -> dict[str, int]:
    """Pays."""
    return pay(customer, amount)


def book(connection: sqlite3.Connection) -> int:
    """Books."""
    return connection.total_changes


def results(payments: Idempotency) -> None:
    """Results are those of the function."""
    assert_type(payments.call("k", pay, "ann", amount=2), dict[str, int])
    assert_type(payments.call_outcome("k", pay, "ann"), OperationOutcome[dict[str, int]])
    assert_type(payments.transact("k", book), int)
    assert_type(payments.claim("k"), Claim | Replay)
    assert_type(payments.show("k"), ClaimRecord | None)
    assert_type(payments.unknown(), list[ClaimRecord])
    with payments.claiming("k", wait=1.0) as got:
        assert_type(got, Claim | Replay)
    payments.call(7, pay)  # type: ignore[arg-type]


async def async_results(payments: Idempotency, sessions: Any) -> None:
    """Of an async function, what it gives when it is awaited."""
    assert_type(await payments.acall("k", apay, "ann"), dict[str, int])
    assert_type((await payments.acall_outcome("k", apay, "ann")).replayed, bool)
    assert_type(await payments.atransact("k", book), int)

    async def body(session: Any) -> str:
        return "done"

    assert_type(await payments.atransact("k", sessions, body, attempts=2), str)
    async with payments.claiming("k") as got:
        assert_type(got, Claim | Replay)
    await payments.acall("k", pay, "ann")  # type: ignore[arg-type]


def key_of(customer: str, amount: int = 1) -> str:
    """Returns the key of a payment."""
    return f"{customer} {amount}"


async def decorated(payments: Idempotency) -> None:
    """A decorated function stays what it was."""
    once = idempotent(payments, key="content")(pay)
    aonce = idempotent(payments, key=key_of, fingerprint="")(apay)
    assert_type(once("ann", 2), dict[str, int])
    assert_type(await aonce("ann"), dict[str, int])
    once(2)  # type: ignore[arg-type]
    idempotent(payments, key="contents")  # type: ignore[arg-type]


def others(store: Store) -> None:
    """Everything else."""
    assert_type(content_key("pay", {"a": 1}, tenant="t"), str)
    assert_type(Counter(store, "c").add(2), int)
    with Lock(store, "l", wait=1.0) as token:
        assert_type(token, int)
    Idempotency(store, "n", codec=JsonCodec(largest=10), takeover="rerun")
    Idempotency(store, "n", takeover="again")  # type: ignore[arg-type]
    reconcile: Callable[[str], object] = len
    Idempotency(store, "n", reconcile=reconcile)
