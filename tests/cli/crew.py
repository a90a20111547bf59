"""Real worker processes for the commands that look at a service, and the commands run against them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from seawall._registry import set_switches
from seawall.cli import main
from tests.runtime.fleet import environment, until

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60
POLICIES = """
[policies.payments]
retry = { on = ["ConnectionError"], max_attempts = 2 }
timeout = 2.0
"""


class Crew:
    """Workers of one service, and its folder.

    Args:
        folder: where its files are.
        number: of workers.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.path = folder / "run"
        self.all: list[subprocess.Popen[str]] = []
        (folder / "policies.toml").write_text(POLICIES)
        self.say(health="healthy", in_flight=0)
        self.add(number)

    def say(self, **facts: object) -> None:
        """Says how the workers' checks are, and how many requests they serve, from now on."""
        for name, fact in facts.items():
            (self.folder / f"{name}.new").write_text(str(fact))
            (self.folder / f"{name}.new").replace(self.folder / name)

    def add(self, number: int = 1, *arguments: str, **variables: str) -> None:
        """Starts workers, and waits until they are ready."""
        command = [sys.executable, "-m", "tests.cli.worker", str(self.folder), *arguments]
        new = [
            subprocess.Popen(command, env=environment(**variables), cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(number)
        ]
        self.all += new
        for process in new:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()

    def kill(self) -> int:
        """Kills the oldest worker, and returns its process id."""
        process = self.all.pop(0)
        process.kill()
        process.communicate()
        return process.pid

    @property
    def pids(self) -> set[int]:
        """Those of the workers that live."""
        return {process.pid for process in self.all}

    def until_seen(self, what: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until every worker's snapshot is such."""
        until(lambda: len(found := self.snapshots()) == len(self.all) and all(map(what, found)))

    def snapshots(self) -> list[dict[str, Any]]:
        """Returns what the living workers have written."""
        files = [file for pid in self.pids for file in (self.path / "workers").glob(f"{pid}-*.json")]
        return [json.loads(file.read_text()) for file in files]

    def health_is(self, status: str) -> None:
        """Lets the workers' check be so, and waits until they say it."""
        self.say(health=status)
        self.until_seen(lambda worker: worker["sections"]["health"]["views"]["ready"]["status"] == status)


@contextmanager
def crew(folder: Path, number: int = 2) -> Iterator[Crew]:
    """Starts the workers of a service, and kills them in the end."""
    workers = Crew(folder, number)
    try:
        yield workers
    finally:
        while workers.all:
            workers.kill()


class Line:
    """The command line in this process, for one service.

    Args:
        path: the runtime directory.
        capsys: pytest's.
    """

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._path = path
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        """Runs a command, and returns its exit code; what it has printed is in `out` and `err`."""
        try:
            code = main([*arguments, "--runtime-dir", str(self._path)])
        finally:
            set_switches("runtime", [])  # `switch` puts them in force in its own process, which is this one
            self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command with --json, which prints one object in one line; returns that."""
        assert code == self(*arguments, "--json"), self.err
        assert 1 == self.out.count("\n")
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def process(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line as a process of its own, and returns how it ended."""
    settings = {key: value for key, value in environment().items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-m", "seawall.cli", *arguments],
        cwd=cwd, env={**settings, **variables}, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def widths(text: str) -> int:
    """Returns the length of the longest line."""
    return max(map(len, text.splitlines()))


def revision(path: Path) -> int:
    """Returns the revision of the control file; 0 where there is none."""
    file = path / "control.json"
    return int(json.loads(file.read_text())["revision"]) if os.path.exists(file) else 0
