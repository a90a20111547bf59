"""What type checkers must make of transactions; see face.py."""

from typing import Any, assert_type

from sqlalchemy import MetaData, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from seawall import Backoff, RetryBudget
from seawall.durable import Store
from seawall.integrations.sqlalchemy import SqlStore, TransactionOptions, after_commit, metadata, run_transaction

engine = create_engine("sqlite:///x.db")
sessions = sessionmaker(engine)
asessions = async_sessionmaker(create_async_engine("sqlite+aiosqlite:///x.db"))


class Mine(Session):
    """A session of the user's."""

    tenant: str


def body(session: Session) -> int:
    """A sync body."""
    after_commit(session, lambda: print("done"))
    return 1


async def abody(session: AsyncSession) -> str:
    """An async body."""
    return "done"


store = SqlStore(engine, name="shop", notify=False)
as_store: Store = store
options: TransactionOptions = {"attempts": 3, "retry_on": (StaleDataError, KeyError)}

assert_type(run_transaction(sessions, body), int)
assert_type(run_transaction(sessions, body, **options), int)
assert_type(run_transaction(sessionmaker(engine, class_=Mine), lambda session: session.tenant), str)
assert_type(store.transaction(sessions, body, txn_id="t1"), int)
assert_type(metadata, MetaData)
run_transaction(
    sessions,
    body,
    backoff=Backoff.linear(0.1),
    budget=RetryBudget(0.2),
    commit_timeout=2,
    isolation_level="SERIALIZABLE",
    max_elapsed=None,
    name="invoices",
    retry_lock_timeouts=True,
    store=store,
)


async def main() -> None:
    """Async sessions."""
    assert_type(await run_transaction(asessions, abody), str)
    assert_type(await store.transaction(asessions, abody, attempts=2), str)
    found: dict[str, Any] = {"text": await run_transaction(asessions, lambda session: session.run_sync(body))}
    assert found


run_transaction(sessions, body, retries=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
run_transaction(engine, body)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType,reportCallIssue]
SqlStore("sqlite:///x.db")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
