"""Starting and stopping a monitor: in a loop, on a thread, twice, after a fork, and in the middle of things."""

import asyncio
import os
import threading
import time
from typing import Any

import pytest

import seawall
from seawall.health import Check, Monitor, Recovery
from seawall.testing import FakeClock
from tests.health.monitors import PATIENCE, Found, FoundOnThread, Hanging, monitor, statuses, until


def wait_for(condition: Any) -> None:
    """Waits, in real time, for something that another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.002)


def threads_of(watching: Monitor) -> list[str]:
    """Returns the names of the threads that a monitor has."""
    return [thread.name for thread in threading.enumerate() if thread.name == f"seawall-{watching.name}"]


def test_making_one_starts_nothing() -> None:
    """No thread, no task, no check before start."""
    look = FoundOnThread(True)
    watching = monitor(Check("it", look))

    assert (False, [], 0) == (watching.running, threads_of(watching), look.runs)


def test_a_service_without_a_loop_has_it_on_a_thread() -> None:
    """`with monitor:` runs sync and async checks on a thread with a loop of its own, and leaves no thread behind."""
    looks = [Found(True), FoundOnThread(True)]
    watching = monitor(Check("async", looks[0], tags=["ready"]), Check("sync", looks[1]), period=0.02)
    with watching:
        wait_for(lambda: min(look.runs for look in looks) > 3)
        assert {"async": "healthy", "sync": "healthy"} == statuses(watching.report())
        assert 200 == watching.answer("ready").status_code
        assert "healthy" == watching.refresh().status

    assert (False, 503) == (watching.running, watching.answer("ready").status_code)
    wait_for(lambda: not threads_of(watching))


def test_starting_and_stopping_twice_does_nothing() -> None:
    """A second start adds no second run of anything; a second stop is none."""

    async def run(clock: FakeClock) -> None:
        watching.start()
        watching.start()
        await clock.asleep(35.0)
        watching.stop()
        watching.stop()
        await watching.astop()
        await clock.asleep(35.0)

    look = Found(True)
    watching = monitor(Check("it", look), period=10.0)
    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert 4 == look.runs


def test_many_threads_start_it_once() -> None:
    """Of ten threads that start and then stop it at the same time one wins, and it can be started again."""
    watching = monitor(Check("it", Found(True)))
    for _ in range(5):
        for action in (watching.start, watching.stop):
            barrier = threading.Barrier(10)

            def go(action: Any = action, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                action()

            threads = [threading.Thread(target=go) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (action == watching.start) == watching.running
        assert not watching.running
    wait_for(lambda: not threads_of(watching))


@pytest.mark.parametrize("end", ["stop", "abandon"])
def test_it_runs_again_in_another_loop(end: str) -> None:
    """It may be started in a second event loop, whether it was stopped in the first or that was just closed."""

    async def run() -> str:
        watching.start()
        await watching.arefresh()
        status = watching.report().status
        await asyncio.sleep(0)
        if end == "stop":
            await watching.astop()
        return status

    hanging = Hanging()
    watching = monitor(Check("it", Found(True)), Check("hangs", hanging.stubborn, timeout=0.02))
    for _ in range(3):
        hanging.released.clear()
        threading.Timer(0.1, hanging.released.set).start()
        assert "unhealthy" == asyncio.run(run())
    assert 3 == hanging.runs


def test_a_restart_forgets_old_results() -> None:
    """After a restart nothing is ready before it has been found anew."""

    async def run(clock: FakeClock) -> None:
        watching = monitor(Check("it", Found(True), tags=["ready"]))
        async with watching:
            await clock.asleep(1.0)
            assert 200 == watching.answer("ready").status_code
        watching.start()
        assert 503 == watching.answer("ready").status_code
        await clock.asleep(0.1)
        assert 200 == watching.answer("ready").status_code
        watching.stop()

    with FakeClock() as clock:
        asyncio.run(run(clock))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_starts_its_own() -> None:
    """After a fork the child's monitor is not running; started, it runs, also what hung in the parent."""
    hung = Hanging()
    look = FoundOnThread(True)
    watching = monitor(Check("it", look, tags=["ready"]), Check("hung", hung.on_thread, timeout=0.05), period=0.05)
    with watching:
        wait_for(lambda: watching.report().checks[1].running_since is not None)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                hung.released = threading.Event()
                hung.released.set()
                stopped = watching.running
                with watching:
                    wait_for(lambda: watching.answer().status_code == 200 and watching.report().status == "healthy")
                    code = 7 + stopped
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        assert watching.running
        hung.released.set()

    assert 7 == os.waitstatus_to_exitcode(status)


