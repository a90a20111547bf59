"""Where a run was made: what a reader needs to know to judge its figures."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = (
    *("nopanic", "pyresilience", "tenacity", "stamina", "backoff", "pybreaker", "circuitbreaker", "aiobreaker"),
    *("httpx2", "httpx", "httpx-retries", "fastapi", "uvicorn", "asgi-correlation-id"),
)


def facts() -> dict[str, str]:
    """Returns what is known of this machine and this checkout, to be shown as it is."""
    load = f", load {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{processor()}, {os.cpu_count()} cores{load}",
        "seawall": version("seawall"),
        "commit": commit(),
        "peers": ", ".join(f"{peer} {installed(peer)}" for peer in PEERS),
    }
    return {name: value for name, value in found.items() if value}


def processor() -> str:
    """Returns the processor's model, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return said("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or "unknown"
    models = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def commit() -> str:
    """Returns the commit of this checkout; empty without git."""
    short = said("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = short and said("git", "-C", str(ROOT), "status", "--porcelain", "--", "src")
    return f"{short}, src with changes" if changed else short


def installed(package: str) -> str:
    """Returns a package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def said(*command: str) -> str:
    """Returns what a command prints; empty where it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
