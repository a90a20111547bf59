"""Transactions that are made again when the database undid them, and not when they may have been committed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, TypedDict, TypeVar, Unpack, overload

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from seawall._core import arguments
from seawall._core.arguments import Matcher, Seconds
from seawall._core.backoff import Backoff
from seawall._core.budget import RetryBudget
from seawall._core.events import Hub
from seawall._core.names import check_name
from seawall._core.nearest import nearest
from seawall._core.outcome import asker
from seawall._strategies.retry import Retry
from seawall.integrations.sqlalchemy.attempt import PASSES, Rules
from seawall.integrations.sqlalchemy.enlisting import sync_engine
from seawall.integrations.sqlalchemy.transacting import Transaction, aattempt, attempt, session_around

T = TypeVar("T")
S = TypeVar("S", bound=Session)
A = TypeVar("A", bound=AsyncSession)
BACKOFF: Final = Backoff.exponential(0.02, cap=1.0, jitter="full")


class OnEngine(Protocol):
    """What is asked of a store: `SqlStore` is such."""

    @property
    def engine(self) -> Engine | AsyncEngine:
        """The engine that it is on."""
        ...


class TransactionOptions(TypedDict, total=False):
    """The options of `run_transaction`."""

    attempts: int
    backoff: Backoff | Seconds | Callable[[int], float]
    max_elapsed: Seconds | None
    commit_timeout: Seconds
    retry_lock_timeouts: bool
    retry_on: Matcher | None
    budget: RetryBudget | None
    txn_id: str | None
    store: OnEngine | None
    isolation_level: str | None
    name: str


@overload
def run_transaction(
    sessions: async_sessionmaker[A], body: Callable[[A], Awaitable[T]], **options: Unpack[TransactionOptions]
) -> Coroutine[Any, Any, T]: ...
@overload
def run_transaction(sessions: sessionmaker[S], body: Callable[[S], T], **options: Unpack[TransactionOptions]) -> T: ...
def run_transaction(sessions: Any, body: Callable[[Any], Any], **options: Unpack[TransactionOptions]) -> Any:
    """Calls `body(session)` in a transaction, commits, and returns what it returned; with async sessions, await it.

    Each attempt has a fresh session; begin, body and COMMIT are all inside of it. It is made again, after rolling back,
    when the database undid it or was away: a failed serialization or a deadlock (SQLSTATE 40001, 40P01), at COMMIT too;
    a connection that was refused, or lost before COMMIT was sent (08..., 57P01 to 57P03, 53300, 25006 of a standby); on
    SQLite, BUSY and LOCKED. So the body must do nothing but with its session; what is to follow the commit, it hands to
    `after_commit` or writes to an `Outbox`.

    A connection that ends in COMMIT, or gives no answer to it within `commit_timeout`, leaves open whether the
    transaction was committed. Then `CommitUnknownError` is raised, which no `Retry` repeats, unless there is a
    `txn_id`: a row of that id, written in the same transaction, is looked for on another connection. Where it is there,
    the body's result is returned; where it is not, and never will be, the transaction is made again.

    On SQLite the write lock is taken at the beginning (BEGIN IMMEDIATE). A call inside of the body with the same
    `sessions` joins its transaction: nothing is committed or made again before the outer one is. The body must not
    commit; `begin_nested()` is for parts that may fail.

    An async body runs in a task of its own. Cancelled before COMMIT, the caller goes on within half a second, whatever
    the server does. A cancellation that comes later waits for the outcome, which is returned or raised, and is
    delivered at the next await.

    The retries are those of a `Retry` named `name`: its events, the switches `retry` and `retry@transactions` and
    budgets work as with any other.

    Args:
        sessions: a `sessionmaker` or an `async_sessionmaker`.
        body: gets the session. What it returns should outlive the session: `expire_on_commit=False`, or plain values.
        attempts: at most so many; default 5.
        backoff: the delays between them, as for `Retry`; default: exponential from 0.02 s, at most 1 s, full jitter.
        max_elapsed: no attempt starts later than so many seconds after the first; None for no bound; default 10.
        commit_timeout: seconds that PostgreSQL has to answer to COMMIT, and then as long to say what became of it;
            default 5.
        retry_lock_timeouts: whether a lock that was not had in time (55P03: NOWAIT, lock_timeout) is reason for another
            attempt; default False.
        retry_on: further failures that are: a class, a tuple or a predicate, such as `StaleDataError`; never those of
            a transaction that may have been committed.
        budget: a `RetryBudget` that retries are taken from.
        txn_id: an id of this one transaction, of one call: another one with it is refused. Needs seawall's tables.
        store: the `SqlStore` whose engine the transaction is on; only for sessions that are bound to several engines.
        isolation_level: of the transaction, such as "SERIALIZABLE"; default: the engine's.
        name: in events, errors and switches; default "transactions".

    Raises:
        CommitUnknownError: as above.
        StoreError: the `txn_id` was used before, or there are no tables for it.
        TypeError, ValueError: an argument is not what it should be.
        Exception: the last failure itself, where there is no further attempt.
    """
    policy, rules = _read(options)
    if isinstance(sessions, async_sessionmaker):
        arguments.function("body", body, "an async function of the session")
        return _arun(policy, Transaction(sessions, body, rules))
    if not isinstance(sessions, sessionmaker):
        raise TypeError(
            f"sessions={sessions!r} makes no sessions; use a sessionmaker(engine) or async_sessionmaker(engine)"
        )
    arguments.function("body", body, "a function of the session")
    if inspect.iscoroutinefunction(body):
        raise TypeError(f"body={body!r} is async, and its sessions are not; use an async_sessionmaker")
    outer = session_around(sessions)
    return policy.call(Transaction(sessions, body, rules)) if outer is None else body(outer)


async def _arun(policy: _Policy, transaction: Transaction) -> Any:
    outer = session_around(transaction.sessions)
    return await (policy.acall(transaction) if outer is None else transaction.body(outer))


class _Policy(NamedTuple):
    """A Retry around attempts, in both colours."""

    hub: Hub
    call: Callable[[Transaction], Any]
    acall: Callable[[Transaction], Awaitable[Any]]


@lru_cache(256)
def _policy(name: str, attempts: int, backoff: Any, max_elapsed: Any, budget: RetryBudget | None) -> _Policy:
    """Returns the policy with these figures. It is made once: making one takes longer than a transaction."""
    retry = Retry(on=_passes, max_attempts=attempts, backoff=backoff, max_elapsed=max_elapsed, budget=budget)
    retry.named, retry.hub.name = True, name  # not listed: there may be many of one name
    return _Policy(retry.hub, retry(attempt), retry(aattempt))


def _passes(error: Exception) -> bool:
    return error.__dict__.get(PASSES) is True


def _read(options: TransactionOptions) -> tuple[_Policy, Rules]:
    unknown = options.keys() - TransactionOptions.__optional_keys__
    if unknown:
        name = sorted(unknown)[0]
        near = nearest(name, sorted(TransactionOptions.__optional_keys__))
        hint = (
            f"did you mean {near}?" if near else f"it takes {', '.join(sorted(TransactionOptions.__optional_keys__))}"
        )
        raise TypeError(f"run_transaction() has no argument {name}={options[name]!r}; {hint}")  # type: ignore[literal-required]
    name = options.get("name", "transactions")
    check_name(name)
    attempts = arguments.whole("attempts", options.get("attempts", 5), least=1)
    backoff, max_elapsed = options.get("backoff", BACKOFF), options.get("max_elapsed", 10.0)
    policy = _policy(name, attempts, backoff, max_elapsed, options.get("budget"))
    retry_on, txn_id, store = options.get("retry_on"), options.get("txn_id"), options.get("store")
    if txn_id is not None and (not isinstance(txn_id, str) or not txn_id):
        raise TypeError(f"txn_id={txn_id!r} is no id; use a text such as str(uuid4())")
    return policy, Rules(
        policy.hub,
        arguments.seconds("commit_timeout", options.get("commit_timeout", 5.0)),
        arguments.flag("retry_lock_timeouts", options.get("retry_lock_timeouts", False)),
        None if retry_on is None else asker(arguments.matcher("retry_on", retry_on)),
        options.get("isolation_level"),
        txn_id,
        None if store is None else sync_engine(store.engine),
    )
