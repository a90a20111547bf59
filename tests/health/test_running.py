"""When checks run, how long they are waited for, and what they leave behind."""

import asyncio
import contextvars
import gc
import logging
import random
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from seawall import deadline, remaining
from seawall.health import Check, Monitor
from seawall.testing import FakeClock
from tests.health.monitors import Found, FoundOnThread, Hanging, monitor, statuses, until


def test_a_check_inherits_no_time_and_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts the monitor, or asks for a run, inside a request binds neither checks nor who is told of them."""
    seen: list[Any] = []
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")
    outcomes = iter([True, False])

    async def look() -> bool:
        seen.append((remaining(), name.get()))
        return next(outcomes)

    def look_on_thread() -> None:
        seen.append((remaining(), name.get()))

    async def run() -> None:
        name.set("request 17")
        monkeypatch.setattr("seawall.health.watch.GAP", 0.0)
        with deadline(3.0):
            watching = monitor(Check("a", look), Check("b", look_on_thread))
            watching.listen(lambda event: seen.append((remaining(), name.get())))
            async with watching:
                await watching.arefresh()
                await watching.arefresh()

    asyncio.run(run())

    assert [(None, "none")] * (2 + 2 + 2 + 1) == seen  # runs, changes, runs, a change


def test_periods_have_jitter_of_ten_percent() -> None:
    """It runs at the start, and then from start to start between 0.9 and 1.1 periods, over the whole of that span."""
    found = Found(True)

    async def run(clock: FakeClock) -> None:
        found.clock = clock.now
        async with monitor(Check("it", found), period=10.0, rng=random.Random(7)):
            await clock.asleep(2000.0)

    with FakeClock() as clock:
        asyncio.run(run(clock))
    gaps = [later - sooner for sooner, later in zip(found.at, found.at[1:], strict=False)]

    assert 0.0 == found.at[0]
    assert 9.0 <= min(gaps) < 9.2
    assert 10.8 < max(gaps) <= 11.0
    assert 9.9 < sum(gaps) / len(gaps) < 10.1


def test_a_slow_check_is_not_run_twice_at_once() -> None:
    """The period goes from start to start; a run that takes longer is followed at once by the next, never joined."""
    running: list[float] = []
    most: list[int] = []

    async def look() -> None:
        running.append(0)
        most.append(len(running))
        await asyncio.sleep(2.5)
        running.pop()

    async def run(clock: FakeClock) -> None:
        async with monitor(Check("it", look), period=1.0, timeout=5.0):
            await clock.asleep(25.5)

    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert ({1}, 11) == (set(most), len(most))


def test_each_check_has_its_own_period_and_timeout() -> None:
    """A check's own figures beat the monitor's; one tagged external is asked no more than once a minute by default."""

    async def run(clock: FakeClock) -> list[int]:
        looks = [Found(True) for _ in range(5)]
        checks = [
            Check("default", looks[0]),
            Check("often", looks[1], period=2.0),
            Check("external", looks[2], tags=["external"]),
            Check("external, often", looks[3], tags=["external"], period=5.0),
            Check("slow", hanging.in_task, timeout=7.0),
        ]
        async with monitor(*checks) as watching:
            await clock.asleep(6.99)
            assert "unknown" == statuses(watching.report())["slow"]
            await clock.asleep(0.02)
            assert "unhealthy" == statuses(watching.report())["slow"]
            await clock.asleep(113.5)
        return [each.runs for each in looks[:4]]

    hanging = Hanging()
    with FakeClock() as clock:
        assert [13, 61, 3, 25] == asyncio.run(run(clock))


def test_a_timeout_longer_than_the_period_is_not_stale() -> None:
    """A result is believed for three periods, or three time-outs where those are longer."""

    async def run(clock: FakeClock) -> set[str]:
        seen = set()
        async with monitor(Check("it", hanging.in_task, timeout=5.0), period=1.0) as watching:
            await clock.asleep(5.1)
            for _ in range(100):
                await clock.asleep(0.3)
                seen.add(statuses(watching.report())["it"])
        return seen

    hanging = Hanging()
    with FakeClock() as clock:
        assert {"unhealthy"} == asyncio.run(run(clock))


@pytest.mark.parametrize("kind", ["on_thread", "stubborn"])
def test_a_run_that_cannot_be_stopped_is_left_behind(kind: str) -> None:
    """It is not begun again while it runs, stays a failure, says since when it runs, and is run anew afterwards."""

    async def run() -> None:
        async with monitor(Check("it", getattr(hanging, kind), timeout=0.05), period=0.1) as watching:
            await until(lambda: watching.report().checks[0].bad_in_a_row >= 4)
            entry = watching.report().checks[0]
            assert (1, "unhealthy") == (hanging.runs, entry.status)
            assert entry.description.startswith("timed out after 0.05 s; still running since 20")
            assert entry.running_since is not None
            assert entry.duration > 0.25
            hanging.released.set()
            await until(lambda: watching.report().checks[0].status == "healthy")
            entry = watching.report().checks[0]
            assert (None, "") == (entry.running_since, entry.description)
            assert hanging.runs > 1

    hanging = Hanging()
    asyncio.run(run())


def test_a_late_result_counts_nowhere() -> None:
    """A run that timed out stays a failure even where it ends well in the end."""

    async def run() -> list[tuple[int, str]]:
        async def look() -> bool:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                return True
            return True

        async with monitor(Check("it", look, timeout=0.01), period=100.0) as watching:
            await watching.arefresh()
            await asyncio.sleep(0.02)
            return [(each.runs, each.status) for each in watching.report().checks]

    assert [(1, "unhealthy")] == asyncio.run(run())


def test_the_late_error_of_a_run_left_behind_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises after its time-out would be logged by asyncio, with its secrets; it is not."""

    async def look() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise ConnectionError("postgres://u:SECRET@h")

    async def run() -> None:
        async with monitor(Check("it", look, timeout=0.01)) as watching:
            await watching.arefresh()
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
        gc.collect()

    assert "SECRET" not in caplog.text


