"""Real servers for tests, each on a free port with data of its own, gone after the test module."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.health.stand_in import free_port
from tests.provision import SERVERS

PATIENCE = 20.0


@contextmanager
def postgresql() -> Iterator[int]:
    """Runs a PostgreSQL server; gives its port. The user is postgres, without a password."""
    programs = Path(_program("postgresql")).resolve().parent
    folder = tempfile.mkdtemp(prefix="seawall-postgresql-")
    who = {}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "nobody")
        who = {"user": "nobody", "extra_groups": []}
    data, port = f"{folder}/data", free_port()
    made = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([programs / "initdb", *made], check=True, **quiet, **who)  # type: ignore[call-overload]
    settings = ["fsync=off", "shared_buffers=16MB", "max_connections=50"]
    command = [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder]
    command += [word for setting in settings for word in ("-c", setting)]
    server = subprocess.Popen(command, **quiet, **who)  # type: ignore[call-overload]
    try:
        _wait_for(server, [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres"])
        yield port
    finally:
        server.send_signal(2)  # SIGINT: it would wait for its clients at SIGTERM
        server.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server(*settings: str) -> Iterator[int]:
    """Runs a Redis server without persistence; gives its port."""
    program = _program("redis")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tempfile.gettempdir()]
    server = subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PATIENCE
        while not _pings(port):
            assert server.poll() is None, "the Redis server ended"
            assert time.monotonic() < end, "the Redis server did not start"
            time.sleep(0.01)
        yield port
    finally:
        server.kill()
        server.wait(PATIENCE)


def _program(name: str) -> str:
    """Returns a server's program. Without one the test fails, unless tests of servers were left out on purpose."""
    server = SERVERS[name]
    if os.environ.get("SEAWALL_TEST_SERVERS") == "embedded":
        pytest.skip(f"needs {server.name}, and SERVERS=embedded leaves servers out")
    program = server.program()
    if program is None:
        pytest.fail(f"{server.name} is missing: `make test` installs it, or run `python -m tests.provision`")
    return program


def _pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64)[:5] in (b"+PONG", b"-NOAU")
    except OSError:
        return False


def _wait_for(server: subprocess.Popen[bytes], ready: list[object]) -> None:
    end = time.monotonic() + PATIENCE
    while subprocess.run(ready, check=False).returncode:  # type: ignore[call-overload]
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.02)
