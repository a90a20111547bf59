"""Views of the checks, and how they are answered over HTTP, with and without details."""

import asyncio
import json
import threading
from typing import Any

import pytest

from seawall.health import Answer, Check, Health, Monitor, Report, UnknownViewError
from seawall.health.report import VIEWS
from seawall.health.status import Status
from seawall.testing import FakeClock
from tests.health.monitors import PATIENCE, Found, Hanging, monitor, statuses

NOW = 1_750_000_000.0


def after_one_run(*checks: Check, **options: Any) -> Monitor:
    """Returns a running monitor's report functions by running it once, on a fake clock at NOW."""

    async def run(clock: FakeClock) -> None:
        watching.start()
        await clock.asleep(4.2)

    watching = monitor(*checks, **options)
    with FakeClock(wall=NOW) as clock:
        asyncio.run(run(clock))
    return watching


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        ("healthy", [200, 200, 200, 200, 200, 200]),
        ("degraded", [200, 200, 200, 200, 200, 200]),
        ("unhealthy", [503, 503, 503, 503, 503, 503]),
        ("unknown", [200, 200, 503, 503, 200, 200]),
    ],
)
def test_statuses_over_http(status: Status, codes: list[int]) -> None:
    """Healthy and degraded are 200, unhealthy 503; unknown is 503 where it must not be trusted: ready and startup."""
    assert ("all", "live", "ready", "startup", "external") == VIEWS
    assert codes == [Report(view, status, ()).status_code for view in (*VIEWS, "database")]


def test_the_body_with_details() -> None:
    """Fields, order and units: durations in milliseconds, instants as RFC 3339 in UTC."""

    async def slow() -> Health:
        await asyncio.sleep(0.25)
        return Health.degraded("slow", {"lag": 7})

    async def run(clock: FakeClock) -> Answer:
        checks = [Check("database", slow, tags=["ready", "db"]), Check("cache", Found(True))]
        async with monitor(*checks) as watching:
            await clock.asleep(4.25)
            return watching.answer(details=True)

    with FakeClock(wall=NOW) as clock:
        code, body = asyncio.run(run(clock))

    assert 200 == code
    assert ["status", "checks", "totalDuration"] == list(body)
    assert ("degraded", 250.0) == (body["status"], body["totalDuration"])
    assert {
        "name": "database",
        "status": "degraded",
        "description": "slow",
        "duration": 250.0,
        "tags": ["db", "ready"],
        "data": {"lag": 7},
        "age": 4000.0,
        "lastRun": "2025-06-15T15:06:40.250Z",
        "since": "2025-06-15T15:06:40.250Z",
        "runningSince": None,
        "failuresInARow": 1,
    } == body["checks"][0]
    json.dumps(body, allow_nan=False)


def test_the_body_without_details() -> None:
    """Everybody may see names, statuses and durations: no text, no tags, no data, no instants."""

    async def run(clock: FakeClock) -> Answer:
        async with monitor(
            Check("database", Found(Health.unhealthy("SECRET", {"SECRET": 1})), tags=["db"])
        ) as watching:
            await clock.asleep(1.0)
            return watching.answer()

    with FakeClock() as clock:
        assert (
            503,
            {
                "status": "unhealthy",
                "checks": [{"name": "database", "status": "unhealthy", "description": "", "duration": 0.0}],
                "totalDuration": 0.0,
            },
        ) == asyncio.run(run(clock))


