"""Prometheus' own checker, found or fetched: what it says of a text is the last word."""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

_UNPACK = 'dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 "./usr/bin/promtool"'


@cache
def promtool(config: pytest.Config) -> str:
    """Returns the path of promtool: one that is installed, else that of the Debian package, unpacked and not installed.

    Where it cannot be had, the test is skipped, and says how it could be.
    """
    found = shutil.which("promtool")
    if found is not None:
        return found
    cached = getattr(config, "cache", None)
    folder = Path(tempfile.mkdtemp() if cached is None else cached.mkdir("promtool"))
    if not (folder / "promtool").exists() and shutil.which("apt-get"):
        print("fetching promtool: the Debian package prometheus is downloaded and unpacked, nothing is installed")
        _fetch(folder)
    if not (folder / "promtool").exists():
        pytest.skip("NOT CHECKED BY PROMTOOL: put it on the PATH (Debian: apt-get install prometheus)")
    return str(folder / "promtool")


def _fetch(folder: Path) -> None:
    commands = ["apt-get download -qq prometheus"]
    if os.geteuid() == 0:
        commands.append("apt-get update -qq && apt-get download -qq prometheus")  # where the lists are old or missing
    for command in commands:
        ran = subprocess.run(f"{command} && {_UNPACK}", shell=True, cwd=folder, capture_output=True, timeout=120)
        if ran.returncode == 0:
            break
    for package in folder.glob("*.deb"):
        package.unlink()


def complaints(config: pytest.Config, text: str) -> str:
    """Returns what promtool has to say against a text; empty where it has nothing."""
    ran = subprocess.run(
        [promtool(config), "check", "metrics"], input=text.encode(), capture_output=True, check=False, timeout=60
    )
    said = (ran.stdout + ran.stderr).decode()
    return said or ("" if ran.returncode == 0 else f"promtool ended with {ran.returncode}")
