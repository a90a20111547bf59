"""Where the runtime directory is, and whether it is safe to use."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from seawall._runtime import files, locks

_LONGEST_NAME: Final = 200
VARIABLE: Final = "SEAWALL_RUNTIME_DIR"
_WORKER: Final = re.compile(r"([0-9]{1,20})-[0-9]{1,20}")


def find(service: str) -> Path:
    """Returns where the directory of a service is: `SEAWALL_RUNTIME_DIR`, else one by user and service.

    That one is in `XDG_RUNTIME_DIR` where this is a directory of our own, else in the temporary directory. Raises
    OSError where there is no place at all.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    name = quote(service, safe="")
    if len(name) > _LONGEST_NAME:
        name = hashlib.sha256(service.encode()).hexdigest()
    name = f"seawall-{_user()}-{name}"
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session) and _problem(Path(session)) is None:
        return Path(session) / name
    return Path(tempfile.gettempdir()) / name


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def make(path: Path) -> None:
    """Makes a directory of our own, closed to others (mode 0700), or checks the one that is there.

    Raises OSError for one that is somebody else's, a symbolic link, or open to the writing of others.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    problem = _problem(path)
    if problem is not None:
        raise PermissionError(f"{path} {problem}")


def _problem(path: Path) -> str | None:
    try:
        facts = os.lstat(path)
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not stat.S_ISDIR(facts.st_mode):
        return "is no directory, or a symbolic link to one"
    if hasattr(os, "geteuid") and facts.st_uid != os.geteuid():
        return f"belongs to user {facts.st_uid}, not to us ({os.geteuid()})"
    if facts.st_mode & 0o022:
        return f"may be written to by others (mode {facts.st_mode & 0o777:o}); make it 700"
    return None


class Directory:
    """The files of one service on one host.

    `workers/ID.json` is what a worker says of itself and `workers/ID.alive` its sign of life; `retired.json` holds the
    sums of the dead, `control.json` what all are told, and `audit.log` who said so. `lock` is for folding and changing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workers = path / "workers"
        self.retired = path / "retired.json"
        self.control = path / "control.json"
        self.audit = path / "audit.log"
        self.lock = path / "lock"

    def make(self) -> None:
        """Makes what is missing. Raises OSError where it cannot be made or is not safe."""
        make(self.path)
        make(self.workers)

    def is_safe(self) -> bool:
        """Whether it is there, and nobody else can have put anything into it."""
        return _problem(self.path) is None and _problem(self.workers) is None

    def snapshot(self, worker: str) -> Path:
        """Returns where a worker's snapshot is."""
        return self.workers / f"{worker}.json"

    def sign(self, worker: str) -> Path:
        """Returns where a worker's sign of life is."""
        return self.workers / f"{worker}.alive"

    def listed(self) -> Iterator[str]:
        """Gives the ids of the workers that have left anything, dead ones included, in order of age."""
        try:
            names = {entry.name.partition(".")[0] for entry in os.scandir(self.workers)}
        except OSError:
            return
        yield from sorted((name for name in names if _WORKER.fullmatch(name)), key=_age)

    def is_alive(self, worker: str) -> bool:
        """Whether a worker's process lives: it holds its sign of life, which the kernel takes from the dead.

        A process that is stopped, or merely silent, is alive. Where something has swept the sign away, which its worker
        puts up again within a second, the process id decides.
        """
        locked = locks.is_locked(self.sign(worker))
        return _exists(int(worker.partition("-")[0])) if locked is None else locked

    def forget(self, worker: str) -> None:
        """Removes all that a dead worker has left; the sign of life last."""
        for path in (self.snapshot(worker), self.sign(worker)):
            files.remove(files.unfinished(path))
        files.remove(self.snapshot(worker))
        files.remove(self.sign(worker))


def _age(worker: str) -> tuple[int, int]:
    pid, _, start = worker.partition("-")
    return int(start), int(pid)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill() would end it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return pid > 0
