"""A check of memory: the container's against its limit, or this process's against a figure."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple, Unpack

from seawall._core import arguments
from seawall.health.check import Check, CheckOptions
from seawall.health.status import Health

_ROOT: Final = Path("/")
_WHOLE: Final = 100.0


class _Usage(NamedTuple):
    used: int
    most: int
    source: str


def memory_check(
    max_memory: int | None = None,
    *,
    name: str = "memory",
    degraded_above: float | None = None,
    unhealthy_above: float | None = None,
    root: str | os.PathLike[str] = _ROOT,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check of memory, with the data `MemoryUsed` and `MaxMemory` in bytes, and `UsagePercentage`.

    With `max_memory` it is the memory of this process (its resident set) against that figure, degraded above it.
    Without, it is what all processes of the container use against the container's limit (cgroup v2 or v1, the tightest
    one on the way up; page cache that can be dropped is not counted), or against the machine's memory where there is no
    limit: degraded above 80 %, unhealthy above 95 %.

    Args:
        max_memory: bytes; default None: the container's limit.
        name: default "memory".
        degraded_above: the share of the limit above which it is degraded; default 1 with `max_memory`, else 0.8.
        unhealthy_above: the same for unhealthy; default: never with `max_memory`, else 0.95.
        root: where the file systems `/proc` and `/sys` are mounted; default "/".
        **options: see `Check`.
    """
    if max_memory is not None:
        arguments.whole("max_memory", max_memory, least=1)
    else:
        degraded_above = 0.8 if degraded_above is None else degraded_above
        unhealthy_above = 0.95 if unhealthy_above is None else unhealthy_above
    degraded = arguments.number(
        "degraded_above", 1.0 if degraded_above is None else degraded_above, least=0, above=True
    )
    unhealthy = (
        None if unhealthy_above is None else arguments.number("unhealthy_above", unhealthy_above, least=0, above=True)
    )
    if unhealthy is not None and unhealthy < degraded:
        raise ValueError(
            f"unhealthy_above={unhealthy!r} is below degraded_above={degraded!r}; use at least {degraded:g}"
        )
    top = Path(os.fspath(root))

    def look() -> Health:
        usage = _container(top) if max_memory is None else _Usage(resident(top), max_memory, "process")
        share = usage.used / usage.most
        percentage = round(share * _WHOLE, 2)
        data = {
            "MemoryUsed": usage.used,
            "MaxMemory": usage.most,
            "UsagePercentage": percentage,
            "source": usage.source,
        }
        description = f"{percentage:g} % of the memory used"
        if unhealthy is not None and share > unhealthy:
            return Health.unhealthy(description, data)
        if share > degraded:
            return Health.degraded(description, data)
        return Health.healthy(description, data)

    return Check(name, look, local=True, **options)


def resident(root: Path = _ROOT) -> int:
    """Returns the bytes that this process holds in memory; where there is no `/proc`, the most that it ever held."""
    try:
        pages = int((root / "proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        import resource  # not on Windows, which has no such figure in the standard library

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _container(root: Path) -> _Usage:
    """Returns the use of memory against the tightest limit that holds for this process."""
    machine = _machine(root)
    limits = [*_version_2(root), *_version_1(root)]
    tightest = min(limits, key=lambda usage: usage.most, default=machine)
    return tightest if tightest.most < machine.most else machine


def _machine(root: Path) -> _Usage:
    lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    figures = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    total = figures["MemTotal"]
    return _Usage(total - figures.get("MemAvailable", figures["MemFree"]), total, "machine")


def _version_2(root: Path) -> list[_Usage]:
    usages = []
    for folder in _folders(root, "", ("sys/fs/cgroup", "sys/fs/cgroup/unified")):
        limit = _number(folder / "memory.max")
        used = _number(folder / "memory.current")
        if limit and used is not None:
            droppable = _figure(folder / "memory.stat", "inactive_file")
            usages.append(_Usage(max(0, used - droppable), limit, "cgroup v2"))
    return usages


def _version_1(root: Path) -> list[_Usage]:
    usages = []
    for folder in _folders(root, "memory", ("sys/fs/cgroup/memory",)):
        limit = _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.usage_in_bytes")
        if limit and used is not None:
            droppable = _figure(folder / "memory.stat", "total_inactive_file")
            usages.append(_Usage(max(0, used - droppable), limit, "cgroup v1"))
    return usages


def _folders(root: Path, controller: str, mounts: tuple[str, ...]) -> list[Path]:
    """Returns the folders of this process's group and of those above it, as far as they can be seen from here."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    paths = [path for _, names, path in (line.split(":", 2) for line in lines) if controller in names.split(",")]
    folders = []
    for mount in (root / each for each in mounts):
        for path in paths:
            parts = [part for part in path.split("/") if part not in ("", "..")]
            folders += [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return folders


def _number(path: Path) -> int | None:
    """Returns the number in a file; None where there is no file, or no limit in it."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _figure(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split(None, 1)[:1] == [name]), 0)
