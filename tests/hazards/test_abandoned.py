"""What is collected instead of closed gives back what it held, at whatever moment the collector runs.

A finalizer may run on the very thread that holds one of our locks. So the tests run in a process of their own, where a
deadlock shows as a traceback within seconds.
"""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, contextvars, faulthandler, gc, sys, threading
from seawall import *
from seawall.testing import FakeClock
faulthandler.dump_traceback_later(8, exit=True)

bulkhead = Bulkhead(10_000, name="slots")
breaker = CircuitBreaker(failure_rate=1.0, window=1e6, min_calls=10**6, name="circuit")
judged = CircuitBreaker(failures=2, window_calls=10**5, on_result=lambda result: False, on=OSError, name="judged")

class Cycle:
    pass

def cyclic(thing):
    cycle = Cycle()
    cycle.own, cycle.thing = cycle, thing

def items():
    while True:
        yield 1

async def aitems():
    while True:
        yield 1

stream = bulkhead(breaker(judged(items)))
astream = bulkhead(breaker(judged(aitems)))
"""

AT_EVERY_LINE = """
def collecting_at_every_line(work, abandon, most=4000):
    # Runs work() so that at each line of seawall something abandoned is collected, on this very thread.
    gc.disable()
    passed = 0
    def trace(frame, event, argument):
        nonlocal passed
        if "seawall" not in frame.f_code.co_filename:
            return None
        if event == "line" and passed < most:
            passed += 1
            abandon()
            gc.collect(0)
        return trace
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
        gc.enable()
    gc.collect()
    assert passed > 5, passed
"""


def run(code: str) -> list[str]:
    """Runs code in a process of its own, which must end well; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(PRELUDE) + AT_EVERY_LINE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stderr[-3000:]
    return done.stdout.split()


@pytest.mark.parametrize("threads", [1, 4])
def test_streams_collected_at_every_chance_neither_deadlock_nor_lose_anything(threads: int) -> None:
    """With a collection at every allocation, calls and cyclic never-closed streams of several threads all end."""
    printed = run(
        f"""
        def work():
            for turn in range(300):
                abandoned = stream()
                next(abandoned)
                cyclic(abandoned)
                del abandoned
                permit = breaker.acquire()
                permit.success()
                with bulkhead.guard(), judged.guard():
                    breaker.snapshot()

        gc.set_threshold(1)
        threads = [threading.Thread(target=work) for _ in range({threads})]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        gc.collect()
        print(bulkhead.snapshot().running, breaker.snapshot().calls, breaker.snapshot().failures, judged.state)
        """
    )
    assert ["0", str(threads * 600), "0", "closed"] == printed


def test_async_streams_collected_at_every_chance_neither_deadlock_nor_lose_anything() -> None:
    """The same for async generators, which their event loop closes."""
    printed = run(
        """
        @bulkhead
        @breaker
        async def call():
            await asyncio.sleep(0)

        async def work():
            for turn in range(100):
                abandoned = astream()
                await anext(abandoned)
                cyclic(abandoned)
                del abandoned
                await call()
            gc.collect()
            for _ in range(10):
                await asyncio.sleep(0)

        gc.set_threshold(1)
        asyncio.run(work())
        print(bulkhead.snapshot().running, breaker.snapshot().calls, breaker.snapshot().failures)
        """
    )
    assert ["0", "200", "0"] == printed


@pytest.mark.parametrize(
    "busy",
    [
        "next(stream())",
        "breaker.acquire().failure()",
        "judged.acquire().failure()",
        "breaker.snapshot()",
        "bulkhead(lambda: None)()",
        "full.acquire().release()",
        "halfopen.acquire().release()",
        "halfopen.isolate().close()",
        "asyncio.run(queue())",
    ],
)
def test_a_stream_collected_within_any_line_of_ours_does_not_deadlock(busy: str) -> None:
    """At each line of ours an abandoned stream is collected on the same thread; each gives back and counts once."""
    printed = run(
        f"""
        full = Bulkhead(1, name="full")
        halfopen = CircuitBreaker(failures=1, open_for=lambda attempt: 1e-9, probe_lease=1e-9, name="halfopen")
        halfopen.acquire().failure()
        limited = Bulkhead(1, max_waiting=5, name="limited")
        abandoned = 0

        @limited
        async def short():
            await asyncio.sleep(0)

        async def queue():
            await asyncio.gather(short(), short(), short())

        def abandon():
            global abandoned
            left = stream()
            next(left)
            cyclic(left)
            abandoned += 1

        collecting_at_every_line(lambda: {busy}, abandon)
        gc.collect()
        print(bulkhead.snapshot().running, judged.state, breaker.snapshot().calls - abandoned in (0, 1))
        """
    )
    assert ["0", "closed", "True"] == printed


@pytest.mark.parametrize("lock_of", ["bulkhead", "rate limit", "budget", "budget, in a loop"])
def test_a_waiting_call_dropped_within_any_line_of_ours_does_not_deadlock(lock_of: str) -> None:
    """At each line of ours a call that waited in a closed loop is dropped on this very thread, as a collector would."""
    printed = run(
        f"""
        slots = Bulkhead(1, max_waiting=10**6, name="one")
        limit = RateLimit(1, per=1e3, burst=1, max_wait=1e9, name="limit", clock=FakeClock())
        budget = RetryBudget(rate=0.0, min_concurrent=10**6)
        retry = Retry(on=OSError, max_attempts=2, backoff=lambda number: 1e-9, budget=budget, name="retry")

        async def nothing():
            pass

        async def fail():
            raise OSError

        async def fail_in_a_loop():
            async for attempt in retry.attempts():
                with attempt:
                    await fail()

        async def contend():
            task = asyncio.ensure_future(slots.aacquire())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        def retried():
            try:
                retry(lambda: 1 / 0 if budget.calls < 0 else exec("raise OSError"))()
            except OSError:
                pass

        held = slots.acquire()
        limit.acquire()
        waiting, busy = {{
            "bulkhead": (slots(nothing), lambda: asyncio.run(contend())),
            "rate limit": (limit(nothing), limit.acquire),
            "budget": (retry(fail), retried),
            "budget, in a loop": (fail_in_a_loop, retried),
        }}["{lock_of}"]

        loop = asyncio.new_event_loop()
        asyncio._set_running_loop(loop)
        stock = [waiting() for _ in range(300)]
        for coroutine in stock:
            contextvars.copy_context().run(coroutine.send, None)
        asyncio._set_running_loop(None)
        loop.close()
        collecting_at_every_line(busy, lambda: stock and stock.pop())
        stock.clear()
        del coroutine
        held.release()
        print(slots.snapshot().running, slots.snapshot().waiting, budget.calls, budget.retries)
        """
    )
    assert ["0", "0", "0", "0"] == printed
