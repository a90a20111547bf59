"""The numbered behaviour case of bulkheads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from seawall import Bulkhead, BulkheadFullError, DeadlineExceededError, deadline
from tests.both import PATIENCE, Async, Held, Threads, concurrent, run_in


def counts(bulkhead: Bulkhead) -> tuple[int, int]:
    """Returns how many run and how many wait."""
    shown = bulkhead.snapshot()
    return shown.running, shown.waiting


@concurrent
def test_core_39_two_run_two_queue_and_the_fifth_is_rejected(colour: Any) -> None:
    """Of five calls 0 and 1 enter, 2 and 3 queue and enter in this order, the fifth is rejected at once."""
    bulkhead = Bulkhead(2, max_waiting=2)
    entered: list[int] = []
    held = [Held(number) for number in range(5)]
    scripts = [colour.script(each) for each in held]
    flights = []
    for number, expected in enumerate([(1, 0), (2, 0), (2, 1), (2, 2)]):
        flights.append(colour.start(bulkhead, scripts[number]))
        colour.until(lambda: counts(bulkhead) == expected)  # noqa: B023 - called before the next turn
    with pytest.raises(BulkheadFullError):
        colour.call(bulkhead, scripts[4])
    for number, after in enumerate([(2, 1), (2, 0), (1, 0), (0, 0)]):
        colour.until(lambda: sum(script.calls for script in scripts) == min(4, 2 + number))  # noqa: B023 - as above
        entered.append(sum(script.calls for script in scripts))
        assert [1] * entered[-1] + [0] * (5 - entered[-1]) == [script.calls for script in scripts]
        held[number].let_go()
        assert number == colour.end(flights[number])
        colour.until(lambda: counts(bulkhead) == after)  # noqa: B023 - as above
    assert [2, 3, 4, 4] == entered


@concurrent
def test_core_39_a_newcomer_queues_behind_those_who_wait(colour: Any) -> None:
    """Three calls queue for one slot: they run one after the other in the order of queueing."""
    bulkhead, order = Bulkhead(1, max_waiting=3), []
    taken = bulkhead.acquire()
    flights = []
    for number in range(3):
        flights.append(colour.start(bulkhead, colour.script(lambda number=number: order.append(number))))
        colour.until(lambda: counts(bulkhead) == (1, number + 1))  # noqa: B023 - called before the next turn
    taken.release()
    for flight in flights:
        colour.end(flight)
    assert ([0, 1, 2], (0, 0)) == (order, counts(bulkhead))


@run_in(Async)
def test_core_39_a_queued_call_that_is_cancelled_leaves_the_queue(colour: Async) -> None:
    """With one slot, the first of two queued calls is cancelled: the other one runs, and the slot comes back."""
    bulkhead = Bulkhead(1, max_waiting=2)
    taken = bulkhead.acquire()
    aborted, queued = colour.script("never"), colour.script("fine")
    flights = [colour.start(bulkhead, script) for script in (aborted, queued)]
    colour.until(lambda: counts(bulkhead) == (1, 2))
    flights[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        colour.end(flights[0])
    assert (1, 1) == counts(bulkhead)
    taken.release()
    assert "fine" == colour.end(flights[1])
    assert (0, 1, (0, 0)) == (aborted.calls, queued.calls, counts(bulkhead))


@run_in(Async)
def test_core_39_a_call_cancelled_as_its_slot_is_handed_over_passes_it_on(colour: Async) -> None:
    """A queued call is cancelled in the tick in which it is given the slot: the next one has it."""
    bulkhead = Bulkhead(1, max_waiting=2)
    taken = bulkhead.acquire()
    scripts = [colour.script("fine") for _ in range(2)]
    flights = [colour.start(bulkhead, script) for script in scripts]
    colour.until(lambda: counts(bulkhead) == (1, 2))

    async def at_once() -> None:
        taken.release()
        flights[0].cancel()

    colour.runner.run(at_once())
    assert "fine" == colour.end(flights[1])
    assert ([0, 1], (0, 0)) == ([script.calls for script in scripts], counts(bulkhead))


@run_in(Threads)
def test_core_39_a_queued_thread_that_gives_up_leaves_the_queue(colour: Threads) -> None:
    """With one slot, the first of two queued threads runs out of time: the other one runs, the slot comes back."""
    bulkhead = Bulkhead(1, max_waiting=2)
    taken = bulkhead.acquire()
    aborted, queued = colour.script("never"), colour.script("fine")
    with deadline(0.5):
        hurried = colour.start(bulkhead, aborted)
    patient = colour.start(bulkhead, queued)
    with pytest.raises(DeadlineExceededError):
        colour.end(hurried)
    colour.until(lambda: counts(bulkhead) == (1, 1))
    taken.release()
    assert "fine" == colour.end(patient)
    assert (0, 1, (0, 0)) == (aborted.calls, queued.calls, counts(bulkhead))


def test_core_39_threads_and_loops_share_the_slots() -> None:
    """Five threads and two event loops, with 70 calls in all, never have more than two running, and do have two."""
    bulkhead = Bulkhead(2, max_waiting=100)
    lock, two = threading.Lock(), threading.Event()
    running = most = made = 0

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if most >= 2:
            two.set()

    def leave() -> None:
        nonlocal running, made
        with lock:
            running -= 1
            made += 1

    def call() -> None:
        enter()
        two.wait(PATIENCE)  # the first one waits for a second one
        leave()

    async def acall() -> None:
        enter()
        while not two.is_set():  # noqa: ASYNC110 - no task may block: the second one may be on a thread
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        leave()

    protected, aprotected = bulkhead(call), bulkhead(acall)

    async def ten() -> None:
        await asyncio.gather(*(aprotected() for _ in range(10)))

    workers = [lambda: [protected() for _ in range(10)]] * 5 + [lambda: asyncio.run(ten())] * 2
    threads = [threading.Thread(target=worker, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (2, 70, 0) == (most, made, running)
    assert (0, 0) == counts(bulkhead)


def test_core_39_usable_again_in_a_second_loop() -> None:
    """A bulkhead in which calls waited in one `asyncio.run` serves another, also after one that left a call queued."""
    bulkhead = Bulkhead(1, max_waiting=5)

    @bulkhead
    async def call() -> str:
        await asyncio.sleep(0)
        return "fine"

    async def three() -> list[str]:
        return await asyncio.gather(*(call() for _ in range(3)))

    async def leave_one_queued() -> None:
        taken.append(await bulkhead.aacquire())
        tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(0)
        assert (1, 1) == counts(bulkhead)

    tasks, taken = [], []
    assert ["fine"] * 3 == asyncio.run(three())
    assert ["fine"] * 3 == asyncio.run(three())
    asyncio.run(leave_one_queued())
    assert tasks[0].cancelled()
    taken[0].release()
    assert ["fine"] * 3 == asyncio.run(three())
    assert (0, 0) == counts(bulkhead)


def test_core_39_a_waiter_whose_loop_is_closed_is_skipped() -> None:
    """A slot is not handed to a call whose event loop was closed under it, but to the next one that asks."""
    bulkhead = Bulkhead(1, max_waiting=5)
    taken = bulkhead.acquire()
    loop = asyncio.new_event_loop()
    waiting = bulkhead.aacquire()
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    assert (1, 1) == counts(bulkhead)
    loop.close()
    taken.release()
    assert (0, 0) == counts(bulkhead)
    bulkhead.acquire().release()
    task._log_destroy_pending = False
    waiting.close()
