"""`seawall drain` and `seawall health`, with real workers."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.crew import LIMIT, Crew, Line, crew, process
from tests.runtime.fleet import environment


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Crew]:
    """Give two workers."""
    with crew(tmp_path) as started:
        yield started


def test_drain_waits_for_what_is_in_flight(workers: Crew, capsys: pytest.CaptureFixture[str]) -> None:
    """1 while requests are left, 0 when there are none; one that is started meanwhile drains too."""
    seawall = Line(workers.path, capsys)
    workers.say(in_flight=3)
    workers.until_seen(lambda worker: worker["sections"]["web"]["in_flight"] == 3)
    found = seawall.json("drain", "--wait", "1", code=1)
    assert ["drained", "seconds", "workers"] == list(found)
    assert (False, [3, 3], [True, True]) == (
        found["drained"],
        [worker["in_flight"] for worker in found["workers"]],
        [worker["draining"] for worker in found["workers"]],
    )
    assert 1 == seawall("drain", "--wait", "0.2s")
    assert "6 requests left in flight" in seawall.out
    assert 3 == seawall("health"), "who drains is not ready"
    assert "drains" in seawall.out
    assert 0 == seawall("health", "--view", "live")
    workers.kill()
    workers.add()
    workers.until_seen(lambda worker: worker["sections"]["web"]["draining"])
    ending = threading.Timer(0.3, workers.say, kwargs={"in_flight": 0})
    ending.start()
    assert 0 == seawall("drain", "--wait", "20")
    ending.join()
    assert seawall.out.startswith("2 workers drained in ")


def test_health_in_exit_codes(workers: Crew, capsys: pytest.CaptureFixture[str]) -> None:
    """0 healthy and degraded, 3 unhealthy, 4 unknown; only the view that was asked for counts."""
    seawall = Line(workers.path, capsys)
    for status, code in (("healthy", 0), ("degraded", 0), ("unhealthy", 3), ("unknown", 4)):
        workers.health_is(status)
        found = seawall.json("health", code=code)
        assert (status, "ready", [{"name": "database", "status": status}]) == (
            found["status"],
            found["view"],
            found["checks"],
        )
        assert [status] * 2 == [worker["status"] for worker in found["workers"]]
    assert 4 == seawall("health")
    assert seawall.out.startswith("ready: unknown in 2/2 workers")
    assert 0 == seawall("health", "--view", "live")
    assert 2 == seawall("health", "--view", "redy")
    assert "'redy' is none of all, live, ready, startup, external" in seawall.err


def test_the_worst_worker_counts(workers: Crew, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that has not written for 5 s is unknown, whatever it said; a dead one is not asked."""
    seawall = Line(workers.path, capsys)
    silent = workers.all[0]
    silent.send_signal(signal.SIGSTOP)
    (file,) = (workers.path / "workers").glob(f"{silent.pid}-*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "written": content["written"] - 60}))
    assert 4 == seawall("health")
    assert f"ready: unknown in 1/2 (pid {silent.pid}) workers" in seawall.out
    assert f"! pid {silent.pid} has said nothing for 1 min" in seawall.out
    workers.kill()
    assert 0 == seawall("health")


@pytest.mark.parametrize(
    "content", ["[]", '{"sections": 3}', "{", '{"id": "ID", "sections": {"health": 1, "web": []}}']
)
def test_a_snapshot_that_is_none_ends_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """Each command speaks of what it understands, and shows no traceback."""
    with crew(tmp_path, 1) as workers:
        seawall = Line(workers.path, capsys)
        workers.all[0].send_signal(signal.SIGSTOP)
        (file,) = (workers.path / "workers").glob("*.json")
        file.write_text(content.replace("ID", file.stem))
        codes = {name: seawall(name) for name in ("workers", "policies", "health", "metrics")}
        understood = "ID" in content
        assert {"workers": int(not understood), "policies": 1, "health": 1, "metrics": int(not understood)} == codes
        assert "Traceback" not in seawall.err


class Answering(BaseHTTPRequestHandler):
    """Answers with what the path says: /CODE/BODY."""

    def do_GET(self) -> None:
        """Answers."""
        _, code, status = self.path.split("/")
        body = json.dumps({"status": status, "checks": [{"name": "db", "status": status}]}).encode()
        self.send_response(int(code))
        self.end_headers()
        self.wfile.write(body if status != "html" else b"<html>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give the address of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/200/healthy", 0),
        ("/200/degraded", 0),
        ("/503/unhealthy", 3),
        ("/503/unknown", 4),
        ("/200/splendid", 1),
        ("/200/html", 1),
        ("/404/html", 1),
    ],
)
def test_health_by_a_url(
    address: str, path: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the status in the answer, whatever proxy there is; what says nothing about health is no health."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    seawall = Line(Path("unused"), capsys)
    found = seawall.json("health", "--url", address + path, code=code)
    assert ({"error"} if code == 1 else {"status", "url", "code", "checks"}) == set(found)
    assert code == seawall("health", "--url", address + path)


def test_a_url_that_does_not_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, or somebody who never says a word: 1, in bounded time."""
    monkeypatch.setattr("seawall.cli.health_url.TIMEOUT", 0.3)
    seawall = Line(Path("unused"), capsys)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert 1 == seawall("health", "--url", url)
    assert 1 == seawall("health", "--url", url)
    assert "cannot be reached" in seawall.err


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://",
        "shop",
        "http://h:x/",
        "http://h/\n",
        "http://me:s3cret@h/",
        "http://[::1",
        "http://h/ä",
    ],
)
def test_what_is_no_url_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A password is not repeated."""
    seawall = Line(Path("unused"), capsys)
    assert 2 == seawall("health", "--url", url)
    assert ("", False) == (seawall.out, "s3cret" in seawall.err)
    assert 2 == seawall("health", "--url", "http://h/", "--view", "live")


def test_ctrl_c_while_waiting_is_quiet(workers: Crew) -> None:
    """Exit code 130, no traceback; the workers drain all the same."""
    workers.say(in_flight=1)
    command = [sys.executable, "-m", "seawall.cli", "drain", "--runtime-dir", str(workers.path)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, preexec_fn=mind_signals) as waiting:
        workers.until_seen(lambda worker: worker["sections"]["web"]["draining"])
        waiting.send_signal(signal.SIGINT)
        _, errors = waiting.communicate(timeout=LIMIT)
    assert (130, b"") == (waiting.returncode, errors.strip())


def mind_signals() -> None:
    """Undo a SIGINT that is ignored, as in a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line on stderr, an object on stdout where JSON is wanted."""
    seawall, text = Line(tmp_path / "run", capsys), f"no workers of 'app' in {tmp_path / 'run'}; "
    for command in ("health", "drain", "workers", "metrics", "policies"):
        assert seawall.json(command, code=1)["error"].startswith(text)
        assert (1, True) == (seawall.err.count("\n"), seawall.err.startswith(f"Error: {text}"))


def test_service_and_directory_by_the_environment(tmp_path: Path) -> None:
    """As a container sets them."""
    ran = process("health", SEAWALL_RUNTIME_DIR=str(tmp_path / "run"), SEAWALL_SERVICE="shop")
    assert (1, "") == (ran.returncode, ran.stdout)
    assert ran.stderr.startswith(f"Error: no workers of 'shop' in {tmp_path / 'run'}; ")
