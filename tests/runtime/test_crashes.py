"""Killed at every point of folding, living and changing: sums are neither lost nor doubled, files never half."""

import json
import shutil
from pathlib import Path
from typing import Any

from seawall._runtime.directory import Directory
from seawall._runtime.runtime import Runtime
from seawall.testing import Crash, CrashReport, CrashRunner
from tests.runtime.fleet import GONE, environment


def dead(directory: Directory, number: int, counters: Any) -> str:
    """Leaves what a worker leaves that was killed: a snapshot and nobody behind it."""
    worker = f"{GONE}-{number}"
    snapshot = {"id": worker, "written": 0.0, "sections": {"m": {"counters": counters, "gauges": {"open": 1}}}}
    directory.snapshot(worker).write_text(json.dumps(snapshot))
    directory.sign(worker).touch()
    return worker


def runner(scenario: str, path: Path) -> CrashRunner:
    """Runs a scenario in a process of its own."""
    return CrashRunner(["python", "-m", "tests.runtime.folding", scenario, str(path)], env=environment(), timeout=30)


def test_dead_workers_are_folded_once_wherever_the_folder_is_killed(tmp_path: Path) -> None:
    """Three dead workers, and sums from before: after each crash the total is exact, read and folded again."""
    directory = Directory(tmp_path / "run")
    expected = {"m": {"calls": {'["a"]': 111, '["b"]': 5}, "took": {"[]": [3, 30, 0.75]}}}

    def before() -> None:
        shutil.rmtree(directory.path, ignore_errors=True)
        directory.make()
        first = {"calls": {'["a"]': 100}, "took": {"[]": [1, 10, 0.25]}}
        directory.retired.write_text(json.dumps({"sections": {"m": first}, "folded": ["1-1"]}))
        dead(directory, 1, {"calls": {'["a"]': 10}, "took": {"[]": [1, 10, 0.25]}})
        dead(directory, 2, {"calls": {'["a"]': 1, '["b"]': 5}, "took": {"[]": [1, 10, 0.25]}})
        dead(directory, 3, {})

    def check(crash: Crash) -> str | None:
        reader = Runtime("service", path=directory.path)
        seen = [reader.retired(), reader.retired()]
        left = sorted(path.name for path in directory.workers.iterdir())
        return None if (seen, left) == ([expected, expected], []) else f"{seen} and {left}"

    report = runner("sweep", directory.path).run(before=before, check=check)
    assert () == report.problems, str(report)
    points = {crash.point for crash in report.crashes}
    assert {"retired: not folded yet", ".json: opened", ".json: written", "retired: folded, file still there"} < points


def test_a_reader_without_the_lock_sees_each_dead_worker_once(tmp_path: Path) -> None:
    """Also between the moment at which its sums are written down and that at which its file goes."""
    directory = Directory(tmp_path / "run")
    directory.make()
    dead(directory, 1, {"calls": {"[]": 10}})
    dead(directory, 2, {"calls": {"[]": 1}})
    sweeping = runner("sweep", directory.path)
    sweeping.crash(Crash("retired: folded, file removed", 1))
    assert 1 == len(list(directory.workers.glob("*.json")))
    reader = Runtime("service", path=directory.path)
    directory.lock.unlink()
    directory.lock.mkdir()  # nobody can lock that
    assert {"m": {"calls": {"[]": 11}}} == reader.retired()
    assert 1 == len(list(directory.workers.glob("*.json")))


def test_a_worker_killed_at_any_moment_of_its_life_counts_as_what_it_last_told(tmp_path: Path) -> None:
    """Nothing yet, 5 or 7, whatever came first; its gauges go; and the next life adds exactly 7."""
    directory = Directory(tmp_path / "run")
    witness = Runtime("service", path=directory.path)

    def calls() -> object:
        return witness.retired().get("m", {}).get("calls", {}).get("[]", 0)

    def check(crash: Crash) -> str | None:
        left = calls()
        return None if left in (0, 5, 7) and len(witness.workers()) == 1 else f"{left} calls"

    def before() -> None:
        witness.stop()
        shutil.rmtree(directory.path, ignore_errors=True)
        witness.start()

    report = runner("life", directory.path).run(before=before, check=check)
    left = calls()
    runner("life", directory.path).record()
    assert left + 7 == calls()
    witness.stop()
    assert () == report.problems, str(report)
    assert len(report.crashes) > 5


def test_a_change_is_made_whole_or_not_at_all_and_never_without_a_line(tmp_path: Path) -> None:
    """Whoever changes is killed: what is in force is one of the three contents, and the audit log says of it."""
    path = tmp_path / "run"

    def check(crash: Crash) -> str | None:
        reader = Runtime("service", path=path)
        entries = reader.control().get("s", {})
        log = path / "audit.log"
        written_down = [json.loads(line)["new"] for line in log.read_text().splitlines()] if log.exists() else []
        if entries not in [{}, {"1": 1}, {"1": 1, "2": 2}] or (entries and entries not in written_down):
            return f"{entries} with {written_down}"
        reader.change("s", lambda old: {**old, "3": 3}, actor="bob", reason="r")
        return None if {**entries, "3": 3} == reader.control()["s"] else "cannot be changed any more"

    report: CrashReport = runner("change", path).run(
        before=lambda: shutil.rmtree(path, ignore_errors=True), check=check
    )
    assert () == report.problems, str(report)
    assert 2 * 4 == len(report.crashes)