def test_views() -> None:
    """Each view holds the checks with its tag, in the order in which they were given; the built-in ones are there."""

    async def run(clock: FakeClock) -> None:
        checks = [
            Check("b", Found(True), tags=["ready", "db"]),
            Check("a", Found(False), tags=["external", "db"]),
            Check("c", Found(True), tags=["live"], local=True),
        ]
        async with monitor(*checks) as watching:
            await clock.asleep(1.0)
            assert {"b": "healthy", "a": "unhealthy", "c": "healthy"} == statuses(watching.report())
            assert ["b", "a", "c"] == [entry.name for entry in watching.report().checks]
            for view, names in {
                "db": ["b", "a"],
                "external": ["a"],
                "live": ["c"],
                "ready": ["b"],
                "startup": [],
            }.items():
                assert names == [entry.name for entry in watching.report(view).checks]
            assert ["a"] == [entry.name for entry in watching.report("db", check="a").checks]
            assert "healthy" == watching.report("startup").status
            with pytest.raises(UnknownViewError) as caught:
                watching.report("nonsense" * 1000)
            assert ("all", "live", "ready", "startup", "external", "db") == caught.value.known
            assert len(str(caught.value)) < 200
            with pytest.raises(UnknownViewError, match="there is no 'c' in health; known are b, a"):
                watching.answer("db", check="c")

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_before_the_first_result_nothing_is_ready() -> None:
    """Until each check has run once, startup and ready are 503, while the process is alive and /health says unknown."""

    async def run(clock: FakeClock) -> None:
        async with monitor(
            Check("quick", Found(True), tags=["ready"]), Check("slow", hanging.in_task, tags=["free"]), timeout=3.0
        ) as watching:
            assert ("it has not run yet", None) == (
                watching.report().checks[0].description,
                watching.answer(details=True).body["checks"][0]["age"],
            )
            assert [503, 503, 200, 200, 200] == codes(watching)
            await clock.asleep(1.0)
            assert [200, 503, 200, 200, 200] == codes(watching)
            await clock.asleep(2.5)
            assert [200, 200, 200, 503, 503] == codes(watching)

    def codes(watching: Monitor) -> list[int]:
        return [watching.answer(view).status_code for view in ("ready", "startup", "live", "all", "free")]

    hanging = Hanging()
    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_a_monitor_that_was_never_started_is_not_ready() -> None:
    """Also where nothing is tagged `ready`, or there is no check at all: forgetting to start it must show."""
    for watching in (monitor(), monitor(Check("it", Found(True)))):
        assert [200, 200, 503, 503, 200] == [watching.answer(view).status_code for view in VIEWS]
        assert ["unknown", "healthy", "unknown"] == [watching.report(view).status for view in ("all", "live", "ready")]


def test_one_without_checks_is_ready_while_it_runs() -> None:
    """Readiness is opt-in: with no check tagged, running is enough."""

    async def run() -> list[int]:
        async with monitor() as watching:
            return [watching.answer(view).status_code for view in VIEWS]

    assert [200] * 5 == asyncio.run(run())


def test_a_loop_that_was_closed_without_stopping_is_no_running_monitor() -> None:
    """After its event loop is gone everything is unknown at once, and names what was last."""
    watching = after_one_run(Check("it", Found(False), tags=["ready"]))
    entry = watching.report("ready").checks[0]

    assert (False, 503) == (watching.running, watching.answer("ready").status_code)
    assert ("unknown", "the monitor is not running; the last one: unhealthy, it returned False") == (
        entry.status,
        entry.description,
    )


def test_answers_come_while_the_loop_is_busy() -> None:
    """Another thread gets an answer at any time, also while the monitor's loop is blocked."""

    async def run() -> None:
        async with monitor(Check("it", Found(True))) as watching:
            await watching.arefresh()
            asking = threading.Thread(target=lambda: answers.append(watching.answer().status_code))
            asking.start()
            asking.join(PATIENCE)  # blocks the loop as a bad handler does
            assert [200] == answers

    answers: list[int] = []
    asyncio.run(run())


def test_the_snapshot_counts_what_there_was() -> None:
    """Runs, bad runs and bad ones in a row are exact, for metrics to read; nothing that is read is ever negative."""

    async def run(clock: FakeClock) -> list[tuple[int, int, int]]:
        bad, seen = ConnectionError("away"), []
        async with monitor(Check("it", Found(True, bad, bad, True, Health.degraded(), bad)), period=10.0) as watching:
            await clock.asleep(0.1)
            for _ in range(6):
                entry = watching.snapshot().checks[0]
                seen.append((entry.runs, entry.bad_runs, entry.bad_in_a_row))
                await clock.asleep(10.0)
        return seen

    with FakeClock() as clock:
        assert [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 2, 0), (5, 3, 1), (6, 4, 2)] == asyncio.run(run(clock))
