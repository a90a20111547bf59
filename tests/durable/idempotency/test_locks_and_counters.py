"""Locks and counters between processes, on every store there is."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall import Event, deadline, listen
from seawall.durable import Counter, LeaseLost, LeaseLostError, Lock, LockTimeoutError, StoreError, open_store
from seawall.durable.counters import AddCount
from seawall.durable.locks import FreeLock, Held, RenewLock, TakeLock
from tests.durable.engines import CLAIMING, Engine, opened, over
from tests.durable.idempotency.conftest import PATIENCE, Used

LEASE = 100.0
PAST = -1.0


@pytest.fixture(params=CLAIMING)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each store that holds locks and counters, in turn."""
    with opened(request.param, request, tmp_path) as made:
        yield made


def test_a_lock_is_held_by_one_and_its_tokens_grow(engine: Engine) -> None:
    """Across holders, expiry and giving back; a second run of the same taking gives the same token."""
    first = engine.run(TakeLock("l", "a", LEASE))
    assert first == engine.run(TakeLock("l", "a", LEASE))
    held = engine.run(TakeLock("l", "b", LEASE))
    assert isinstance(held, Held)
    assert LEASE - 30 < held.left <= LEASE
    engine.run(FreeLock("l", "b"))  # not its own
    assert isinstance(engine.run(TakeLock("l", "b", LEASE)), Held)
    engine.run(FreeLock("l", "a"))
    second = engine.run(TakeLock("l", "b", PAST))
    third = engine.run(TakeLock("l", "c", LEASE))

    assert first < second < third
    assert not engine.run(RenewLock("l", "b", LEASE))
    assert engine.run(RenewLock("l", "c", LEASE))


def test_of_fifty_one_takes_the_lock(engine: Engine) -> None:
    """However many come at the same time."""
    answers = engine.together([TakeLock("l", f"owner-{number}", LEASE) for number in range(50)])

    assert 1 == sum(isinstance(answer, int) for answer in answers)


def test_a_renewed_lock_is_held_on(engine: Engine) -> None:
    """Also after its lease has run out, where nobody took it."""
    engine.run(TakeLock("l", "a", PAST))

    assert engine.run(RenewLock("l", "a", LEASE))
    assert isinstance(engine.run(TakeLock("l", "b", LEASE)), Held)


def test_only_one_is_inside_at_a_time(engine: Engine) -> None:
    """Threads and tasks alike, with tokens in the order of entering."""
    lock = Lock(engine.store, "l")
    inside, tokens, most = [0], [], [0]

    def work(token: int) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        tokens.append(token)

    def enter() -> None:
        with lock as token:
            work(token)
            threading.Event().wait(0.005)
            inside[0] -= 1

    async def aenter() -> None:
        async with lock as token:
            work(token)
            await asyncio.sleep(0.005)
            inside[0] -= 1

    async def all_of_them() -> None:
        await asyncio.gather(*(aenter() if engine.kind.is_async else asyncio.to_thread(enter) for _ in range(8)))

    engine.awaited(all_of_them())

    assert (1, 8) == (most[0], len(tokens))
    assert all(one < next_ for one, next_ in itertools.pairwise(tokens))


def test_a_counter_counts_what_processes_add(engine: Engine) -> None:
    """At the same time, up and down; a second run of one addition does not count."""
    counter = Counter(engine.store, "c")
    assert 0 == engine.call(counter, "value")
    assert [1, 6, 4] == [engine.call(counter, "add", by) for by in (1, 5, -2)]
    engine.together([AddCount("c", 1, None, f"mark-{number}", "") for number in range(30)])
    for _ in range(3):
        engine.run(AddCount("c", 1, None, "mark-0", ""))

    assert 34 == engine.call(Counter(engine.another(), "c"), "value")
    assert 0 == engine.call(Counter(engine.store, "other"), "value")


def test_a_counter_begins_again_after_its_time(engine: Engine) -> None:
    """Counted from its first addition."""
    engine.run(AddCount("c", 5, 1000.0, "a", ""))
    engine.run(AddCount("past", 5, 0.001, "b", ""))
    threading.Event().wait(0.01)

    assert 6 == engine.run(AddCount("c", 1, 0.001, "c", ""))
    assert 0 == engine.call(Counter(engine.store, "past"), "value")
    assert 2 == engine.run(AddCount("past", 2, 1000.0, "d", ""))


@over(*CLAIMING[:5])
def test_an_addition_may_be_part_of_a_transaction(engine: Engine) -> None:
    """It counts if and when that commits."""
    with pytest.raises(KeyError):
        engine.enlisted(AddCount("c", 5, None, "", ""), failure=KeyError())
    engine.enlisted(AddCount("c", 2, None, "", ""))

    assert 2 == engine.call(Counter(engine.store, "c"), "value")


def test_counting_leaves_nothing_behind_but_the_count(sync_used: Used) -> None:
    """The mark of an addition goes with the next one."""
    counter = Counter(sync_used.store, "c")
    for _ in range(20):
        counter.add()
    marks = sync_used.store.transact(lambda db: db.execute("SELECT COUNT(*) FROM seawall_txn").fetchone()[0])

    assert (1, 20) == (marks, counter.value())
    assert 21 == sync_used.store.transact(lambda db: counter.add(session=db))
    assert 21 == sync_used.store.transact(lambda db: counter.value(session=db))


