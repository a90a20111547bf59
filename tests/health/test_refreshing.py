"""Running checks on request: one run for all who ask, and no more than one a second."""

import asyncio
import threading
from typing import Any

import pytest

from seawall.health import Check, UnknownViewError
from seawall.testing import FakeClock
from tests.health.monitors import Found, Hanging, monitor, statuses, until


def test_many_who_ask_at_once_share_one_run() -> None:
    """Five hundred refreshes at the same time run the check once, and all see its result."""

    async def run(clock: FakeClock) -> set[str]:
        async with monitor(Check("it", look)) as watching:
            await clock.asleep(5.0)
            runs = look.runs
            reports = await asyncio.gather(*[watching.arefresh() for _ in range(500)])
            assert runs + 1 == look.runs
            return {statuses(report)["it"] for report in reports}

    look = Found(True, False)
    with FakeClock() as clock:
        assert {"unhealthy"} == asyncio.run(run(clock))


def test_there_is_a_second_between_runs() -> None:
    """Whoever asks ten times a second for ten seconds gets no more than a run a second."""

    async def run(clock: FakeClock) -> None:
        look.clock = clock.now
        async with monitor(Check("it", look), period=1000.0) as watching:
            for _ in range(100):
                await watching.arefresh()
                await clock.asleep(0.1)

    look = Found(True)
    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert 10 == look.runs
    assert min(later - sooner for sooner, later in zip(look.at, look.at[1:], strict=False)) >= 1.0


def test_only_the_checks_of_the_view_are_run() -> None:
    """A refresh of a tag leaves the others alone; an unknown one is refused before anything runs."""

    async def run(clock: FakeClock) -> None:
        checks = [Check("a", looks[0], tags=["ready"]), Check("b", looks[1])]
        async with monitor(*checks, period=1000.0) as watching:
            await clock.asleep(5.0)
            assert {"a": "healthy"} == statuses(await watching.arefresh("ready"))
            with pytest.raises(UnknownViewError):
                await watching.arefresh("nonsense")

    looks = [Found(True), Found(True)]
    with FakeClock() as clock:
        asyncio.run(run(clock))

    assert [2, 1] == [look.runs for look in looks]


@pytest.mark.parametrize("who", range(4))
def test_a_cancelled_waiter_takes_nothing_with_it(who: int) -> None:
    """Whoever of four is cancelled, also the one who began the run: the others get the result of this one run."""

    async def run(clock: FakeClock) -> None:
        async with monitor(Check("it", look), timeout=5.0) as watching:
            await clock.asleep(5.0)
            asking = [asyncio.create_task(watching.arefresh()) for _ in range(4)]
            await clock.asleep(0.5)
            under_way: Any = watching._watches["it"]._run
            asking[who].cancel()
            await asyncio.sleep(0)
            assert 3 == len(under_way.waiting)
            done = await asyncio.gather(*asking, return_exceptions=True)
            assert isinstance(done[who], asyncio.CancelledError)
            assert 3 == sum(each.status == "healthy" for each in done if not isinstance(each, BaseException))
            assert 2 == len(runs)
            assert watching._watches["it"]._run is None

    async def look() -> None:
        runs.append(1)
        await asyncio.sleep(1.0)

    runs: list[int] = []
    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_a_run_that_is_stuck_does_not_hold_up_a_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an earlier run hangs on its thread, a refresh answers at once, that it is still running."""

    async def run() -> None:
        async with monitor(Check("it", hanging.on_thread, timeout=0.05), period=1000.0) as watching:
            await watching.arefresh()
            monkeypatch.setattr("seawall.health.watch.GAP", 0.0)
            report = await asyncio.wait_for(watching.arefresh(), 1.0)
            assert "still running since" in report.checks[0].description
            assert (1, 2) == (hanging.runs, report.checks[0].runs)
            hanging.released.set()

    hanging = Hanging()
    asyncio.run(run())


def test_a_refresh_works_from_other_loops_and_threads() -> None:
    """A thread without a loop and a loop that is not the monitor's get the result of a run in the monitor's loop."""

    async def run() -> None:
        async with monitor(Check("it", look), period=1000.0) as watching:
            await until(lambda: bool(loops))
            home = asyncio.get_running_loop()
            await asyncio.sleep(1.1)  # the only real second: what runs on threads does not share a fake clock
            elsewhere = asyncio.to_thread(watching.refresh)
            other = asyncio.to_thread(lambda: asyncio.run(watching.arefresh()))
            assert ["healthy", "healthy"] == [report.status for report in await asyncio.gather(elsewhere, other)]
            assert [home, home] == loops

    async def look() -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.02)

    loops: list[Any] = []
    asyncio.run(run())


def test_a_sync_refresh_does_not_block_a_loop() -> None:
    """On a thread with a running event loop it is refused."""

    async def run() -> None:
        async with monitor(Check("it", Found(True))) as watching:
            with pytest.raises(RuntimeError, match="would block the event loop"):
                watching.refresh()

    asyncio.run(run())


def test_nothing_is_run_where_the_monitor_is_stopped() -> None:
    """A refresh of a monitor that is not running answers what is known: nothing."""
    look = Found(True)
    watching = monitor(Check("it", look, tags=["ready"]))

    assert ("unknown", 0) == (watching.refresh().status, look.runs)
    assert ("unknown", 0) == (asyncio.run(watching.arefresh("ready")).status, look.runs)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_stopping_wakes_who_waits_for_a_run(elsewhere: bool) -> None:
    """A refresh that is under way when the monitor is stopped ends, too, without the caller being cancelled."""

    async def run() -> str:
        watching = monitor(Check("it", hanging.in_task, timeout=60.0))
        watching.start()
        await until(lambda: hanging.runs == 1)
        refreshing = asyncio.to_thread(watching.refresh) if elsewhere else watching.arefresh()
        asking = asyncio.create_task(refreshing)
        run: Any = watching._watches["it"]._run
        await until(lambda: len(run.waiting) == 2)
        watching.stop()
        return (await asyncio.wait_for(asking, 5.0)).status

    hanging = Hanging()

    assert "unknown" == asyncio.run(run())
    assert 0 == sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())
