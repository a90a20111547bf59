"""Async transactions that are cancelled: nobody waits for a silent server, and a COMMIT is never left in doubt."""

import asyncio
import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from seawall import CallTimeoutError, Retry, Timeout
from seawall.durable.errors import CommitUnknownError
from seawall.durable.script import Script, Statement
from seawall.integrations.sqlalchemy import after_commit, leaving, run_transaction, transacting
from seawall.integrations.sqlalchemy.own import Own
from tests.integrations.sqlalchemy.commit_proxy import CommitProxy
from tests.integrations.sqlalchemy.databases import (
    ADD,
    World,
    add,
    comes_true,
    none_left,
    postgresql_world,
    sqlite_world,
)
from tests.integrations.sqlalchemy.stepping import Stepped
from tests.servers import PostgreSQL

PATIENCE = 10.0
QUICK = 0.3


@pytest.fixture
def without_garbage_collection() -> Iterator[None]:
    """What is held by a cycle stays, as it may for minutes."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def proxy(postgresql_server: PostgreSQL) -> Iterator[CommitProxy]:
    """What stands in front of the server."""
    with CommitProxy(postgresql_server.port) as proxy:
        yield proxy


@pytest.fixture(params=["asyncpg", "psycopg_async"])
def pg(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, proxy: CommitProxy) -> Iterator[World]:
    """An empty database behind the proxy, by each async driver, on a pool of one connection."""
    with postgresql_world(postgresql_server, request.param, port=proxy.port, pool_size=1, max_overflow=0) as made:
        yield made


@pytest.fixture(params=["asyncpg", "psycopg_async", "aiosqlite"])
def world(request: pytest.FixtureRequest, postgresql_server: PostgreSQL, tmp_path: Any) -> Iterator[World]:
    """An empty database by each async driver, on a pool of one connection."""
    pool = {"pool_size": 1, "max_overflow": 0}
    if request.param == "aiosqlite":
        with sqlite_world(tmp_path, request.param, **pool) as made:
            yield made
    else:
        with postgresql_world(postgresql_server, request.param, **pool) as made:
            yield made


async def body(session: Any) -> str:
    """Adds an effect."""
    await session.execute(ADD, {"id": "a"})
    await asyncio.sleep(0)
    return "done"


@pytest.mark.parametrize("way", ["suspended", "as it wakes"])
@pytest.mark.usefixtures("without_garbage_collection")
def test_cancelled_at_every_await(world: World, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either it was cancelled and nothing is committed, or it is committed and the caller has the result.

    The cancellation is never lost, the pool's only connection serves the next one, and no lock is left behind.
    """
    whole = transacting._whole
    stepped: list[Stepped] = []
    cancel_at = 0

    def step(*args: Any) -> Any:
        caller = asyncio.current_task()
        assert caller is not None
        stepped.append(Stepped(whole(*args), caller, cancel_at, way))
        return stepped[-1]

    async def caller(outcomes: list[Any]) -> None:
        outcomes.append(await run_transaction(world.sessions, body, txn_id=f"t{cancel_at}"))
        await asyncio.sleep(PATIENCE)  # where a cancellation that was held back arrives

    async def cancelled() -> bool:
        outcomes: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(transacting, "_whole", step)
            task = asyncio.create_task(caller(outcomes))
            await comes_true(lambda: bool(outcomes) or task.done())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await none_left()
        committed = await asyncio.to_thread(world.effects) == {"a": 1}
        assert (["done"] if committed else []) == outcomes
        await asyncio.to_thread(world.sql, "DELETE FROM effects")
        return committed

    async def main() -> list[bool]:
        nonlocal cancel_at
        ends: list[bool] = []
        while not stepped or stepped[-1].suspensions >= cancel_at:
            cancel_at += 1
            ends.append(await cancelled())
            assert "b" == await world.atransact(add("b"))
            await asyncio.to_thread(world.sql, "DELETE FROM effects")
        return ends

    ends = world.runner.run(main())
    assert sorted(ends) == ends, "once it is committed at one await, it is at all later ones"
    assert {True, False} == set(ends)
    assert world.idle()


