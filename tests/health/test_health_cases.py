"""The numbered cases "operate" 1, 3, 4, 6 and 7."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest

from seawall.health import Check, url_check
from seawall.testing import FakeClock
from tests.health.monitors import Found, Hanging, monitor


@pytest.mark.parametrize("kind", ["on_thread", "in_task", "stubborn"])
def test_operate_1_a_hung_check_holds_up_no_other_one(kind: str) -> None:
    """Of 20 checks 10 never return: the first answer is there within 0.8 s, and says so of those ten alone."""

    async def run() -> tuple[float, dict[str, Any]]:
        began = time.monotonic()
        async with watching:
            await watching.arefresh()  # joins the first runs
            took, answer = time.monotonic() - began, watching.answer(details=True)
            hanging.released.set()
            return took, answer.body

    for _ in range(4):  # on a machine that is busy with other things
        hanging = Hanging()
        hung = [Check(f"hung {number}", getattr(hanging, kind)) for number in range(10)]
        well = [Check(f"well {number}", Found(True) if kind == "in_task" else lambda: True) for number in range(10)]
        watching = monitor(*hung, *well, timeout=0.5)
        took, body = asyncio.run(run())
        if took <= 0.8:
            break

    assert took <= 0.8
    assert {f"well {number}": "healthy" for number in range(10)} == {
        each["name"]: each["status"] for each in body["checks"] if each["name"].startswith("well")
    }
    for each in body["checks"][:10]:
        assert ("unhealthy", True) == (each["status"], each["description"].startswith("timed out after 0.5 s"))


def test_operate_3_stuck_checks_take_no_thread_of_the_application() -> None:
    """While 50 checks block their threads, a call of the application's `to_thread` starts within 50 ms."""

    async def run() -> float:
        async with watching:
            await watching.arefresh()
            waited = []
            for _ in range(10):  # on a machine that is busy with other things
                began = time.monotonic()
                waited.append(await asyncio.to_thread(time.monotonic) - began)
            hanging.released.set()
            return min(waited)

    hanging = Hanging()
    watching = monitor(*[Check(f"stuck {number}", hanging.on_thread) for number in range(50)], timeout=0.2)

    assert asyncio.run(run()) <= 0.05
    assert 50 == hanging.runs


def test_operate_4_no_dependency_makes_a_process_dead() -> None:
    """With every dependency away it is alive; it is ready unless one of them is tagged so; external lists the URL."""

    async def run(*tags: str) -> list[Any]:
        checks = [
            Check("database", Found(ConnectionError("away")), tags=tags),
            Check("redis", Found(ConnectionError("away"))),
            url_check("http://127.0.0.1:1/health", name="partner", tags=["external"]),
        ]
        async with monitor(*checks) as watching:
            await watching.arefresh()
            external = watching.answer("external")
            codes = [watching.answer(view).status_code for view in ("live", "ready", "startup", "external", "all")]
            return [*codes, [each["name"] for each in external.body["checks"]]]

    assert [200, 200, 200, 503, 503, ["partner"]] == asyncio.run(run())
    assert [200, 503, 200, 503, 503, ["partner"]] == asyncio.run(run("ready"))


def test_operate_6_a_result_too_old_is_unknown() -> None:
    """Three periods after the monitor fell silent ready is 503, the entry unknown with its age; started, it is 200."""

    async def run(clock: FakeClock) -> None:
        watching = monitor(Check("database", Found(True), tags=["ready"]), period=10.0)
        watching.start()
        await watching.arefresh()
        assert 200 == watching.answer("ready").status_code

        silence(watching)
        await clock.asleep(30.0)
        assert 200 == watching.answer("ready").status_code
        await clock.asleep(0.5)
        code, body = watching.answer("ready", details=True)
        assert (503, "unknown", "unknown") == (code, body["status"], body["checks"][0]["status"])
        assert 30_500.0 == body["checks"][0]["age"]
        assert "no result for 30 s; the last one: healthy" == body["checks"][0]["description"]

        watching.stop()
        assert (503, 200) == (watching.answer("ready").status_code, watching.answer("all").status_code)
        async with watching:
            await clock.asleep(0.1)
            assert 200 == watching.answer("ready").status_code

    def silence(watching: Any) -> None:
        for task in watching._detach():  # nothing of it runs any more, and nobody has said so
            task.cancel()

    with FakeClock() as clock:
        asyncio.run(run(clock))


def test_operate_7_no_secret_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """What a driver says of its URL is in no public body; the log holds it once, without the password."""

    class DriverError(Exception):
        pass

    async def run() -> list[Any]:
        failing = Check("database", Found(DriverError("cannot reach postgres://u:SECRET@h/db")), tags=["ready"])
        async with monitor(failing, period=1.0) as watching:
            for _ in range(5):
                await clock.asleep(1.0)
            views = ("all", "ready", "live", "database", "startup", "external")
            public = [watching.answer(view) for view in views if view != "database"]
            private = watching.answer("ready", details=True)
            assert private.status_code == watching.answer("ready").status_code
            return [json.dumps(public), json.dumps(private), repr(watching.snapshot())]

    with FakeClock() as clock, caplog.at_level(logging.DEBUG, logger="seawall"):
        public, private, snapshot = asyncio.run(run())

    for secret in ("SECRET", "postgres", "DriverError"):
        assert secret not in public
    assert "DriverError: cannot reach postgres://u:***@h/db" in private
    assert "SECRET" not in private + snapshot + caplog.text
    assert 1 == caplog.text.count("postgres://u:***@h/db")
