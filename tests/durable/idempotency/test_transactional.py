"""Operations whose effect and result commit together: once, whatever happens to the COMMIT."""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from seawall.durable import Claim, CodecError, Idempotency, InProgressError, LeaseLostError, StoreError
from seawall.durable.claims_verbs import Take
from seawall.durable.errors import CommitUnknownError
from tests.durable.idempotency.conftest import Used
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy, Strike
from tests.integrations.sqlalchemy.databases import DRIVERS, POSTGRESQL, World, add, postgresql_world, sqlite_world
from tests.servers import PostgreSQL

QUICK = 0.5
CREATE = "CREATE TABLE IF NOT EXISTS effects (id TEXT PRIMARY KEY)"


class Operations:
    """Idempotent transactions in a world of SQLAlchemy's, in the colour of its driver."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.idempotency = Idempotency(world.store, f"ns {uuid.uuid4().hex}", **options)

    def transact(self, key: str, body: Callable[[Session], Any], **options: Any) -> Any:
        """Runs a sync body."""
        if self.world.sync:
            return self.idempotency.transact(key, self.world.sessions, body, **options)

        async def abody(session: AsyncSession) -> Any:
            return await session.run_sync(body)

        return self.world.runner.run(self.idempotency.atransact(key, self.world.sessions, abody, **options))

    def call(self, owner: Any, method: str, *args: Any, **options: Any) -> Any:
        """Calls a method in the world's colour."""
        if self.world.sync:
            return getattr(owner, method)(*args, **options)
        return self.world.runner.run(getattr(owner, f"a{method}")(*args, **options))

    def state(self, key: str) -> str:
        """Returns the state of an operation."""
        return str(self.call(self.idempotency, "show", key).state)


@pytest.fixture(params=DRIVERS)
def operations(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operations]:
    """Operations by each driver."""
    if request.param in POSTGRESQL:
        with postgresql_world(request.getfixturevalue("postgresql_server"), request.param) as world:
            yield Operations(world)
    else:
        with sqlite_world(tmp_path, request.param) as world:
            yield Operations(world)


@pytest.fixture
def proxy(postgresql_server: PostgreSQL) -> Iterator[CommitProxy]:
    """What stands in front of the server."""
    with CommitProxy(postgresql_server.port) as made:
        yield made


@pytest.fixture(params=["psycopg", "asyncpg"])
def proxied(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, proxy: CommitProxy) -> Iterator[Operations]:
    """Operations through the proxy."""
    with postgresql_world(postgresql_server, request.param, port=proxy.port) as world:
        yield Operations(world)


def test_effect_and_result_commit_together(operations: Operations) -> None:
    """One effect, and its repeat gets the result."""
    for _ in range(3):
        assert "a" == operations.transact("k", add("a"))

    assert {"a": 1} == operations.world.effects()
    assert "done" == operations.state("k")


def test_a_body_that_fails_leaves_nothing_and_may_run_again(operations: Operations) -> None:
    """Whatever it raised: what does not say elsewhere what took place was rolled back here."""

    def failing(session: Session) -> None:
        add("a")(session)
        raise TimeoutError("late")

    with pytest.raises(TimeoutError):
        operations.transact("k", failing)

    assert ({}, "failed") == (operations.world.effects(), operations.state("k"))
    assert "a" == operations.transact("k", add("a"))


def test_a_result_that_cannot_be_stored_rolls_the_effect_back(operations: Operations) -> None:
    """The caller is told, and may try again."""

    def body(session: Session) -> object:
        add("a")(session)
        return object()

    with pytest.raises(CodecError):
        operations.transact("k", body)

    assert ({}, "failed") == (operations.world.effects(), operations.state("k"))


def test_an_operation_whose_claim_was_taken_over_commits_nothing(operations: Operations) -> None:
    """It is refused in its own transaction, at the latest possible moment."""
    world, namespace = operations.world, operations.idempotency.namespace

    def body(session: Session) -> str:
        add("late")(session) if world.is_postgresql else None
        other = "UPDATE seawall_idempotency SET owner = 'other', epoch = epoch + 1 WHERE namespace = :namespace"
        if world.is_postgresql:
            world.sql(other, namespace=namespace)
        else:  # SQLite has one writer: here it is this session
            from sqlalchemy import text

            session.execute(text(other), {"namespace": namespace})
        return "late"

    with pytest.raises(LeaseLostError):
        operations.transact("k", body)

    assert {} == world.effects()


def test_a_claim_whose_holder_is_gone_is_taken_over(operations: Operations) -> None:
    """After its lease, since nothing of it was committed."""
    take = Take(operations.idempotency.namespace, "k", "", "gone", -1.0, 1000.0, True, "json")
    operations.world.run(take)

    assert "a" == operations.transact("k", add("a"))


def test_an_equal_operation_in_flight_is_refused(operations: Operations) -> None:
    """While the first one's transaction is open."""
    operations.call(operations.idempotency, "claim", "k", transactional=True)
    with pytest.raises(InProgressError):
        operations.transact("k", add("a"))

    assert {} == operations.world.effects()


def test_a_claim_made_by_hand_is_completed_in_the_users_transaction(operations: Operations) -> None:
    """And is still ours where that was rolled back."""
    world, claim = operations.world, operations.call(operations.idempotency, "claim", "k", transactional=True)
    assert isinstance(claim, Claim)

    def complete(fail: bool) -> None:
        with world.sessions() as session, session.begin():
            session.execute(*_added("a"))
            claim.complete("a", session=session)
            if fail:
                raise ValueError("no")

    async def acomplete(fail: bool) -> None:
        async with world.sessions() as session, session.begin():
            await session.execute(*_added("a"))
            await claim.acomplete("a", session=session)
            if fail:
                raise ValueError("no")

    def run(fail: bool) -> None:
        complete(fail) if world.sync else world.runner.run(acomplete(fail))

    with pytest.raises(ValueError, match="no"):
        run(True)
    assert ("running", {}) == (operations.state("k"), world.effects())
    run(False)
    assert ("joined", "done", {"a": 1}) == (claim.ended, operations.state("k"), world.effects())


