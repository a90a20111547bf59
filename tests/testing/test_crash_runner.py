"""The crash runner, on a small scenario that writes files, with and without a bug; and the switches for tests."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seawall import Recovered, Retried, Retry
from seawall.testing import Crash, CrashReport, CrashRunner, FakeClock, Recorder, instant, no_retries, point

SOUND = """
import os, sys
from seawall.testing import point

folder = sys.argv[1]
point("begun")
for number in range(2):
    with open(os.path.join(folder, f"new{number}"), "w") as file:
        file.write("half,")
        file.flush()
        point("half-written")
        file.write("whole")
    os.replace(os.path.join(folder, f"new{number}"), os.path.join(folder, f"done{number}"))
    point("renamed")
"""
BUGGY = SOUND.replace('f"new{number}"', 'f"done{number}"').replace("    os.replace", "    0 and os.replace")
"""Writes in place: a crash in the middle leaves half a file."""


class Scenario:
    """A script in a folder, its state, and what is wrong with that."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder / "state"
        self.script = folder / "scenario.py"
        self.script.write_text(script)
        self.runner = CrashRunner(["python", str(self.script), str(self.folder)], timeout=30)

    def before(self) -> None:
        """Prepares an empty folder."""
        self.folder.mkdir(exist_ok=True)
        for file in self.folder.iterdir():
            file.unlink()

    def check(self, crash: Crash) -> str | None:
        """Every file that is done must be whole."""
        halves = [file.name for file in sorted(self.folder.glob("done*")) if file.read_text() != "half,whole"]
        return f"{halves} half written" if halves else None


POINTS = (
    Crash("begun", 1),
    Crash("half-written", 1),
    Crash("renamed", 1),
    Crash("half-written", 2),
    Crash("renamed", 2),
)


def test_every_point_is_recorded_in_the_order_of_passing(tmp_path: Path) -> None:
    """Each passage is a crash of its own."""
    scenario = Scenario(tmp_path, SOUND)
    scenario.before()
    assert POINTS == scenario.runner.record()


def test_a_name_may_hold_spaces_and_colons() -> None:
    """One line, one point."""
    script = "from seawall.testing import point; point('outbox: before the commit')"
    runner = CrashRunner(["python", "-c", script])
    crash = Crash("outbox: before the commit", 1)
    assert (crash,) == runner.record()
    runner.crash(crash)


def test_only_a_leading_python_is_this_interpreter() -> None:
    """An argument that is called python stays what it is."""
    script = "import sys; from seawall.testing import point; point(sys.argv[1])"
    assert (Crash("python", 1),) == CrashRunner(["python", "-c", script, "python"]).record()


def test_a_sound_scenario_survives_every_crash(tmp_path: Path) -> None:
    """It is killed at each point, and the check finds nothing."""
    scenario = Scenario(tmp_path, SOUND)
    checked: list[Crash] = []

    def check(crash: Crash) -> str | None:
        checked.append(crash)
        return scenario.check(crash)

    report = scenario.runner.run(before=scenario.before, check=check)
    assert CrashReport(POINTS, ()) == report
    assert list(POINTS) == checked
    assert "points: 3, runs killed: 5, problems: 0" == str(report)


def test_a_planted_bug_is_found_where_it_is(tmp_path: Path) -> None:
    """The report says at which passage of which point; `most_each` bounds the runs."""
    scenario = Scenario(tmp_path, BUGGY)
    report = scenario.runner.run(before=scenario.before, check=scenario.check, most_each=1)
    assert POINTS[:3] == report.crashes
    assert ((Crash("half-written", 1), "['done0'] half written"),) == report.problems
    assert ["points: 3, runs killed: 3, problems: 1", "  half-written:1: ['done0'] half written"] == str(
        report
    ).splitlines()


def test_a_crash_is_the_death_of_the_process(tmp_path: Path) -> None:
    """At the point itself: what came before is there, what comes after is not."""
    scenario = Scenario(tmp_path, SOUND)
    scenario.before()
    scenario.runner.crash(Crash("renamed", 1))
    assert ["done0"] == [file.name for file in scenario.folder.iterdir()]


def test_a_crash_that_is_not_reached_is_an_error(tmp_path: Path) -> None:
    """Also a count that is never reached."""
    scenario = Scenario(tmp_path, SOUND)
    for crash in (Crash("elsewhere", 1), Crash("begun", 2)):
        scenario.before()
        with pytest.raises(RuntimeError, match=f"{crash} was not reached: the scenario ended with 0"):
            scenario.runner.crash(crash)


def test_a_scenario_that_fails_by_itself_is_an_error(tmp_path: Path) -> None:
    """The error shows what it said."""
    scenario = Scenario(tmp_path, "raise SystemExit('no such table')")
    with pytest.raises(RuntimeError, match=r"failed without any crash, with 1:\nno such table"):
        scenario.runner.record()


def test_the_scenario_has_its_environment() -> None:
    """The present one, with what is given added."""
    script = "import os; from seawall.testing import point; point(os.environ['PLACE'] + str('PATH' in os.environ))"
    runner = CrashRunner([sys.executable, "-c", script], env={"PLACE": "here"})
    assert (Crash("hereTrue", 1),) == runner.record()


def test_a_point_that_is_not_armed_does_nothing() -> None:
    """In this very process: it would be dead otherwise."""
    assert signal.SIGKILL
    for _ in range(1000):
        point("not armed")


def flaky(failures: int) -> Callable[[], str]:
    """Returns a function that fails so many times."""
    left = iter(range(failures))

    def work() -> str:
        if next(left, None) is not None:
            raise OSError("down")
        return "up"

    return work


def test_no_retries_makes_one_attempt() -> None:
    """The failure is passed on; outside the block all is as before."""
    retry = Retry(on=OSError, backoff=5, name="no retries")
    with FakeClock() as clock:
        with no_retries(), pytest.raises(OSError, match="down"):
            retry(flaky(1))()
        assert [] == clock.slept
        assert "up" == retry(flaky(1))()
        assert [5.0] == clock.slept


def test_instant_retries_without_waiting() -> None:
    """As many attempts as ever; events say a delay of 0; no fake clock is needed."""
    with instant(), Recorder() as events:
        assert "up" == Retry(on=OSError, backoff=3000, max_elapsed=1, name="instant")(flaky(2))()
    assert [0.0, 0.0] == [event.delay for event in events.of(Retried)]
    assert 1 == len(events.of(Recovered))


def test_the_switches_nest_and_are_put_back() -> None:
    """Also by an exception."""
    retry = Retry(on=OSError, backoff=3000, max_elapsed=None, name="nested switches")
    with FakeClock() as clock:
        with instant():
            with no_retries(), pytest.raises(OSError, match="down"):
                retry(flaky(1))()
            assert "up" == retry(flaky(1))()
        with pytest.raises(KeyError), instant():
            raise KeyError
        assert [] == clock.slept
        retry(flaky(1))()
        assert [3000.0] == clock.slept


def test_a_recorder_as_a_listener_to_one_strategy() -> None:
    """It is a plain listener too."""
    recorder = Recorder()
    with FakeClock():
        retry = Retry(on=OSError, backoff=1, name="recorded retry")
        retry.listen(recorder, Retried)
        retry(flaky(2))()
        Retry(on=OSError, backoff=1, name="not recorded retry")(flaky(2))()
    assert [("recorded retry", 1), ("recorded retry", 2)] == [
        (event.name, event.attempt) for event in recorder.of(Retried)
    ]
    assert recorder.events == recorder.of(Retried)
