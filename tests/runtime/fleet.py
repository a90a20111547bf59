"""A fleet of real worker processes on one runtime directory."""

import atexit
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 20.0  # real seconds after which what does not happen is given up
GONE = 2**22 + 17  # a process id that no Linux gives: above the largest


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a process that finds this very seawall, whatever is installed."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **more}


def until(condition: Callable[[], Any]) -> Any:
    """Waits for something to come true, and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not come true within {PATIENCE} s")


@cache
def _forking() -> str:
    """Starts the parent of all workers, once; returns the address of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="fleet")
    address = str(Path(folder.name) / "socket")
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.member", address], env=environment(), cwd=ROOT, stdout=subprocess.PIPE
    )
    atexit.register(folder.cleanup)
    atexit.register(parent.communicate)
    atexit.register(parent.kill)
    assert parent.stdout is not None
    assert b"ready\n" == parent.stdout.readline()
    return address


class Process:
    """One worker, told what to do."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(PATIENCE)
        self._connection.connect(_forking())
        self._lines = self._connection.makefile("rw", encoding="utf-8")
        self._write(str(path))

    @cached_property
    def _facts(self) -> Any:
        return self.answer()

    @property
    def pid(self) -> int:
        """Its process id; known when it has started."""
        return int(self._facts[0])

    @property
    def id(self) -> str:
        """Its id as a worker; known when it has started."""
        return str(self._facts[1])

    def ask(self, command: str, *arguments: Any) -> Any:
        """Gives a command and returns the answer."""
        self.send(command, *arguments)
        return self.answer()

    def send(self, command: str, *arguments: Any) -> None:
        """Gives a command without waiting for the answer."""
        assert self.id
        self._write([command, *arguments])

    def _write(self, said: Any) -> None:
        self._lines.write(json.dumps(said) + "\n")
        self._lines.flush()

    def answer(self) -> Any:
        """Waits for an answer."""
        return json.loads(self._lines.readline())

    def signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it with SIGKILL, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        until(self._is_gone)

    def _is_gone(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        """Ends it, however it is."""
        try:
            self.signal(signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._lines.close()
        self._connection.close()


class Fleet:
    """Several workers on one directory; all are dead when it is left."""

    def __init__(self, path: Path, workers: int) -> None:
        self.path = path
        self.all = [Process(path) for _ in range(workers)]

    def __enter__(self) -> Self:
        for process in self.all:
            assert process.id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.all:
            process.close()

    def add(self) -> Process:
        """Starts one more."""
        process = Process(self.path)
        self.all.append(process)
        assert process.id
        return process


def calls_in(text: str) -> int:
    """Returns how many successful calls through "fleet" a scrape shows."""
    found = re.search(
        r'^seawall_pipeline_duration_seconds_count\{pipeline_name="fleet",outcome="success"\} (\d+)$', text, re.M
    )
    return int(found[1]) if found else 0


def counters_in(text: str) -> dict[str, float]:
    """Returns every series of a scrape that may only grow."""
    growing = re.findall(r"^# TYPE (\S+) (?:counter|histogram)$", text, re.M)
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in lines if series.startswith(tuple(growing))}