def _added(effect: str) -> tuple[Any, dict[str, str]]:
    from tests.integrations.sqlalchemy.databases import ADD

    return ADD, {"id": effect}


@pytest.mark.parametrize("strike", ["mute", "cut", "lost", "swallow"])
def test_a_commit_without_an_answer_is_settled_by_the_claim(
    proxied: Operations, proxy: CommitProxy, strike: Strike
) -> None:
    """The caller gets the result, and there is one effect: committed and found, or not, and made again."""
    runs = []

    def body(session: Session) -> str:
        runs.append(1)
        if len(runs) == 1:
            proxy.plan(strike)
        return add("a")(session)

    assert "a" == proxied.transact("k", body, commit_timeout=QUICK)
    assert {"a": 1} == proxied.world.effects()
    assert (1 if strike in ("mute", "cut") else 2) == len(runs)
    assert "a" == proxied.transact("k", add("b"))


def test_a_commit_that_is_lost_again_and_again_is_given_up(proxied: Operations, proxy: CommitProxy) -> None:
    """Nothing was committed, and the operation is free."""

    def body(session: Session) -> str:
        proxy.plan("lost")
        return add("a")(session)

    with pytest.raises(StoreError, match="lost in COMMIT 3 times for 'k'; nothing was committed"):
        proxied.transact("k", body)

    assert ({}, "failed") == (proxied.world.effects(), proxied.state("k"))


def test_a_store_that_cannot_be_asked_leaves_the_commit_unknown(
    proxied: Operations, proxy: CommitProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeat finds out: the claim is the store's word for it."""
    monkeypatch.setattr("seawall.integrations.sqlalchemy.own.MAX_ELAPSED", 0.0)

    def body(session: Session) -> str:
        proxy.plan("cut")
        proxy.refuse()
        return add("a")(session)

    with pytest.raises(CommitUnknownError) as raised:
        proxied.transact("k", body)
    proxy.listen()

    assert any("taken over after its lease" in note for note in raised.value.__notes__)
    assert "a" == proxied.transact("k", add("b"))
    assert {"a": 1} == proxied.world.effects()


def test_an_operation_that_is_cancelled_leaves_nothing_and_may_run_again(
    postgresql_server: PostgreSQL,
) -> None:
    """Whatever it was doing: it was rolled back, or it is done."""
    with postgresql_world(postgresql_server, "asyncpg") as world:
        operations = Operations(world)

        async def scenario(turns: int) -> None:
            key = f"k{turns}"

            async def body(session: AsyncSession) -> str:
                await session.execute(*_added(key))
                return key

            task = asyncio.create_task(operations.idempotency.atransact(key, world.sessions, body))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            task.cancel()
            await asyncio.wait({task})
            assert key == await operations.idempotency.atransact(key, world.sessions, body)

        for turns in range(25):
            world.runner.run(scenario(turns))

        assert {f"k{turns}": 1 for turns in range(25)} == world.effects()


def test_an_embedded_effect_commits_with_its_result(used: Used) -> None:
    """On the store's own file, by a plain function in either colour."""
    operations, runs = used.idempotency(), []

    def body(connection: sqlite3.Connection) -> int:
        runs.append(1)
        connection.execute(CREATE)
        connection.execute("INSERT INTO effects VALUES ('a')")
        return int(connection.execute("SELECT COUNT(*) FROM effects").fetchone()[0])

    assert [1, 1] == [used.call(operations, "transact", "k", body) for _ in range(2)]
    assert [1] == runs


def test_an_embedded_effect_that_fails_or_was_overtaken_leaves_nothing(used: Used) -> None:
    """It is rolled back, alone."""
    operations = used.idempotency()

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute(CREATE)
        connection.execute("INSERT INTO effects VALUES ('a')")
        raise TimeoutError("late")

    def overtaken(connection: sqlite3.Connection) -> None:
        connection.execute(CREATE)
        connection.execute("UPDATE seawall_idempotency SET epoch = epoch + 1")

    with pytest.raises(TimeoutError):
        used.call(operations, "transact", "k", fail)
    with pytest.raises(LeaseLostError):
        used.call(operations, "transact", "k", overtaken)

    tables = used.call(operations, "transact", "t", lambda connection: _tables(connection))
    assert "effects" not in tables


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def test_wrong_places_are_named(used: Used, redis_url: str) -> None:
    """A store without sessions, a body without a place, an async body in a file, a server without transactions."""
    from seawall.durable import open_store

    operations = used.idempotency()

    async def abody(connection: Any) -> None:
        """Is async."""

    with pytest.raises(StoreError, match=r"has no sessions; .*transact\(key, body\)"):
        used.call(operations, "transact", "k", object(), print)
    with pytest.raises(TypeError, match=r"transact\(\) takes"):
        used.call(operations, "transact", "k")
    with pytest.raises(TypeError, match="is no plain function"):
        used.call(operations, "transact", "k", abody)
    store: Any = open_store(redis_url)
    with pytest.raises(StoreError, match="redis://"):
        used.call(Idempotency(store, "payments"), "transact", "k", print)
    store.close()
