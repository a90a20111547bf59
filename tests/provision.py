"""The servers that tests start: found, or, on Debian as root, installed. `python -m tests.provision` before pytest.

A program is what an environment variable names, else what is installed. What is missing is installed with apt-get,
whose services are kept from starting; elsewhere the command says what to do and exits with 1.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True)
class Server:
    """A server that tests need: what it is called, and how its program is found."""

    name: str
    package: str
    variable: str
    find: Callable[[], str | None]

    def program(self) -> str | None:
        """Returns the path of the program; None where there is none."""
        return os.environ.get(self.variable) or self.find()


def _postgres() -> str | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    return found[-1] if found else shutil.which("postgres")


def _rabbitmq() -> str | None:
    """Returns the program itself: the one that Debian has on the path changes user, folder and log before it starts."""
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return program if os.access(program, os.X_OK) else shutil.which("rabbitmq-server")


SERVERS = {
    "postgresql": Server("PostgreSQL", "postgresql", "SEAWALL_TEST_POSTGRES", _postgres),
    "redis": Server("Redis", "redis-server", "SEAWALL_TEST_REDIS", lambda: shutil.which("redis-server")),
    "rabbitmq": Server("RabbitMQ", "rabbitmq-server", "SEAWALL_TEST_RABBITMQ", _rabbitmq),
}


def main() -> int:
    """Installs what is missing; returns the exit code."""
    missing = [server for server in SERVERS.values() if server.program() is None]
    if not missing:
        return 0
    packages = [server.package for server in missing]
    names = " and ".join(server.name for server in missing)
    if sys.platform != "linux" or shutil.which("apt-get") is None or os.geteuid() != 0:
        variables = ", ".join(f"{server.variable}=/path/to/{server.package}" for server in missing)
        print(
            f"seawall: tests need {names}. Install them (Debian, Ubuntu: sudo apt-get install {' '.join(packages)}), "
            f"or say where they are ({variables}), or leave their tests out: make test SERVERS=embedded",
            file=sys.stderr,
        )
        return 1
    print(f"seawall: installing {' '.join(packages)} with apt-get, for tests; no service is started", flush=True)
    with ExitStack() as stack:
        if not POLICY.exists():
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
            stack.callback(POLICY.unlink, missing_ok=True)
        quietly = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quietly)  # type: ignore[call-overload]
        ran = subprocess.run(
            ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages],
            check=False,
            **quietly,  # type: ignore[call-overload]
        )
    still = [server.name for server in missing if server.program() is None]
    if ran.returncode or still:
        print(f"seawall: apt-get could not install {names}; its own words are above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
