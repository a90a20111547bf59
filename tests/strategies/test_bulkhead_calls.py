"""The bulkhead: its queue in both colours, permits and guards, deadlines, and what it shows of itself."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from seawall import Bulkhead, BulkheadFullError, CallRejected, DeadlineExceededError, deadline
from seawall.testing import FakeClock, Recorder


def figures(bulkhead: Bulkhead) -> tuple[int, int]:
    """Running and waiting."""
    snapshot = bulkhead.snapshot()
    return snapshot.running, snapshot.waiting


def in_thread(work: Callable[[], object]) -> list[object]:
    """Runs work on a thread of its own; returns its result, or its exception."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results


def test_a_full_bulkhead_rejects_at_once() -> None:
    """Error and event name it; no time passes."""
    with FakeClock() as clock, Recorder() as events:
        bulkhead = Bulkhead(1, name="full")
        with bulkhead.guard(), pytest.raises(BulkheadFullError, match=r"^'full' is full$") as caught:
            bulkhead.acquire()
    assert ("full", None) == (caught.value.name, caught.value.retry_after)
    assert [("full", caught.value)] == [(event.name, event.error) for event in events.of(CallRejected)]
    assert 0.0 == clock.now()


def test_a_queued_thread_gives_up_after_its_wait() -> None:
    """It waits `max_wait` on the fake clock, and leaves the queue."""
    with FakeClock(grace=0.001) as clock:
        bulkhead = Bulkhead(1, max_waiting=1, max_wait=30, name="queued thread")
        permit = bulkhead.acquire()
        (error,) = in_thread(bulkhead.acquire)
        assert isinstance(error, BulkheadFullError)
        assert 30.0 == clock.now()
        assert (1, 0) == figures(bulkhead)
        permit.release()
    assert (0, 0) == figures(bulkhead)


def test_a_queued_task_gives_up_after_its_wait() -> None:
    """Likewise in an event loop; the slot it did not get goes to the next."""

    async def main() -> float:
        permit = await bulkhead.aacquire()
        with pytest.raises(BulkheadFullError):
            await bulkhead.aacquire()
        permit.release()
        (await bulkhead.aacquire()).release()
        return clock.now()

    with FakeClock() as clock:
        bulkhead = Bulkhead(1, max_waiting=1, max_wait=30, name="queued task")
        assert 30.0 == asyncio.run(main())
    assert (0, 0) == figures(bulkhead)


def test_the_deadline_ends_the_wait() -> None:
    """`DeadlineExceededError`, in both colours, at the deadline; after it nobody queues at all."""

    async def main() -> None:
        async with deadline(5):
            with pytest.raises(DeadlineExceededError, match="'bounded wait' was not started"):
                await bulkhead.aacquire()

    def work() -> None:
        with deadline(5):
            bulkhead.acquire()

    with FakeClock(grace=0.001) as clock:
        bulkhead = Bulkhead(1, max_waiting=1, max_wait=30, name="bounded wait")
        with bulkhead.guard():
            asyncio.run(main())
            assert 5.0 == clock.now()
            (error,) = in_thread(work)
            assert isinstance(error, DeadlineExceededError)
            assert 10.0 == clock.now()
            with deadline(0), pytest.raises(DeadlineExceededError):
                bulkhead.acquire()


def test_a_longer_deadline_leaves_the_wait_alone() -> None:
    """The shorter of the two ends it, and says so by its class."""

    async def main() -> None:
        async with deadline(60), bulkhead.guard():
            with pytest.raises(BulkheadFullError):
                await bulkhead.aacquire()

    with FakeClock() as clock:
        bulkhead = Bulkhead(1, max_waiting=1, max_wait=30, name="longer deadline")
        asyncio.run(main())
        assert 30.0 == clock.now()


def test_a_sync_wait_refuses_to_block_an_event_loop() -> None:
    """Where it need not wait it may pass."""
    bulkhead = Bulkhead(1, max_waiting=1, name="no blocking")

    async def main() -> None:
        with bulkhead.guard(), pytest.raises(RuntimeError, match=r"'no blocking' would have to wait.*async with"):
            bulkhead.acquire()

    asyncio.run(main())
    assert (0, 0) == figures(bulkhead)


def test_a_slot_is_given_back_whatever_ends_the_call() -> None:
    """Return, exception, cancellation, KeyboardInterrupt; in both colours."""
    bulkhead = Bulkhead(1, name="given back")

    def fail(error: BaseException) -> None:
        raise error

    async def afail(error: BaseException) -> None:
        raise error

    async def main() -> None:
        for error in (ValueError(), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                await bulkhead(afail)(error)

    for error in (ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            bulkhead(fail)(error)
    asyncio.run(main())
    assert 5 == bulkhead(lambda: 5)()
    assert (0, 0) == figures(bulkhead)


def test_a_permit_is_given_back_once() -> None:
    """Every end is the same end; a permit that is dropped gives back too."""
    bulkhead = Bulkhead(2, name="permits of a bulkhead")
    permit = bulkhead.acquire()
    permit.success()
    permit.failure(OSError())
    permit.release()
    assert (0, 0) == figures(bulkhead)
    permit = bulkhead.acquire()
    assert (1, 0) == figures(bulkhead)
    del permit
    assert (0, 0) == figures(bulkhead)


def test_one_guard_object_guards_blocks_within_each_other() -> None:
    """Each entry takes a slot, each exit gives one back."""
    bulkhead = Bulkhead(2, name="nested guards")
    guard = bulkhead.guard()
    with guard:
        with guard:
            assert (2, 0) == figures(bulkhead)
            with pytest.raises(BulkheadFullError), guard:
                pytest.fail("entered a full bulkhead")
        assert (1, 0) == figures(bulkhead)

    async def main() -> None:
        async with guard, guard:
            assert (2, 0) == figures(bulkhead)

    asyncio.run(main())
    assert (0, 0) == figures(bulkhead)


def test_looking_changes_nothing() -> None:
    """A thousand snapshots of running and waiting calls."""

    async def main() -> None:
        permit = await bulkhead.aacquire()
        waiter = asyncio.ensure_future(bulkhead.aacquire())
        await asyncio.sleep(0)
        before = bulkhead.snapshot()
        assert ("looked at bulkhead", 1, 1, 1) == (before.name, before.max_concurrent, before.running, before.waiting)
        assert {before} == {bulkhead.snapshot() for _ in range(1000)}
        permit.release()
        (await waiter).release()

    bulkhead = Bulkhead(1, max_waiting=3, name="looked at bulkhead")
    asyncio.run(main())
    assert (0, 0) == figures(bulkhead)


def test_a_thread_and_a_task_share_one_queue() -> None:
    """A slot given back by a task wakes the thread that waits for it."""
    bulkhead = Bulkhead(1, max_waiting=2, name="one queue")
    order: list[str] = []

    def wait() -> None:
        with bulkhead.guard():
            order.append("thread")

    async def main() -> None:
        async with bulkhead.guard():
            thread.start()
            while not bulkhead.snapshot().waiting:  # noqa: ASYNC110 - a thread comes to wait
                await asyncio.sleep(0)
            order.append("task")
        async with bulkhead.guard():
            order.append("task again")

    thread = threading.Thread(target=wait)
    asyncio.run(main())
    thread.join()
    assert ["task", "thread", "task again"] == order
