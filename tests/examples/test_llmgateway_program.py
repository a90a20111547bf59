"""`python -m examples.llmgateway` as its user meets it: what it prints, how it ends, and that it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import pytest

pytest.importorskip("sqlalchemy", reason="NO SQLAlchemy: pip install 'sqlalchemy[asyncio]>=2.1'")
pytest.importorskip("aio_pika", reason="NO aio-pika: pip install 'aio-pika>=10.2'")

from examples.llmgateway import load
from examples.llmgateway.command import main
from tests.examples.llmgateway import question

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
SECRET = "S3CRET-pa55word"


def mind_ctrl_c() -> None:
    """Undo a SIGINT that is ignored, as in a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program; kill it at the end, should it still be there."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "examples.llmgateway", *arguments],
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env={**os.environ, **environ},
        preexec_fn=mind_ctrl_c,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def piped(stream: IO[str] | None) -> IO[str]:
    """Return a stream that is known to be a pipe."""
    assert stream is not None
    return stream


def lines(process: subprocess.Popen[str]) -> list[str]:
    """Return what it prints until it is ready."""
    printed = []
    for line in piped(process.stdout):
        printed.append(line.rstrip())
        if line.startswith("listening on "):
            return printed
    raise AssertionError(f"it never listened: {printed} {piped(process.stderr).read()}")


def test_it_says_where_it_listens_serves_and_lets_a_request_end_on_sigterm(tmp_path: Path) -> None:
    """A line for each service and the last one when all are ready; what was in the database is there the next time."""
    database = f"sqlite:///{tmp_path}/kept.sqlite3"
    with started("--database", database) as process, ThreadPoolExecutor() as threads:
        printed = lines(process)
        assert ["anthropic", "openai", "models", "gateway", "listening"] == [line.split()[0] for line in printed]
        url = printed[-1].removeprefix("listening on ")
        with httpx2.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            assert {"/v1/chat", "/v1/models"} <= set(client.get("/openapi.json").json()["paths"])
            assert 200 == client.put("/v1/projects/p1", json={"name": "kept"}).status_code
            for path in ("/health", "/health/live", "/health/ready", "/health/external"):
                assert 200 == until_known(client, path)
            body = {**question(stream=True), "projectId": "p1"}
            asked = threads.submit(client.post, "/v1/chat", json=body, headers={"X-Correlation-Id": "mine"})
            while 'seawall_bulkhead_in_flight{strategy_name="anthropic.bulkhead"} 1' not in client.get("/metrics").text:
                assert not asked.done()
            process.send_signal(signal.SIGTERM)
            assert "event: done" in asked.result(PATIENCE).text
        output, log = process.communicate(timeout=PATIENCE)
    assert ("", 0) == (output, process.returncode)
    assert [] == [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line]
    with started("--database", database) as process:
        url = lines(process)[-1].removeprefix("listening on ")
        with httpx2.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            assert "kept" == client.get("/v1/projects/p1").json()["name"]
            assert 1 == client.get("/v1/projects/p1/usage").json()["requests"]  # published before the end
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert 0 == process.returncode


def until_known(client: httpx2.Client, path: str) -> int:
    """Return the status of a view of health, as soon as every check has run once."""
    until = time.monotonic() + PATIENCE
    while '"unknown"' in (response := client.get(path)).text and time.monotonic() < until:
        time.sleep(0.05)
    return response.status_code


def test_a_port_in_use_is_a_clear_message() -> None:
    """Exit code 1, what is wrong and what would be right; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken, started("--port", str(taken.getsockname()[1])) as process:
        output, log = process.communicate(timeout=PATIENCE)
    assert ("", 1) == (output, process.returncode)
    assert re.search(r"llmgateway: port \d+ on 127.0.0.1 is in use already; choose another", log)
    assert "Traceback" not in log


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--faults", "2"],
        ["--database", f"mysql://u:{SECRET}@h/d"],
        ["--broker", f"http://u:{SECRET}@h/d"],
    ],
)
def test_wrong_arguments_are_named_and_secrets_are_not_shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that makes no sense ends with code 2 and names the argument; a URL is not repeated."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert (2, True, False) == (ended.value.code, arguments[0] in said, SECRET in said)


def test_help_says_what_it_does_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--help explains every option in lines that fit a terminal; a URL in the environment is not among the defaults."""
    monkeypatch.setenv("LLMGATEWAY_DATABASE", f"postgresql://u:{SECRET}@h/d")
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    words = ("--port", "--database", "--broker", "--faults", "curl", "SIGTERM", "/openapi.json", "LLMGATEWAY_DATABASE")
    assert (0, []) == (ended.value.code, [word for word in words if word not in text])
    assert [] == [line for line in text.splitlines() if len(line) > 80 or SECRET in line]


def test_a_load_test_is_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It starts a gateway, prints its report as JSON, and says by its exit code whether all targets were met."""
    code = load.main(["--rate", "20", "--seconds", "0.5"])
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    words = (
        "concurrent_users",
        "throughput",
        "error_rate",
        "availability",
        "latency",
        "breaker_openings",
        "open_files",
    )
    assert [] == [word for word in words if word not in report]
    assert (code == 0) == ("missed" not in printed.err)