@pytest.mark.parametrize("way", ["suspended", "as it wakes"])
@pytest.mark.usefixtures("without_garbage_collection")
def test_a_script_cancelled_at_every_await(world: World, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled does not know whether it was committed; no connection and no lock is left behind."""
    once = Own._aonce
    stepped: list[Stepped] = []
    cancel_at = 0
    add_id = Statement("INSERT INTO seawall_txn (id, at) VALUES (:owner, {now}) RETURNING id")

    def script() -> Script[str]:
        rows = yield add_id, {"owner": f"t{cancel_at}"}
        return str(rows[0][0])

    async def main() -> list[int]:
        nonlocal cancel_at
        committed: list[int] = []
        while not stepped or stepped[-1].suspensions >= cancel_at:
            cancel_at += 1
            with monkeypatch.context() as patch:
                patch.setattr(Own, "_aonce", step)
                task = asyncio.create_task(world.store.arun(script))
                caller.append(task)
                await asyncio.wait({task})
            await none_left()
            rows = await asyncio.to_thread(world.sql, "DELETE FROM seawall_txn RETURNING id")
            committed.append(len(rows))
            assert task.cancelled() or task.result() == f"t{cancel_at}" == rows[0][0]
        return committed

    caller: list[asyncio.Task[str]] = []

    def step(*args: Any) -> Any:
        stepped.append(Stepped(once(*args), caller[-1], cancel_at, way))
        return stepped[-1]

    assert {0, 1} == set(world.runner.run(main()))
    assert world.idle()


@pytest.mark.parametrize("where", ["body", "begin"])
def test_a_cancelled_caller_does_not_wait_for_a_silent_server(
    pg: World, postgresql_server: PostgreSQL, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the transaction has begun or is connecting; then the pool is as good as new.

    The drivers themselves would wait for 2 s and for 5 s.
    """
    monkeypatch.setattr(leaving, "GRACE", 0.05)

    async def main() -> float:
        reached = asyncio.Event()

        async def hangs(session: Any) -> None:
            await session.execute(ADD, {"id": "a"})
            await asyncio.to_thread(postgresql_server.silence)
            reached.set()
            await session.execute(text("SELECT 1"))

        if where == "begin":
            await asyncio.to_thread(postgresql_server.silence)
            asyncio.get_running_loop().call_later(QUICK, reached.set)
        task = asyncio.create_task(run_transaction(pg.sessions, hangs))
        await reached.wait()
        await asyncio.sleep(QUICK)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = time.monotonic() - began
        await asyncio.to_thread(postgresql_server.wake)
        await none_left()
        assert "b" == await pg.atransact(add("b"), backoff=0.1)
        return took

    assert pg.runner.run(main()) < 1.9
    assert {"b": 1} == pg.effects()


def test_a_body_that_swallows_its_cancellation_commits_nothing(world: World) -> None:
    """Its caller has gone: what it still wrote is rolled back."""

    async def stubborn(session: Any) -> None:
        await session.execute(ADD, {"id": "a"})
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            await session.execute(ADD, {"id": "b"})

    async def main() -> None:
        task = asyncio.create_task(run_transaction(world.sessions, stubborn))
        await asyncio.sleep(QUICK)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await none_left()

    world.runner.run(main())
    assert {} == world.effects()
    assert world.idle()


def test_a_time_out_around_a_commit_that_hangs_repeats_nothing(pg: World, proxy: CommitProxy) -> None:
    """The time-out comes before COMMIT's own bound; what the Retry around both gets is not the time-out."""
    proxy.plan("mute")
    runs = []

    @Retry(on=(CallTimeoutError, TimeoutError, CommitUnknownError), max_attempts=5, backoff=0)
    @Timeout(QUICK)
    async def limited() -> None:
        runs.append(1)
        await run_transaction(pg.sessions, body, commit_timeout=3 * QUICK)

    with pytest.raises(CommitUnknownError):
        pg.runner.run(limited())
    assert ([1], 1, {"a": 1}) == (runs, proxy.commits, pg.effects())


def test_a_time_out_during_a_commit_that_comes_through_is_a_success(pg: World, proxy: CommitProxy) -> None:
    """With an id it is even found out after the time-out: the result is returned, and the task is not cancelled."""
    proxy.plan("mute")

    async def limited() -> Any:
        async with asyncio.timeout(QUICK):
            found = await run_transaction(pg.sessions, body, commit_timeout=3 * QUICK, txn_id="t1")
        await asyncio.sleep(0.01)
        return found

    assert "done" == pg.runner.run(limited())
    assert {"a": 1} == pg.effects()


def test_a_cancellation_during_commit_is_delivered_after_it(pg: World, proxy: CommitProxy) -> None:
    """The caller is told that nobody knows, and its next await is cancelled."""
    proxy.plan("mute")
    told: list[type[BaseException]] = []

    async def caller() -> None:
        try:
            await run_transaction(pg.sessions, body, commit_timeout=2 * QUICK)
        except CommitUnknownError as error:
            told.append(type(error))
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError as error:
            told.append(type(error))
            raise

    async def main() -> None:
        task = asyncio.create_task(caller())
        await comes_true(lambda: proxy.commits > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    pg.runner.run(main())
    assert [CommitUnknownError, asyncio.CancelledError] == told


def test_hooks_are_finished_when_their_caller_is_cancelled(world: World) -> None:
    """The transaction is committed, so they run; then the result is there, and the cancellation after it."""
    ran: list[str] = []

    async def main() -> None:
        hooked = asyncio.Event()

        async def hook() -> None:
            hooked.set()
            await asyncio.sleep(0.05)
            ran.append("hook")

        async def with_hook(session: Any) -> str:
            after_commit(session, hook)
            return await body(session)

        async def caller() -> None:
            ran.append(await run_transaction(world.sessions, with_hook))
            await asyncio.sleep(PATIENCE)

        task = asyncio.create_task(caller())
        await hooked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.runner.run(main())
    assert ["hook", "done"] == ran


def test_the_end_of_the_program_ends_a_transaction(pg: World) -> None:
    """asyncio.run cancels every task, the one inside too: nothing is left, nothing is warned of."""

    async def main() -> None:
        begun = asyncio.Event()

        async def waits(session: Any) -> None:
            await session.execute(ADD, {"id": "a"})
            begun.set()
            await asyncio.sleep(PATIENCE)

        keep = asyncio.create_task(run_transaction(pg.sessions, waits))
        await begun.wait()
        assert not keep.done()

    async def run() -> None:
        await main()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(QUICK)

    pg.runner.run(run())
    assert {} == pg.effects()
    assert pg.idle()
