"""The crash runner: records every crash point that a scenario passes, then repeats it, killing at each one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seawall._core import arguments


@dataclass(frozen=True, slots=True)
class Crash:
    """One place to die: at the `count`-th passage of a point."""

    point: str
    count: int

    def __str__(self) -> str:
        return f"{self.point}:{self.count}"


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What the runner did: the crashes made, and the problems that the check found, with where they appeared."""

    crashes: tuple[Crash, ...]
    problems: tuple[tuple[Crash, str], ...]

    def __str__(self) -> str:
        points = len({crash.point for crash in self.crashes})
        lines = [f"points: {points}, runs killed: {len(self.crashes)}, problems: {len(self.problems)}"]
        return "\n".join([*lines, *(f"  {crash}: {problem}" for crash, problem in self.problems)])


class CrashRunner:
    """Runs a scenario, a command that calls `point(...)` on its way, once to the end and once for each crash.

    Args:
        command: the scenario as an argument list; a leading "python" is this interpreter.
        env: environment variables besides the present ones.
        timeout: seconds for one run; default 60.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> None:
        wanted = "use the scenario as an argument list, such as ['python', 'scenario.py']"
        if not isinstance(command, list | tuple) or not all(isinstance(word, str) for word in command):
            raise TypeError(f"command={command!r} is no list of texts; {wanted}")
        if not command:
            raise ValueError(f"command={command!r} is empty; {wanted}")
        self._command = [sys.executable if command[0] == "python" else command[0], *command[1:]]
        self._env = {**os.environ, **(env or {})}
        self._timeout = arguments.seconds("timeout", timeout)

    def record(self) -> tuple[Crash, ...]:
        """Runs the scenario to its end, and returns every crash that it offers, in the order of passing."""
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "points"
            record.touch()
            done = self._run({"SEAWALL_CRASH_RECORD": str(record)})
            if done.returncode != 0:
                raise RuntimeError(f"the scenario failed without any crash, with {done.returncode}:\n{done.stderr}")
            return tuple(_numbered(record.read_text(encoding="utf-8").splitlines()))

    def crash(self, crash: Crash) -> None:
        """Runs the scenario until it is killed at `crash`. Raises RuntimeError where it was not."""
        done = self._run({"SEAWALL_CRASH_AT": str(crash)})
        if done.returncode != -signal.SIGKILL:
            raise RuntimeError(f"{crash} was not reached: the scenario ended with {done.returncode}:\n{done.stderr}")

    def run(
        self,
        *,
        before: Callable[[], None],
        check: Callable[[Crash], str | None],
        most_each: int | None = None,
    ) -> CrashReport:
        """Kills the scenario at every point it passes.

        Args:
            before: prepares a fresh state; called before every run.
            check: recovers, looks at what is left, and returns what is wrong with it, or None.
            most_each: at most so many passages of one point, the first ones; default: all.
        """
        before()
        crashes = tuple(crash for crash in self.record() if most_each is None or crash.count <= most_each)
        problems = []
        for crash in crashes:
            before()
            self.crash(crash)
            problem = check(crash)
            if problem is not None:
                problems.append((crash, problem))
        return CrashReport(crashes, tuple(problems))

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command,
            env={**self._env, **extra},
            timeout=self._timeout,
            capture_output=True,
            text=True,
            check=False,
        )


def _numbered(points: Sequence[str]) -> Iterator[Crash]:
    passed: Counter[str] = Counter()
    for point in points:
        passed[point] += 1
        yield Crash(point, passed[point])
