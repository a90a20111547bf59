"""A check of the room on a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Unpack

from seawall._core import arguments
from seawall.health.check import Check, CheckOptions
from seawall.health.status import Health


def disk_check(
    path: str | os.PathLike[str] = "/",
    *,
    name: str = "disk-space",
    degraded_below: float | None = 0.2,
    unhealthy_below: float | None = 0.1,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check of the disk that holds `path`: of the share of it that is free.

    Where a file system has a fixed number of files (inodes), the share of those counts, too: whichever is scarcer.

    Args:
        path: any file or folder on the disk; it must exist when the check runs.
        name: default "disk-space".
        degraded_below: the free share below which it is degraded, 0 to 1; default 0.2; None: never.
        unhealthy_below: the same for unhealthy; default 0.1.
        **options: see `Check`.
    """
    place = Path(os.fspath(path))
    degraded = _share("degraded_below", degraded_below)
    unhealthy = _share("unhealthy_below", unhealthy_below)
    if degraded is not None and unhealthy is not None and unhealthy > degraded:
        raise ValueError(
            f"unhealthy_below={unhealthy!r} is above degraded_below={degraded!r}; use at most {degraded:g}"
        )

    def look() -> Health:
        usage = shutil.disk_usage(place)
        free = usage.free / usage.total if usage.total else 0.0
        data = {"path": str(place), "total": usage.total, "free": usage.free, "freePercentage": round(free * 100, 2)}
        what = "space"
        files = _free_files(place)
        if files is not None:
            data["freeFilesPercentage"] = round(files * 100, 2)
            if files < free:
                free, what = files, "room for files"
        description = f"{free:.1%} {what} left"
        if unhealthy is not None and free < unhealthy:
            return Health.unhealthy(description, data)
        if degraded is not None and free < degraded:
            return Health.degraded(description, data)
        return Health.healthy(description, data)

    return Check(name, look, local=True, **options)


def _share(argument: str, value: float | None) -> float | None:
    return None if value is None else arguments.number(argument, value, least=0.0, most=1.0)


def _free_files(place: Path) -> float | None:
    """Returns the share of files that may still be made; None where the file system has no such limit."""
    if not hasattr(os, "statvfs"):
        return None
    stat = os.statvfs(place)
    return stat.f_favail / stat.f_files if stat.f_files else None
