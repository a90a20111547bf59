"""uvicorn with four workers: whatever is said to one of them, or read from one of them, holds for all."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from seawall._runtime.runtime import Runtime
from seawall.degrade import Switchboard
from seawall.web import Operations

ROOT = Path(__file__).parents[2]
POLICIES = '[policies.work]\nretry = { on = "ConnectionError", max_attempts = 3, backoff = 0.001 }\ntimeout = 5.0\n'
SERVICE = "four workers"
COUNT = re.compile(r'^seawall_pipeline_duration_seconds_count\{[^}]*pipeline_name="work"[^}]*\} (\S+)$', re.MULTILINE)


class Fleet:
    """The service, its file of policies and its runtime directory."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seawall.toml"
        self.file.write_text(POLICIES)
        self.directory = folder / "runtime"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        environment = {
            **os.environ,
            "FOUR_WORKERS_POLICIES": str(self.file),
            "SEAWALL_RUNTIME_DIR": str(self.directory),
        }
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "tests.web.four_workers:app",
            "--workers",
            "4",
            "--log-level",
            "error",
        ]
        self.process = subprocess.Popen(
            [*command, "--port", self.url.rpartition(":")[2]], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )

    def calls(self, number: int) -> dict[int, set[int]]:
        """Make so many calls, each on a connection of its own; return how often they were tried, by worker."""
        seen: dict[int, set[int]] = {}
        for _ in range(number):
            answer = httpx2.get(f"{self.url}/work", trust_env=False, timeout=20).json()
            seen.setdefault(answer["pid"], set()).add(answer["tries"])
        return seen

    def counted(self) -> float:
        """Return how many calls a scrape of some worker shows."""
        text = httpx2.get(f"{self.url}/metrics", trust_env=False, timeout=20).text
        return sum(float(found) for found in COUNT.findall(text))

    def until(self, so: Callable[[], bool], patience: float = 20.0) -> None:
        """Wait until something is so."""
        end = time.monotonic() + patience
        while not so():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.1)

    def all_try(self, tries: int) -> bool:
        """Whether all four workers answer, each with so many tries."""
        seen = self.calls(24)
        return len(seen) == 4 and all(each == {tries} for each in seen.values())

    def runtime(self) -> Runtime:
        """Return the runtime as a command line sees it."""
        return Runtime(SERVICE, path=self.directory)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four workers that all answer."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.until(lambda: len(fleet.runtime().workers()) == 4, 60)
        yield fleet
    finally:
        fleet.process.send_signal(signal.SIGTERM)
        assert 0 == fleet.process.wait(30)


def test_a_call_is_counted_once_whoever_is_asked(fleet: Fleet) -> None:
    """Two seconds later each scrape shows exactly the calls that were made, and none shows less than one before."""
    before = fleet.counted()
    seen = [before]
    for _ in range(10):
        fleet.calls(30)
        seen.append(fleet.counted())
    assert sorted(seen) == seen
    fleet.until(lambda: fleet.counted() == before + 300)
    assert [before + 300] * 20 == [fleet.counted() for _ in range(20)]


def test_a_killed_worker_loses_nothing_that_was_shown(fleet: Fleet) -> None:
    """Its counts stay, and the worker that takes its place adds to them."""
    pids = set(fleet.calls(40))
    shown = fleet.counted()
    os.kill(pids.pop(), signal.SIGKILL)
    after = [fleet.counted() for _ in range(10)]
    assert sorted([shown, *after]) == [shown, *after]
    fleet.until(lambda: len(fleet.runtime().workers()) == 4, 30)
    assert fleet.counted() >= shown


def test_a_switch_reaches_every_worker_and_those_that_come_later(fleet: Fleet) -> None:
    """Off means one try in each of them, also in one that was started since; on means three again."""
    board = Switchboard(fleet.runtime())
    assert fleet.all_try(3)
    board.off("retry@work", actor="test", reason="to see it")
    try:
        fleet.until(lambda: fleet.all_try(1))
        os.kill(next(iter(fleet.calls(1))), signal.SIGKILL)
        fleet.until(lambda: len(fleet.runtime().workers()) == 4, 30)
        fleet.until(lambda: fleet.all_try(1))
    finally:
        board.on("retry@work", actor="test", reason="seen")
    fleet.until(lambda: fleet.all_try(3))
    assert '"actor": "test"' in (fleet.directory / "audit.log").read_text().replace('":"', '": "')


def test_a_changed_file_is_in_force_everywhere(fleet: Fleet) -> None:
    """Each worker looks at it by itself; one with a problem changes nothing."""
    fleet.file.write_text(POLICIES.replace("max_attempts = 3", "max_attempts = 0"))
    time.sleep(2)
    assert fleet.all_try(3)
    fleet.file.write_text(POLICIES.replace("max_attempts = 3", "max_attempts = 2"))
    fleet.until(lambda: fleet.all_try(2))
    fleet.file.write_text(POLICIES)
    fleet.until(lambda: fleet.all_try(3))


def test_draining_workers_are_not_ready(fleet: Fleet) -> None:
    """Ready is 503 in all of them, and requests are still served."""
    Operations(SERVICE, path=fleet.directory).drain(actor="test", reason="the last test of this module")

    def statuses() -> set[int]:
        return {httpx2.get(f"{fleet.url}/health/ready", trust_env=False).status_code for _ in range(24)}

    fleet.until(lambda: statuses() == {503})
    assert 4 == len(fleet.calls(40))