def entered(used: Used, lock: Lock, work: Any = None) -> Any:
    """Enters a lock in the colour of the store; returns what a function, plain or async, returns inside."""
    if not used.kind.is_async:
        with lock as token:
            return work() if work else token

    async def ablock() -> Any:
        async with lock as token:
            result = work() if work else token
            return await result if asyncio.iscoroutine(result) else result

    return used.awaited(ablock())


def test_a_lock_that_is_not_free_in_time_says_when_to_ask(used: Used) -> None:
    """At once, after a while, or at the ambient deadline."""
    used.run(TakeLock("l", "somebody", 30.0))
    for wait in (0, 0.1):
        with pytest.raises(LockTimeoutError, match="'lock l' was not free in time") as raised:
            entered(used, Lock(used.store, "l", wait=wait))
        assert 30.0 == raised.value.retry_after

    async def under_a_deadline() -> None:
        with deadline(0.1):
            async with Lock(used.store, "l"):
                pass

    if used.kind.is_async:
        with pytest.raises(LockTimeoutError):
            used.awaited(under_a_deadline())
    else:
        with deadline(0.1), pytest.raises(LockTimeoutError):
            entered(used, Lock(used.store, "l"))


def test_a_lock_whose_holder_is_gone_is_taken_after_its_lease(used: Used) -> None:
    """The next token is larger."""
    first = used.run(TakeLock("l", "gone", 30.0))
    used.clock.advance(31)

    assert first < entered(used, Lock(used.store, "l"))
    assert isinstance(used.run(TakeLock("l", "next", 30.0)), int)  # given back


def test_a_lock_is_given_back_whatever_happens_inside(used: Used) -> None:
    """An error passes as it is."""

    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        entered(used, Lock(used.store, "l"), fail)
    assert entered(used, Lock(used.store, "l", wait=0))


def test_a_lock_is_kept_while_it_is_held(used: Used) -> None:
    """By heartbeats; who comes meanwhile waits."""

    def held() -> bool:
        answer = used.store.run(TakeLock("l", "other", 30.0))
        return isinstance(answer, Held) and answer.left > 29

    def work() -> Any:
        if used.kind.is_async:
            return awork()
        for _ in range(3):
            used.clock.advance(20)
            used.until(held)
        return "done"

    async def awork() -> Any:
        for _ in range(3):
            used.clock.advance(20)
            await used.until(held)
        return "done"

    assert "done" == entered(used, Lock(used.store, "l", heartbeat=0.02), work)


def test_a_lost_lock_is_told(used: Used) -> None:
    """An async block is cut short, a sync one told at its end; the new holder keeps the lock."""
    lock, told = Lock(used.store, "l", heartbeat=0.02), list[Event]()
    stop = listen(told.append, LeaseLost)

    def take() -> bool:
        used.clock.advance(31)
        return isinstance(used.store.run(TakeLock("l", "other", 1000.0)), int)

    def work() -> Any:
        if used.kind.is_async:
            return awork()
        used.until(take)
        return used.until(lambda: bool(told))

    async def awork() -> None:
        await used.until(take)
        await asyncio.sleep(PATIENCE)

    with pytest.raises(LeaseLostError, match="lock 'l' was lost"):
        entered(used, lock, work)
    stop()

    assert ["lock 'l'"] == [event.name for event in told]
    assert isinstance(used.run(TakeLock("l", "third", 1.0)), Held)


def test_a_lock_is_not_entered_within_itself(used: Used) -> None:
    """It would wait for itself; another task or thread may wait with the same object."""
    lock = Lock(used.store, "l")
    assert entered(used, lock, lambda: repr(lock))

    def again() -> Any:
        if used.kind.is_async:
            return aagain()
        with pytest.raises(RuntimeError, match="held by this thread or task already"):
            lock.__enter__()
        return "refused"

    async def aagain() -> str:
        with pytest.raises(RuntimeError, match="held by this thread or task already"):
            await lock.__aenter__()
        return "refused"

    assert "refused" == entered(used, lock, again)


def test_who_is_cancelled_while_waiting_leaves_no_lock_behind(async_used: Used) -> None:
    """At any moment of taking it."""
    lock = Lock(async_used.store, "l")

    async def scenario() -> None:
        for turns in range(5):
            task = asyncio.create_task(lock.__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            async with Lock(async_used.store, "l", wait=0):
                pass

    async_used.awaited(scenario())


def test_wrong_arguments_are_named(sync_used: Used, redis_url: str) -> None:
    """With what would be right."""
    store = sync_used.store
    with pytest.raises(TypeError, match="name='' is no name of a lock"):
        Lock(store, "")
    with pytest.raises(ValueError, match="heartbeat=20"):
        Lock(store, "l", heartbeat=20)
    with pytest.raises(ValueError, match="wait=-1"):
        Lock(store, "l", wait=-1)
    with pytest.raises(TypeError, match="name=7 is no name of a counter"):
        Counter(store, 7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ttl=0"):
        Counter(store, "c", ttl=0)
    with pytest.raises(TypeError, match=r"by=1\.5 is not a whole number"):
        Counter(store, "c").add(1.5)  # type: ignore[arg-type]
    redis: Any = open_store(redis_url)
    with pytest.raises(StoreError, match="counter 'c': an addition that commits with an effect cannot live in redis"):
        Counter(redis, "c").add(session=object())
    redis.close()
