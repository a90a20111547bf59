"""Recovery actions: those that fail, hang, overlap or are cut short, and how it is found out whether they helped."""

import asyncio
import logging

import pytest

from seawall import Backoff
from seawall.health import (
    Check,
    Recovery,
    RecoveryEnded,
)
from seawall.testing import FakeClock
from tests.health.broken import Broken, stage
from tests.health.monitors import Found, FoundOnThread, Hanging, monitor, until

AWAY = ConnectionError("away at redis://:SECRET@h")


@pytest.mark.parametrize("verify", [True, False])
def test_an_action_that_raises_has_failed(verify: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is told, masked, and the next run follows; it takes neither the monitor nor the check with it."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock)
        it.act = Found(AWAY)  # type: ignore[assignment]
        async with it.monitor(verify=verify):
            await clock.asleep(130.0)
        ended = [event for event in it.events if isinstance(event, RecoveryEnded)]
        assert ["1 badly", "2 badly"] == [each for each in it.told() if each != "RecoveryStarted"]
        assert {"ConnectionError: away at redis://:***@h"} == {each.failure for each in ended}

    with FakeClock() as clock, caplog.at_level(logging.DEBUG, logger="seawall"):
        asyncio.run(run(clock))

    assert "SECRET" not in caplog.text


def test_an_action_that_failed_and_helped_has_succeeded() -> None:
    """The check has the last word."""

    async def run(clock: FakeClock) -> None:
        async def act() -> None:
            it.status = True
            raise RuntimeError("half done")

        it = Broken(clock)
        it.act = act  # type: ignore[method-assign]
        async with it.monitor():
            await clock.asleep(100.0)
        assert [RecoveryEnded("it", 1, True, 0.0, "RuntimeError: half done")] == it.events[1:]

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_without_verification_the_next_results_tell() -> None:
    """After the action nothing is run out of turn; while the check stays bad the next run follows."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock, mended_by=2)
        async with it.monitor(verify=False) as watching:
            await clock.asleep(55.0)
            assert (6, [0.0]) == (watching.report().checks[0].runs, it.acted)
            await clock.asleep(300.0)
            assert [0.0, 60.0] == it.acted
            assert ["1 well", "2 well"] == [each for each in it.told() if each != "RecoveryStarted"]

    with FakeClock() as clock:
        asyncio.run(run(clock))


@pytest.mark.parametrize("kind", ["in_task", "stubborn"])
def test_an_action_that_hangs_is_cut_short_and_never_run_twice(kind: str) -> None:
    """After its 30 s it has failed; while it cannot be stopped no second one is begun, and the rest goes on."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock)
        it.act = getattr(hanging, kind)
        async with it.monitor(backoff=Backoff.fixed(60.0), max_runs=None) as watching:
            await clock.asleep(29.9)
            assert "running" == stage(watching)
            await clock.asleep(300.0)
            ended = [event for event in it.events if isinstance(event, RecoveryEnded)]
            assert {"the action timed out after 30 s"} == {each.failure for each in ended}
            assert watching.report().checks[0].runs > 30
            if kind == "stubborn":
                assert (1, True) == (hanging.runs, len(ended) > 3)
            else:
                assert 4 == hanging.runs == len(ended)
            hanging.released.set()

    hanging = Hanging()
    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_two_runs_never_overlap() -> None:
    """However many bad results there are while the action runs, there is one at a time; others recover beside it."""

    async def run(clock: FakeClock) -> None:
        running: list[int] = []
        most: list[int] = []

        async def act() -> None:
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(25.0)
            running.pop()

        other = Found(None)
        checks = [Check("slow", Found(False)), Check("other", Found(False))]
        recoveries = [
            Recovery("slow", act, backoff=Backoff.fixed(1.0), max_runs=None),
            Recovery("other", other, backoff=Backoff.fixed(1.0), max_runs=None),
        ]
        async with monitor(*checks, recoveries=recoveries, period=0.5):
            await clock.asleep(200.0)
        assert (1, 8, True) == (max(most), len(most), other.runs > 50)

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_the_verification_is_a_run_that_began_after_the_action() -> None:
    """A run of the check that was under way when the action ended saw the world before it, and is not believed."""

    async def run(clock: FakeClock) -> None:
        async def look() -> bool:
            seen = it.status
            await asyncio.sleep(1.5)
            return bool(seen)

        async def act() -> None:
            it.acted.append(clock.now())
            await asyncio.sleep(9.0)  # until a run of the check is under way
            it.status = True

        it = Broken(clock)
        it.look, it.act = look, act  # type: ignore[method-assign]
        async with it.monitor() as watching:
            await clock.asleep(14.0)
            assert (["RecoveryStarted", "1 well"], 3) == (it.told(), watching.report().checks[0].runs)

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_stopping_ends_a_recovery() -> None:
    """An action that is running is cancelled, one that is to come is not; a restart begins anew."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock)
        watching = it.monitor()
        async with watching:
            await clock.asleep(30.0)
        await clock.asleep(300.0)
        assert ([0.0], "idle") == (it.acted, stage(watching))
        async with watching:
            await clock.asleep(1.0)
        assert [0.0, 330.0] == it.acted

        it.act = hanging.in_task  # type: ignore[method-assign]
        async with it.monitor():
            await clock.asleep(1.0)
            assert 1 == hanging.runs
        assert {asyncio.current_task()} == asyncio.all_tasks()

    hanging = Hanging()
    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_an_action_may_be_a_plain_function_and_may_stop_the_monitor() -> None:
    """It runs on a thread of the monitor's own; stopping everything from there is allowed."""

    async def run() -> None:
        def act() -> None:
            watching.stop()

        watching = monitor(Check("it", FoundOnThread(False)), recoveries=[Recovery("it", act)])
        watching.start()
        await until(lambda: not watching.running)

    asyncio.run(run())