def test_stopping_leaves_no_task() -> None:
    """After `async with` nothing of the monitor is left in the loop, though a check was in the middle of its run."""

    async def run() -> None:
        async with monitor(Check("a", Found(True)), Check("b", hung.in_task, timeout=60.0)) as watching:
            await until(lambda: hung.runs == 1)
            assert len(asyncio.all_tasks()) > 1
            assert watching.running
        assert {asyncio.current_task()} == asyncio.all_tasks()

    hung = Hanging()
    asyncio.run(run())


@pytest.mark.parametrize("after", range(12))
def test_it_may_be_cancelled_at_any_step(after: int) -> None:
    """Whatever the loop was at when the service was cancelled, nothing hangs and nothing is left."""

    async def serve() -> None:
        async with monitor(Check("a", look), Check("b", Found(False)), timeout=5.0) as watching:
            await watching.arefresh()
            await asyncio.Event().wait()

    async def look() -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    async def run() -> None:
        serving = asyncio.create_task(serve())
        for _ in range(after):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait({serving}, timeout=PATIENCE)
        assert serving.cancelled()
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(run())


def test_stopping_does_not_wait_for_what_cannot_be_stopped() -> None:
    """A check that puts off its cancellation delays the end by a second at most; on a thread, not at all."""

    async def run() -> float:
        began = time.monotonic()
        async with monitor(
            Check("a", hung.stubborn, timeout=0.02), Check("b", hung.on_thread, timeout=0.02)
        ) as watching:
            await watching.arefresh()
        took = time.monotonic() - began
        hung.released.set()
        await asyncio.sleep(0.05)
        return took

    hung = Hanging()

    assert asyncio.run(run()) < 3.0


def test_a_listener_may_stop_the_monitor() -> None:
    """Whoever is told of a change may stop it there and then, in a loop and on a thread."""

    async def run() -> None:
        watching = monitor(Check("it", Found(False)))
        watching.listen(lambda event: watching.stop())
        watching.start()
        await until(lambda: not watching.running)

    asyncio.run(run())

    alone = monitor(Check("it", Found(False)))
    alone.listen(lambda event: alone.stop())
    alone.start()
    wait_for(lambda: not alone.running and not threads_of(alone))


@pytest.mark.parametrize("after", range(10))
def test_nothing_is_told_after_stop(after: int) -> None:
    """A run that is about to end when the monitor is stopped changes nothing any more, whatever step it was at."""

    async def run() -> None:
        events: list[Any] = []
        found, ended = asyncio.Event(), asyncio.Event()

        async def look() -> bool:
            found.set()
            await ended.wait()
            return False

        watching = monitor(Check("it", look, timeout=60.0))
        watching.listen(events.append)
        watching.start()
        await found.wait()
        ended.set()
        for _ in range(after):
            await asyncio.sleep(0)
        watching.stop()
        told = len(events)
        assert told == watching.report().checks[0].runs
        for _ in range(20):
            await asyncio.sleep(0)
        assert (told, told) == (len(events), watching.report().checks[0].runs)

    asyncio.run(run())


def test_no_thread_to_be_had_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its thread cannot be started it raises, and is not taken for running."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watching = monitor(Check("it", Found(True)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            watching.start()

    assert not watching.running
    with watching:
        wait_for(lambda: watching.report().status == "healthy")


def test_it_is_listed_among_what_is_alive() -> None:
    """`seawall.snapshot()` holds it under its name."""
    watching = monitor(Check("it", Found(True)))

    assert watching.snapshot() == seawall.snapshot()[watching.name]


def test_it_runs_anew_where_the_old_loop_stands_still() -> None:
    """A loop that was left without being closed runs no check: started in another one, it runs there alone."""

    async def begin() -> None:
        watching.start()
        await watching.arefresh()

    look, hung = Found(True), Hanging()
    watching = monitor(Check("it", look, tags=["ready"]), Check("hung", hung.in_task, timeout=0.02), period=0.02)
    old = asyncio.new_event_loop()
    try:
        old.run_until_complete(begin())
        assert (False, 503) == (watching.running, watching.answer("ready").status_code)
        with watching:
            wait_for(lambda: look.runs > 3 and hung.runs > 1)
        runs = look.runs
        old.run_until_complete(asyncio.sleep(0.1))
        assert runs == look.runs
    finally:
        old.close()


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="tasks are never eager before Python 3.12")
def test_eager_tasks_change_nothing() -> None:
    """A loop whose tasks begin at once runs checks and recoveries all the same, also those that end at once."""

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        act = Found(None)
        recoveries = [Recovery("a", act, max_runs=1)]
        async with monitor(
            Check("a", Found(False)), Check("b", FoundOnThread(True)), recoveries=recoveries, period=0.01
        ) as watching:
            await until(lambda: min(entry.runs for entry in watching.report().checks) > 5)
            assert {"a": "unhealthy", "b": "healthy"} == statuses(await watching.arefresh())
            assert (1, "waiting") == (act.runs, watching.report().checks[0].recovery)

    asyncio.run(run())
