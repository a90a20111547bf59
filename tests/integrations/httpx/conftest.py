"""The server thread, and a client library in a colour, for the tests of the httpx adapter."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.integrations.httpx.driver import ALIASED, WIRES, Wire
from tests.integrations.httpx.server import Server, ServerThread


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerThread]:
    """Where servers run."""
    thread = ServerThread()
    yield thread
    thread.close()


@pytest.fixture
def server(servers: ServerThread) -> Iterator[Server]:
    """A server of the test's own."""
    with servers.server() as server:
        yield server


def _wires(*colours: str) -> list[tuple[str, str]]:
    return [wire for wire in WIRES if wire[1] in colours]


@pytest.fixture(params=_wires("sync", "async"), ids="-".join)
def wire(request: pytest.FixtureRequest, server: Server) -> Iterator[Wire]:
    """Each library in each colour."""
    with Wire(*request.param, server) as wire:
        yield wire


@pytest.fixture(params=_wires("async"), ids="-".join)
def awire(request: pytest.FixtureRequest, server: Server) -> Iterator[Wire]:
    """Each library, async."""
    with Wire(*request.param, server) as wire:
        yield wire


@pytest.fixture(params=_wires("sync"), ids="-".join)
def swire(request: pytest.FixtureRequest, server: Server) -> Iterator[Wire]:
    """Each library, sync."""
    with Wire(*request.param, server) as wire:
        yield wire


@pytest.fixture(scope="session", autouse=True)
def aliased(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[bytes], Path] | None]:
    """The suite where httpx2 goes by the name of httpx: a process, begun now and awaited by a test, and its output."""
    if ALIASED or not any(
        item.name == "test_the_suite_passes_where_httpx2_is_aliased" for item in request.session.items
    ):
        yield None
        return
    here, output = Path(__file__).parent, tmp_path_factory.mktemp("aliased") / "output"
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-m", "not soak"]
    with output.open("wb") as out, _pytest(here, options, out) as process:
        try:
            yield process, output
        finally:
            process.kill()


def _pytest(folder: Path, options: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    env = {**os.environ, "SEAWALL_TEST_HTTPX": "aliased"}
    return subprocess.Popen(command, cwd=folder.parents[2], env=env, stdout=out, stderr=subprocess.STDOUT)
