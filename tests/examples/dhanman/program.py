"""`python -m examples.dhanman` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.examples.dhanman.office import BRISK

ROOT = Path(__file__).resolve().parents[3]


class Program:
    """Runs the program on a database; killed at the end, should it still be there.

    Args:
        database: its URL.
        arguments: further ones of the command line.
        environ: further variables of the environment.
    """

    def __init__(self, database: str, *arguments: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.dhanman", "--database", database, *arguments],
            cwd=ROOT,
            env={**os.environ, **BRISK, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[str] = []
        self.url = ""

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("listening on "):
                self.url = line.rstrip().removeprefix("listening on ")
                return self
        raise AssertionError(f"it ended with {self.process.wait()}: {self.lines}")

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()
