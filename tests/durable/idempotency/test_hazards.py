"""What goes wrong elsewhere: forks, leaks, generators that nobody ends."""

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from seawall.durable import Idempotency, KeyMismatchError, Lock
from seawall.durable.locks import FreeLock, Held, TakeLock
from tests.durable.idempotency.conftest import Used


def in_a_child(work: Callable[[], bool]) -> int:
    """Runs something in a forked child; returns 0 where it was true."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_keeps_leases_of_its_own(sync_used: Used) -> None:
    """The thread that looks after them does not come along: the child has one of its own."""
    operations = sync_used.idempotency(heartbeat=0.02)

    def work() -> bool:
        sync_used.clock.advance(20)
        sync_used.until(lambda: _left(operations) > 29)
        return True

    assert operations.call("parent", work)
    with Lock(sync_used.store, "l"):  # the parent's thread is at work when it forks
        assert 0 == in_a_child(lambda: operations.call("child", lambda: _beaten(sync_used, operations)))


def _left(operations: Idempotency, key: str = "parent") -> float:
    shown = operations.show(key)
    assert shown is not None
    return shown.left


def _beaten(used: Used, operations: Idempotency) -> bool:
    used.clock.advance(20)
    used.until(lambda: _left(operations, "child") > 29)
    return True


def test_nothing_is_left_for_the_garbage_collector(used: Used) -> None:
    """Whatever becomes of an operation: failures hold no frames that hold failures."""
    operations, lock, number = used.idempotency(), Lock(used.store, "l"), [0]

    def each() -> None:
        for key, fn, fingerprint in _several(number):
            with contextlib.suppress(*EXPECTED):
                operations.call(key, fn, fingerprint=fingerprint)
        with lock:
            pass

    async def aeach() -> None:
        for key, fn, fingerprint in _several(number):
            with contextlib.suppress(*EXPECTED):
                await operations.acall(key, _later, fn, fingerprint=fingerprint)
        async with lock:
            pass

    async def left() -> int:
        """Always in a task: what a test needs to get into one is no business of ours."""
        for turn in range(4):
            await aeach() if used.kind.is_async else await asyncio.to_thread(each)
            if turn == 0:
                gc.collect()
                gc.disable()
        return gc.collect()

    try:
        assert used.awaited(left()) < 3
    finally:
        gc.enable()


EXPECTED = (ValueError, TimeoutError, KeyMismatchError)


def _several(number: list[int]) -> list[tuple[str, Any, str]]:
    """An execution, its repeat, one that fails, one whose outcome is unknown, a wrong key."""
    number[0] += 1
    each = ("k", _pay, ""), ("k", _pay, ""), ("f", _refuse, ""), ("u", _time_out, ""), ("k", _pay, "other")
    return [(f"{key}{number[0]}", fn, fingerprint) for key, fn, fingerprint in each]


def _pay() -> str:
    return "paid"


def _refuse() -> None:
    raise ValueError("no")


def _time_out() -> None:
    raise TimeoutError("late")


async def _later(fn: Any) -> Any:
    return fn()


def test_a_generator_that_nobody_ends_gives_its_lock_back(sync_used: Used) -> None:
    """When it is collected, on whatever thread that is: even on the one that the store needs for it."""

    def items() -> Iterator[int]:
        with Lock(sync_used.store, "l"):
            yield 1

    def collect(connection: Any) -> None:
        gc.collect()

    for collector in (gc.collect, lambda: sync_used.store.transact(collect)):
        ring: list[Any] = [items()]
        next(ring[0])
        ring.append(ring)
        assert isinstance(sync_used.store.run(TakeLock("l", "other", 30.0)), Held)
        del ring
        collector()
        sync_used.until(lambda: isinstance(sync_used.store.run(TakeLock("l", "other", 30.0)), int))
        sync_used.store.run(FreeLock("l", "other"))


def test_a_generator_may_be_ended_by_another_thread_or_task(used: Used) -> None:
    """Its lock is given back all the same."""
    lock = Lock(used.store, "l")

    def items() -> Iterator[int]:
        with lock:
            yield 1

    async def aitems() -> AsyncIterator[int]:
        async with lock:
            yield 1

    async def scenario() -> None:
        given = aitems()
        await anext(given)
        await asyncio.create_task(given.aclose())  # type: ignore[attr-defined]

    if used.kind.is_async:
        used.awaited(scenario())
    else:
        given: Any = items()
        next(given)
        thread = threading.Thread(target=given.close)
        thread.start()
        thread.join()
    assert entered(used)


def entered(used: Used) -> bool:
    """Whether the lock can be had within 20 s."""
    if not used.kind.is_async:
        with Lock(used.store, "l", wait=20.0):
            return True

    async def aenter() -> bool:
        async with Lock(used.store, "l", wait=20.0):
            return True

    return bool(used.awaited(aenter()))
