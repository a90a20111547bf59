"""Checks of the machine: disk and memory, against the real ones and against file systems that are made up."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from seawall.health import Check, Health, disk_check, memory_check
from seawall.health.memory import resident

Usage = namedtuple("Usage", "total used free")
MB = 1 << 20


def look(check: Check) -> Health:
    """Returns what a plain check finds."""
    found = check.look()
    assert isinstance(found, Health)
    return found


@pytest.mark.parametrize(
    ("free", "files", "expected", "description"),
    [
        (90, 90, "healthy", "90.0% space left"),
        (20, 90, "healthy", "20.0% space left"),
        (19.9, 90, "degraded", "19.9% space left"),
        (10, 90, "degraded", "10.0% space left"),
        (9.9, 90, "unhealthy", "9.9% space left"),
        (0, 90, "unhealthy", "0.0% space left"),
        (90, 15, "degraded", "15.0% room for files left"),
        (90, 0, "unhealthy", "0.0% room for files left"),
        (90, None, "healthy", "90.0% space left"),
    ],
)
def test_disk(
    monkeypatch: pytest.MonkeyPatch, free: float, files: float | None, expected: str, description: str
) -> None:
    """Degraded below 20 % free, unhealthy below 10 %, of the space or of the files, whichever is scarcer."""
    stat = namedtuple("stat", "f_files f_favail")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 0, int(free * 10)))
    monkeypatch.setattr(os, "statvfs", lambda path: stat(0, 0) if files is None else stat(1000, files * 10))

    assert (expected, description) == (look(disk_check()).status, look(disk_check()).description)


def test_the_real_disk(tmp_path: Path) -> None:
    """Its figures are those of the system; with bounds of one's own it is anything."""
    found = look(disk_check(tmp_path, degraded_below=None, unhealthy_below=None))
    usage = shutil.disk_usage(tmp_path)

    assert ("healthy", str(tmp_path), usage.total) == (found.status, found.data["path"], found.data["total"])
    assert {"path", "total", "free", "freePercentage"} <= set(found.data)
    assert "degraded" == look(disk_check(tmp_path, degraded_below=1.0, unhealthy_below=None)).status
    assert "unhealthy" == look(disk_check(tmp_path, degraded_below=1.0, unhealthy_below=1.0)).status


def test_a_full_disk_that_is_really_full(tmp_path: Path) -> None:
    """A small file system, filled up, is unhealthy, and healthy again when there is room."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        check = disk_check(tmp_path)
        assert "healthy" == look(check).status
        (tmp_path / "full").write_bytes(b"x" * (MB * 95 // 100))
        assert "unhealthy" == look(check).status
        (tmp_path / "full").unlink()
        assert "healthy" == look(check).status
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_is_gone() -> None:
    """The check fails, and says what is missing."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        look(disk_check("nowhere/at/all"))


class Machine:
    """The files that a process on Linux sees of its memory, under a root of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {8000 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {6000 * 1024} kB\n")
        self.write("proc/self/statm", f"9999 {200 * MB // os.sysconf('SC_PAGE_SIZE')} 1 1 0 1 0\n")

    def write(self, path: str, text: str | int) -> None:
        """Writes a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text}\n" if isinstance(text, int) else text)

    def group(self, text: str) -> None:
        """Says which control groups the process is in."""
        self.write("proc/self/cgroup", text)

    def v2(self, folder: str, limit: Any, used: int, inactive: int = 0) -> None:
        """Makes a control group of version 2."""
        self.write(f"{folder}/memory.max", f"{limit}\n")
        self.write(f"{folder}/memory.current", used)
        self.write(f"{folder}/memory.stat", f"anon 5\ninactive_file {inactive}\nactive_file 7\n")

    def v1(self, folder: str, limit: int, used: int, inactive: int = 0) -> None:
        """Makes a control group of version 1."""
        self.write(f"{folder}/memory.limit_in_bytes", limit)
        self.write(f"{folder}/memory.usage_in_bytes", used)
        self.write(f"{folder}/memory.stat", f"inactive_file 1\ntotal_inactive_file {inactive}\n")

    def found(self, **options: Any) -> tuple[str, int, int, str]:
        """Returns status, used and limit in MB, and where they are from."""
        health = look(memory_check(root=self.root, **options))
        used, most = health.data["MemoryUsed"], health.data["MaxMemory"]
        assert isinstance(used, int)
        assert isinstance(most, int)
        assert round(used / most * 100, 2) == health.data["UsagePercentage"]
        return health.status, used // MB, most // MB, str(health.data["source"])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without control groups."""
    return Machine(tmp_path)


