"""Recovery: when an action is run, what is made of it, and when it is given up."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from seawall import Backoff
from seawall._core.events import Event
from seawall.health import (
    Check,
    Health,
    HealthChanged,
    Recovery,
    RecoveryEnded,
    RecoveryGaveUp,
    RecoveryStarted,
    collect_garbage,
    memory_check,
)
from seawall.testing import FakeClock
from tests.health.broken import Broken, stage
from tests.health.monitors import Found, monitor


@pytest.mark.parametrize("after", [1, 3])
def test_it_runs_after_so_many_bad_results(after: int) -> None:
    """The action is run on the bad result that is asked for, and the check right after it, which then is good again."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock, mended_by=1)
        async with it.monitor(after=after) as watching:
            await clock.asleep(0.001)
            for _ in range(after - 1):
                assert [] == it.acted
                await clock.asleep(10.0)
            assert [10.0 * (after - 1)] == it.acted
            await clock.asleep(0.001)
            assert ("healthy", "idle") == (watching.report().status, stage(watching))
            await clock.asleep(1000.0)
            assert 1 == len(it.acted)
            assert ["RecoveryStarted", "1 well"] == it.told()

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_it_backs_off_and_gives_up_loudly(caplog: pytest.LogCaptureFixture) -> None:
    """Runs at once, after one and after two minutes; then, at three within ten minutes, an error and nothing more."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock)
        async with it.monitor() as watching:
            await clock.asleep(30.0)
            assert "waiting" == stage(watching)
            await clock.asleep(7200.0)
            assert [0.0, 60.0, 180.0] == it.acted
            assert [*["RecoveryStarted", "1 badly", "RecoveryStarted", "2 badly"], "RecoveryStarted", "3 badly"] == (
                it.told()[:-1]
            )
            assert RecoveryGaveUp("it", 3, 600.0) == it.events[-1]
            assert ("gave_up", "unhealthy") == (stage(watching), watching.report().status)
            assert "gave_up" == watching.answer(details=True).body["checks"][0]["recovery"]

            it.status = True  # mended by hand; when it breaks again, recovery is tried again
            await clock.asleep(10.0)
            assert "idle" == stage(watching)
            it.status = False
            await clock.asleep(10.0)
            assert 4 == len(it.acted)

    with FakeClock() as clock, caplog.at_level(logging.INFO, logger="seawall"):
        asyncio.run(run(clock))

    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert ["'it': recovery gave up after 3 runs within 600 s; somebody must look"] == errors


def test_a_flapper_is_not_recovered_for_ever() -> None:
    """What breaks every 20 s and mends itself has three runs in ten minutes at most, and one loud word each time."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock)

        async with it.monitor():
            for _ in range(180):  # an hour
                it.status = False
                await clock.asleep(10.0)
                it.status = True
                await clock.asleep(10.0)
            for first in it.acted:
                assert len([each for each in it.acted if first <= each < first + 600.0]) <= 3
            assert 18 == len(it.acted)
            assert 6 == it.told().count("RecoveryGaveUp")

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_cryptopay_looks_every_half_minute_and_recovers_every_two() -> None:
    """Health every 30 s, recovery every 2 min for as long as it takes, also of what is only degraded."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock, mended_by=10, status=Health.degraded())
        async with it.monitor(period=30.0, on="degraded", backoff=Backoff.fixed(120.0), max_runs=None):
            await clock.asleep(3600.0)
            assert [120.0 * number for number in range(10)] == it.acted
            assert "10 well" == it.told()[-1]

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_ticketwave_recovers_on_the_first_bad_result() -> None:
    """Every minute; memory from degraded on collects garbage, reservations are cleaned, the pool is reset."""

    async def run(clock: FakeClock) -> dict[str, int]:
        ran: dict[str, int] = {}

        def acting(name: str) -> Any:
            async def act() -> None:
                ran[name] = ran.get(name, 0) + 1

            return act

        checks = [
            memory_check(1, tags=["resource"]),  # every process has more than a byte
            Check("booking-consistency", Found(False), tags=["business"]),
            Check("database", Found(False), tags=["critical", "database"]),
            Check("degraded only", Found(Health.degraded())),
        ]
        every_minute = {"backoff": Backoff.fixed(60.0), "max_runs": None}
        recoveries = [
            Recovery("memory", acting("garbage"), on="degraded", **every_minute),  # type: ignore[arg-type]
            Recovery("booking-consistency", acting("reservations"), **every_minute),  # type: ignore[arg-type]
            Recovery("database", acting("pool"), **every_minute),  # type: ignore[arg-type]
            Recovery("degraded only", acting("never")),
        ]
        async with monitor(*checks, recoveries=recoveries, period=60.0, after_error=300.0) as watching:
            await clock.asleep(1.0)
            memory = watching.report().checks[0]
            assert ("degraded", {"MemoryUsed", "MaxMemory", "UsagePercentage", "source"}) == (
                memory.status,
                set(memory.data),
            )
            await clock.asleep(180.0)
        return ran

    with FakeClock(grace=0.1) as clock:
        assert {"garbage": 4, "reservations": 4, "pool": 4} == asyncio.run(run(clock))


def test_unknown_calls_for_nothing() -> None:
    """A check that could not find out is neither bad nor good."""

    async def run(clock: FakeClock) -> None:
        it = Broken(clock, status=Health("unknown"))
        async with it.monitor(on="degraded"):
            await clock.asleep(100.0)
            assert [] == it.acted

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_degraded_is_bad_only_where_it_is_asked_for() -> None:
    """By default only unhealthy calls for recovery."""

    async def run(clock: FakeClock, on: str) -> int:
        it = Broken(clock, status=Health.degraded())
        async with it.monitor(on=on):
            await clock.asleep(1.0)
        return len(it.acted)

    with FakeClock() as clock:
        assert [0, 1] == [asyncio.run(run(clock, on)) for on in ("unhealthy", "degraded")]


def test_results_count_for_it_before_thresholds() -> None:
    """`after` counts results, and is not added to the check's own thresholds."""

    async def run(clock: FakeClock) -> None:
        act = Found(None)
        act.clock = clock.now
        check = Check("it", Found(False), failure_threshold=5)
        async with monitor(check, recoveries=[Recovery(check, act, after=2, max_runs=1)], period=10.0):
            await clock.asleep(100.0)
        assert [10.0] == act.at

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_the_events_say_what_happened() -> None:
    """Texts and levels of what goes to the log; the reason is the check's own."""
    started, ended = RecoveryStarted("db", 1, "ConnectionError: away"), RecoveryEnded("db", 1, True, 0.25, None)
    failed = RecoveryEnded("db", 2, False, 30.0, "the action timed out after 30 s")

    assert "'db': recovery, run 1: ConnectionError: away" == str(started)
    assert "'db': recovery, run 1, succeeded after 0.25 s" == str(ended)
    assert "'db': recovery, run 2, failed after 30 s: the action timed out after 30 s" == str(failed)
    assert ["WARNING", "INFO", "WARNING"] == [logging.getLevelName(each.level) for each in (started, ended, failed)]


def test_the_status_is_told_before_the_recovery_that_it_causes() -> None:
    """Whoever listens hears the cause first."""

    async def run(clock: FakeClock) -> list[type[Event]]:
        kinds: list[type[Event]] = []
        it = Broken(clock, mended_by=1)
        watching = it.monitor()
        watching.listen(lambda event: kinds.append(type(event)))
        async with watching:
            await clock.asleep(1.0)
        return kinds

    with FakeClock() as clock:
        assert [HealthChanged, RecoveryStarted, HealthChanged, RecoveryEnded] == asyncio.run(run(clock))


def test_garbage_is_collected() -> None:
    """Cycles go, and what their finalizers let go of."""

    class Node:
        def __init__(self) -> None:
            self.me = self

    class Holder(Node):
        def __del__(self) -> None:
            node = Node()
            freed.append(weakref.ref(node))

    freed: list[weakref.ref[Node]] = []
    gc.disable()
    try:
        Holder()
        collect_garbage()
        assert [None] == [each() for each in freed]
    finally:
        gc.enable()
