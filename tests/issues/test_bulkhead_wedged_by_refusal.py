"""A newcomer being refused held the lock while the holder gave its slot back: nobody handed the slot over."""

import asyncio
import sys
import threading
from typing import Any

import pytest

from seawall import Bulkhead, BulkheadFullError
from tests.both import NUMBERS

PATIENCE = 3.0  # real seconds after which what hangs is given up


class MeddlingLock:
    """A lock that lets things happen while the next one who waits for it gets it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.before: Any = None
        self.within: Any = None

    def __enter__(self) -> None:
        before, self.before = self.before, None
        within, self.within = self.within, None
        if before:
            before()
        assert self.lock.acquire(timeout=PATIENCE)
        if within:
            within()

    def __exit__(self, *exc: object) -> None:
        self.lock.release()

    def acquire(self, blocking: bool = True) -> bool:
        """Takes it, as the real one does."""
        return self.lock.acquire(blocking)

    def release(self) -> None:
        """Gives it back."""
        self.lock.release()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_refused_newcomer_hands_over_what_was_given_back_meanwhile(colour: str) -> None:
    """The one that waits gets the slot that came back while the newcomer held the lock."""
    bulkhead = Bulkhead(1, max_waiting=1, name=f"wedged {next(NUMBERS)}")
    lock = MeddlingLock()
    bulkhead._slots._lock = lock  # type: ignore[assignment]
    held = bulkhead.acquire()
    granted = threading.Event()

    def wait_for_a_slot() -> None:
        permit = bulkhead.acquire()
        granted.set()
        permit.release()

    waiter = threading.Thread(target=wait_for_a_slot, daemon=True)

    def queue_up() -> None:
        waiter.start()
        assert any(bulkhead.snapshot().waiting or threading.Event().wait(0.001) for _ in range(1000))

    lock.before, lock.within = queue_up, held.release

    async def newcomer() -> None:
        await bulkhead.aacquire()

    with pytest.raises(BulkheadFullError):
        bulkhead.acquire() if colour == "sync" else asyncio.run(newcomer())
    assert granted.wait(PATIENCE)
    waiter.join(PATIENCE)
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
    bulkhead.acquire().release()


def test_threads_that_come_and_go_never_wedge_it() -> None:
    """However threads interleave, each of them gets through, and in the end the bulkhead is empty."""
    bulkhead = Bulkhead(1, max_waiting=1, name=f"stressed {next(NUMBERS)}")
    done: list[int] = []

    def come_and_go() -> None:
        for _ in range(400):
            try:
                bulkhead.acquire().release()
            except BulkheadFullError:
                continue
        done.append(1)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=come_and_go, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(before)
    assert 4 == len(done)
    assert (0, 0) == (bulkhead.snapshot().running, bulkhead.snapshot().waiting)