def test_memory_without_a_limit_is_the_machines(machine: Machine) -> None:
    """Without a container, and with one that has no limit, the machine's memory counts."""
    assert ("healthy", 2000, 8000, "machine") == machine.found()
    machine.group("0::/app\n")
    machine.v2("sys/fs/cgroup/app", "max", 7900 * MB)
    assert ("healthy", 2000, 8000, "machine") == machine.found()
    machine.group("4:memory:/app\n0::/\n")
    machine.v1("sys/fs/cgroup/memory/app", 9223372036854771712, 7900 * MB)
    assert ("healthy", 2000, 8000, "machine") == machine.found()


def test_memory_of_a_container(machine: Machine) -> None:
    """Of version 2 in its own namespace: what may be dropped is not counted; 80 % is degraded, 95 % unhealthy."""
    machine.group("0::/\n")
    for used, inactive, expected in [
        (700, 0, "healthy"),
        (800, 0, "healthy"),
        (801, 0, "degraded"),
        (951, 0, "unhealthy"),
        (951, 300, "healthy"),
        (10, 300, "healthy"),  # figures of two moments
    ]:
        machine.v2("sys/fs/cgroup", 1000 * MB, used * MB, inactive * MB)
        assert (expected, max(0, used - inactive), 1000, "cgroup v2") == machine.found()


def test_the_tightest_limit_counts(machine: Machine) -> None:
    """A pod above the container may have less than the container was given."""
    machine.group("0::/pod/container\n")
    machine.v2("sys/fs/cgroup/pod/container", 2000 * MB, 100 * MB)
    machine.v2("sys/fs/cgroup/pod", 1000 * MB, 990 * MB)
    assert ("unhealthy", 990, 1000, "cgroup v2") == machine.found()


def test_version_1_and_mixed_ones(machine: Machine) -> None:
    """Version 1 as root of a container and as a folder; where both are mounted, the one with the limit."""
    machine.group("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/docker/abc\n")
    machine.v1("sys/fs/cgroup/memory", 500 * MB, 450 * MB, 50 * MB)  # a container sees its own as the root
    assert ("healthy", 400, 500, "cgroup v1") == machine.found()
    machine.v1("sys/fs/cgroup/memory/docker/abc", 400 * MB, 390 * MB)
    assert ("unhealthy", 390, 400, "cgroup v1") == machine.found()
    machine.v2("sys/fs/cgroup/unified/docker/abc", 300 * MB, 10 * MB)
    assert ("healthy", 10, 300, "cgroup v2") == machine.found()


def test_odd_groups_do_no_harm(machine: Machine) -> None:
    """Paths that climb, lack files or hold nonsense are passed over."""
    machine.group("0::/../../etc\n")
    machine.v2("sys/fs/cgroup/etc", "nonsense", 1)
    assert "machine" == machine.found()[3]
    machine.group("0::/gone\n")
    machine.write("sys/fs/cgroup/gone/memory.max", 100 * MB)
    assert "machine" == machine.found()[3]


def test_memory_against_a_figure(machine: Machine) -> None:
    """TicketWave: the process's own memory, degraded over 1 GB and never worse; bounds of one's own are kept."""
    assert ("healthy", 200, 1024, "process") == machine.found(max_memory=1024 * MB)
    assert ("healthy", 200, 200, "process") == machine.found(max_memory=200 * MB)
    assert ("degraded", 200, 199, "process") == machine.found(max_memory=199 * MB)
    assert "degraded" == machine.found(max_memory=1)[0]
    assert "unhealthy" == machine.found(max_memory=100 * MB, unhealthy_above=1.5)[0]
    assert "degraded" == machine.found(max_memory=300 * MB, degraded_above=0.5)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_real_memory() -> None:
    """Both kinds of check work here; the process's memory grows with what it holds."""
    program = (
        "from seawall.health.memory import resident\n"
        "before = resident()\n"
        f"held = b'x' * {64 * MB}\n"
        "print(resident() - before)\n"
    )
    # In a process of its own: in this one, what other tests held may be given back at any moment.
    grown = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)

    assert 50 * MB < grown < 90 * MB
    assert 0 < float(str(look(memory_check()).data["UsagePercentage"])) <= 100
    assert "degraded" == look(memory_check(MB)).status


@pytest.mark.skipif(not hasattr(os, "sysconf") or sys.platform == "win32", reason="has no resource module")
def test_memory_without_proc(tmp_path: Path) -> None:
    """Where there is no /proc, the most that the process ever held is taken."""
    assert resident(tmp_path) >= resident() // 2


def test_the_checks_are_local_and_run_on_threads() -> None:
    """A disk on a dead network must not block the loop, and a restart may help a process that has grown."""
    for check in (disk_check(tags=["live"]), memory_check(tags=["live"])):
        assert check.local
        assert not asyncio.iscoroutinefunction(check.look)
