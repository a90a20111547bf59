"""Worker pools: bounded threads and queue, context variables, cancellation, shutdown and reuse."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import pytest

from seawall import BulkheadFullError, CallRejected, WorkerPool
from seawall.testing import Recorder

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Gate:
    """Work that runs until it is let through."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.ran = 0

    def __call__(self) -> str:
        """Waits at the gate."""
        self.ran += 1
        self.begun.release()
        assert self.open.wait(10)
        return "through"

    def fill(self, pool: WorkerPool, calls: int) -> list[Future[str]]:
        """Submits calls, and returns when as many as there are threads have begun."""
        futures = [pool.submit(self) for _ in range(calls)]
        for _ in range(min(calls, pool.threads)):
            assert self.begun.acquire(timeout=10)
        return futures


@pytest.fixture
def gate() -> Gate:
    """A closed gate."""
    return Gate()


def test_a_call_runs_on_a_thread_of_the_pool() -> None:
    """Arguments, result and exception pass unchanged; the thread has the pool's name."""

    def where(prefix: str, *, suffix: str) -> str:
        return f"{prefix}{threading.current_thread().name}{suffix}"

    async def main() -> None:
        with WorkerPool("named threads", 1) as pool:
            assert (await pool.run(where, "<", suffix=">")).startswith("<seawall-named threads")
            with pytest.raises(KeyError, match="mine"):
                await pool.run({}.__getitem__, "mine")

    asyncio.run(main())


def test_context_variables_travel() -> None:
    """The caller's values are seen in the thread; what is set there stays there."""

    def swap(user: str) -> str:
        seen = USER.get()
        USER.set(user)
        return seen

    async def main() -> tuple[str, str, str]:
        with WorkerPool("context", 1) as pool:
            USER.set("alice")
            first = await pool.run(swap, "mallory")
            return first, USER.get(), pool.submit(swap, "mallory").result(10)

    assert ("alice", "alice", "alice") == contextvars.copy_context().run(asyncio.run, main())


def test_a_full_pool_rejects_at_once(gate: Gate) -> None:
    """Threads and queue are bounded together; error and event name the pool; a freed place can be used again."""
    with WorkerPool("full pool", 2, 1) as pool, Recorder() as events:
        futures = gate.fill(pool, 3)
        assert ("full pool", 2, 1, 3) == _figures(pool)
        with pytest.raises(BulkheadFullError, match="'full pool' is full") as caught:
            pool.submit(gate)
        assert [caught.value] == [event.error for event in events.of(CallRejected)]
        gate.open.set()
        assert ["through"] * 3 == [future.result(10) for future in futures]
        assert "through" == pool.submit(gate).result(10)


def _figures(pool: WorkerPool) -> tuple[str, int, int, int]:
    snapshot = pool.snapshot()
    return snapshot.name, snapshot.threads, snapshot.max_waiting, snapshot.busy


def test_looking_changes_nothing(gate: Gate) -> None:
    """A thousand snapshots are equal."""
    with WorkerPool("looked at pool", 1, 1) as pool:
        gate.fill(pool, 2)
        assert {pool.snapshot()} == {pool.snapshot() for _ in range(1000)}
        gate.open.set()


def test_a_call_cancelled_in_the_queue_is_never_run(gate: Gate) -> None:
    """Its place is free again at once."""

    async def main() -> None:
        gate.fill(pool, 1)
        queued = asyncio.ensure_future(pool.run(gate))
        await asyncio.sleep(0)
        assert 2 == pool.snapshot().busy
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        await asyncio.sleep(0)
        assert 1 == pool.snapshot().busy
        last = pool.submit(gate)
        gate.open.set()
        assert "through" == await asyncio.wrap_future(last)

    with WorkerPool("cancelled in queue", 1, 1) as pool:
        asyncio.run(main())
    assert 2 == gate.ran


def test_a_call_that_runs_keeps_its_thread_when_cancelled(gate: Gate) -> None:
    """It cannot be stopped, so its place stays taken until it ends."""

    async def main() -> None:
        running = asyncio.ensure_future(pool.run(gate))
        await asyncio.to_thread(gate.begun.acquire, timeout=10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert 1 == pool.snapshot().busy
        with pytest.raises(BulkheadFullError):
            await pool.run(gate)
        gate.open.set()

    with WorkerPool("cancelled running", 1) as pool:
        asyncio.run(main())
    assert 0 == pool.snapshot().busy


def test_shutdown_cancels_the_queue_and_waits_for_the_rest(gate: Gate) -> None:
    """After it nothing runs, and nothing is counted as busy."""
    pool = WorkerPool("shut down", 1, 1)
    running, queued = gate.fill(pool, 2)
    threading.Timer(0.01, gate.open.set).start()
    pool.shutdown()
    assert "through" == running.result(0)
    with pytest.raises(CancelledError):
        queued.result(0)
    assert (1, 0) == (gate.ran, pool.snapshot().busy)
    pool.shutdown()


def test_a_pool_can_be_used_again_after_a_shutdown(gate: Gate) -> None:
    """Also while a call of its former life is still running, which counts until it ends."""
    pool = WorkerPool("used again", 1, 1)
    (running,) = gate.fill(pool, 1)
    pool.shutdown(wait=False)
    assert 5 == pool.submit(lambda: 5).result(10)
    gate.open.set()
    assert "through" == running.result(10)
    pool.shutdown()
    assert "context" == pool.submit(str, "context").result(10)
    pool.shutdown()
    assert 0 == pool.snapshot().busy


def test_one_pool_serves_many_event_loops() -> None:
    """Threads outlive the loop that first used them."""
    with WorkerPool("many loops", 1, 5) as pool:

        async def main() -> int:
            return sum(await asyncio.gather(*(pool.run(abs, -number) for number in range(5))))

        assert [10, 10] == [asyncio.run(main()), asyncio.run(main())]


def test_no_thread_is_started_before_the_first_call() -> None:
    """A pool may be made when a module is imported."""

    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate() if "lazy pool" in thread.name}

    pool = WorkerPool("lazy pool", 3)
    assert set() == threads()
    work: Callable[[], None] = threads  # type: ignore[assignment]
    pool.submit(work).result(10)
    assert 1 == len(threads())
    pool.shutdown()
    assert set() == threads()


def test_only_plain_functions_run_on_a_pool() -> None:
    """An async function would give a coroutine that nobody awaits: refused at once, and no place is taken."""

    async def work() -> None:
        """Works."""

    async def main() -> None:
        await pool.run(work)

    with WorkerPool("plain functions", 1) as pool:
        for call in (lambda: pool.submit(work), lambda: asyncio.run(main())):
            with pytest.raises(TypeError, match=r"takes a plain function, and work is an async function"):
                call()
        assert 0 == pool.snapshot().busy