def test_the_monitors_own_failure_waits_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TicketWave: every minute, and five minutes after the monitor itself failed: no thread to be had, say."""

    async def run(clock: FakeClock) -> list[float]:
        async with monitor(Check("it", FoundOnThread(True)), period=60.0, after_error=300.0) as watching:
            monkeypatch.setattr(watching._threads, "submit", submit)
            await clock.asleep(800.0)
            assert "unknown" == statuses(watching.report())["it"]
        return tried

    def submit(fn: Any) -> Any:
        tried.append(clock.now())
        raise RuntimeError("can't start new thread")

    tried: list[float] = []
    with FakeClock() as clock:
        assert [0.0, 300.0, 600.0] == asyncio.run(run(clock))
    assert 3 == caplog.text.count("the health monitor could not run 'it'")


def test_a_failing_check_is_no_failure_of_the_monitor() -> None:
    """Its period stays what it is."""
    look = Found(ConnectionError("away"))

    async def run(clock: FakeClock) -> None:
        async with monitor(Check("it", look), period=60.0, after_error=300.0):
            await clock.asleep(301.0)

    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert 6 == look.runs


def test_steps_of_the_wall_clock_change_nothing() -> None:
    """Ages and periods are of the monotonic clock; instants shown follow the wall clock."""

    async def run(clock: FakeClock) -> None:
        async with monitor(Check("it", Found(True), tags=["ready"]), period=10.0) as watching:
            await clock.asleep(5.0)
            for step in (-1e8, 2e8, -1e9):
                clock.set_wall(clock.wall() + step)
                assert (200, 5000.0) == (
                    watching.answer("ready").status_code,
                    watching.answer(details=True).body["checks"][0]["age"],
                )

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_reading_changes_nothing() -> None:
    """A thousand answers run no check and leave the state as it was."""
    look = Found(True)

    async def run(clock: FakeClock) -> None:
        async with monitor(Check("it", look)) as watching:
            await clock.asleep(1.0)
            before = watching.snapshot()
            for _ in range(1000):
                watching.answer("ready", details=True)
            assert before == watching.snapshot()

    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert 1 == look.runs


def test_what_a_failed_run_held_is_let_go() -> None:
    """No result keeps the exception alive, nor the frames and connections in it."""

    class Connection:
        pass

    kept: list[weakref.ref[Connection]] = []

    def fail() -> None:
        connection = Connection()
        kept.append(weakref.ref(connection))
        raise ConnectionError("away")

    async def afail() -> None:
        fail()

    async def run() -> list[Any]:
        async with monitor(Check("a", fail), Check("b", afail), period=100.0) as watching:
            await watching.arefresh()
            await asyncio.sleep(0.05)
            return [each() for each in kept]

    gc.disable()
    try:
        assert [None, None] == asyncio.run(run())
    finally:
        gc.enable()


def test_a_thread_is_used_again() -> None:
    """Quick checks one after another run on one thread, not on a new one each time."""
    threads = set()

    def look() -> None:
        threads.add(threading.get_ident())

    async def run() -> int:
        async with monitor(Check("it", look), period=0.01) as watching:
            await until(lambda: watching.report().checks[0].runs > 20)
            return watching._threads.alive

    assert (1, 1) == (asyncio.run(run()), len(threads))


def test_threads_of_a_burst_end_again() -> None:
    """Fifty checks at once take fifty threads for a moment; four of them are kept."""

    async def run() -> None:
        async with monitor(*[Check(f"{number}", barrier.wait) for number in range(50)], period=1000.0) as watching:
            await until(lambda: watching._threads.alive == 4)
            watching.stop()
            await until(lambda: watching._threads.alive == 0)

    barrier = threading.Barrier(50)
    asyncio.run(run())


def test_a_stuck_check_does_not_keep_the_process_from_ending() -> None:
    """Its thread is a daemon: an interpreter that would wait for it would wait for ever."""
    import subprocess

    script = """
import asyncio, threading
from seawall.health import Check, Monitor
async def run():
    async with Monitor([Check("stuck", threading.Event().wait, timeout=0.05)]) as monitor:
        print((await monitor.arefresh()).status)
asyncio.run(run())
"""
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)

    assert (0, "unhealthy\n", "") == (ran.returncode, ran.stdout, ran.stderr)
    assert time.monotonic() - began < 10


def test_a_monitor_does_not_outlive_its_name() -> None:
    """One that was stopped and dropped is collected, and its name is free again without a warning."""

    async def run(name: str) -> weakref.ref[Monitor]:
        async with Monitor([Check("it", Found(True))], name=name) as watching:
            await watching.arefresh()
            return weakref.ref(watching)

    first = asyncio.run(run("mortal"))
    gc.collect()

    assert first() is None
    asyncio.run(run("mortal"))
