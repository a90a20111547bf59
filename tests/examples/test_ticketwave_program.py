"""`python -m examples.ticketwave` as its user meets it: what it prints, how it ends, and that it ends."""

import asyncio
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
from typing import IO, Any

import httpx2
import pytest

from examples.ticketwave.child import Child, ChildError
from examples.ticketwave.command import main
from tests.examples.ticketwave import wish

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "examples.ticketwave")
PATIENCE = 20.0
"""Seconds in which what must happen has happened, on the slowest machine."""
PARENT = """\
import asyncio, json
from examples.ticketwave.child import Child
async def main():
    async with Child() as child:
        print(json.dumps({"pid": child.pid, "urls": child.urls}), flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


def mind_ctrl_c() -> None:
    """Undo a SIGINT that is ignored, as in a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program; kill it at the end, should it still be there."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=mind_ctrl_c
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def piped(stream: IO[str] | None) -> IO[str]:
    """Return a stream that is known to be a pipe."""
    assert stream is not None
    return stream


def told(process: subprocess.Popen[str], **order: Any) -> dict[str, Any]:
    """Give an order to a program under --control, where there is one, and return the next line that it answers."""
    if order:
        print(json.dumps(order), file=piped(process.stdin), flush=True)
    answer: dict[str, Any] = json.loads(piped(process.stdout).readline())
    return answer


def customer(url: str) -> httpx2.Client:
    """Return a client of the gateway."""
    return httpx2.Client(base_url=url, timeout=PATIENCE, trust_env=False)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_serves_and_stops(stop: signal.Signals) -> None:
    """A line for each service, and the last one when all are ready; a log of requests with --verbose; exit code 0."""
    port = free_port()
    with started("--port", str(port), "--verbose", *(["--bare"] if stop == signal.SIGINT else [])) as process:
        lines = [piped(process.stdout).readline().rstrip() for _ in range(6)]
        with customer(f"http://127.0.0.1:{port}") as client:
            assert 200 == client.get("/api/events").status_code
            assert 201 == client.post("/api/bookings", json=wish(), headers={"X-Correlation-Id": "mine"}).status_code
        process.send_signal(stop)
        output, log = process.communicate(timeout=PATIENCE)

    assert ["catalog", "stripe", "paypal", "booking", "gateway"] == [line.split()[0] for line in lines[:5]]
    assert (f"listening on http://127.0.0.1:{port}", "", 0) == (lines[5], output, process.returncode)
    assert re.search(r"DEBUG +ticketwave +\[mine\] gateway: POST /api/bookings 201, \d+ ms", log)
    assert [] == [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line or "uvicorn" in line]


def test_sigterm_lets_a_request_in_flight_end() -> None:
    """A booking that waits for Stripe is answered, and only then the program ends, with 0."""
    with started("--control", "--pace", "12") as process, ThreadPoolExecutor() as threads:
        with customer(told(process)["listening"]["gateway"]) as client:
            assert {"id": 1} == told(process, id=1, do="strike", target="stripe", kind="mute")
            booking = threads.submit(client.post, "/api/bookings", json=wish())
            while not told(process, id=2, do="counts")["counts"]["unsettled"]:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert (201, "payment_pending") == (booking.result().status_code, booking.result().json()["status"])
        assert ("", "", 0) == (*process.communicate(timeout=PATIENCE), process.returncode)


def test_a_second_sigterm_does_not_wait() -> None:
    """Not for a payment of 6 s; without a word."""
    with started("--control") as process, ThreadPoolExecutor() as threads:
        with customer(told(process)["listening"]["gateway"]) as client:
            told(process, id=1, do="strike", target="stripe", kind="mute")
            booking = threads.submit(client.post, "/api/bookings", json=wish())
            while not told(process, id=2, do="counts")["counts"]["unsettled"]:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            while process.poll() is None:  # the first one is taken note of before the second one counts
                process.send_signal(signal.SIGTERM)
                time.sleep(0.01)
            assert isinstance(booking.exception(), httpx2.TransportError)
        assert ("", "", 128 + signal.SIGTERM) == (*process.communicate(timeout=PATIENCE), process.returncode)


def test_a_port_in_use_is_a_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, what is wrong and what would be right; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert 1 == main(["--port", str(port)])

    captured = capsys.readouterr()
    assert ("", 1) == (captured.out, len(captured.err.splitlines()))
    assert f"port {port} on 127.0.0.1 is in use already; choose another" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [["--port", "65536"], ["--port", "http"], ["--pace", "0"], ["--pace", "nan"], ["--pace", "1:x"], ["--x"]],
)
def test_wrong_arguments_are_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A value that makes no sense ends with code 2 and names the argument and what it was."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    message = capsys.readouterr().err
    assert [True] * len(arguments) == [argument in message for argument in arguments]


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """--help explains every option and shows what to try, in lines that fit a terminal."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    text = capsys.readouterr().out
    words = ("--port", "--bare", "--pace", "--verbose", "--control", "curl", "tok_declined", "SIGTERM", "/openapi.json")
    assert (0, []) == (ended.value.code, [word for word in words if word not in text])
    assert [] == [line for line in text.splitlines() if len(line) > 80]


def test_a_controlled_program_does_as_it_is_told_and_ends_with_its_input() -> None:
    """What it cannot do it says; the end of its input ends it, with 0, at once, silently, whatever hangs in it."""
    with started("--control") as process, ThreadPoolExecutor() as threads, httpx2.Client(timeout=PATIENCE) as client:
        url = told(process)["listening"]["gateway"]
        for order, error in (
            ({"id": 1, "do": "dance"}, "do='dance' is no order; use strike, lift, counts or finish"),
            (
                {"id": 2, "do": "strike", "target": "bank", "kind": "mute"},
                "target='bank' cannot be struck; use catalog, ",
            ),
            ({"id": 3, "do": "strike", "target": "stripe", "kind": "rain"}, "kind='rain'"),
            ({"id": 4}, "missing 1 required positional argument: 'do'"),
        ):
            answer = told(process, **order)
            assert (order["id"], True) == (answer["id"], error in answer["error"])
        print("dance", file=piped(process.stdin), flush=True)
        assert "JSONDecodeError" in told(process)["error"]
        assert 0 == told(process, id=5, do="finish")["counts"]["unsettled"]
        assert {"id": 6} == told(process, id=6, do="strike", target="catalog", kind="stall")
        listing = threads.submit(client.get, f"{url}/api/events")
        while not listing.running():
            time.sleep(0.01)
        assert ("", "", 0) == (*process.communicate(timeout=PATIENCE), process.returncode)
        listing.exception(timeout=PATIENCE)  # whether it was answered or broken off: it does not hang


def test_a_parent_that_is_killed_leaves_no_child() -> None:
    """Not even with -9: the servers end by themselves."""
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        child = json.loads(piped(parent.stdout).readline())
        assert alive(child["pid"])
        parent.kill()
    until = time.monotonic() + PATIENCE
    while alive(child["pid"]) and time.monotonic() < until:
        time.sleep(0.02)

    assert not alive(child["pid"])
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(child["urls"]["gateway"], trust_env=False)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_child_that_does_not_start_says_why() -> None:
    """The last lines of what it said come with the error."""

    async def test() -> None:
        with pytest.raises(ChildError, match=r"has ended: .*'x' is no pace"):
            async with Child("--pace", "x"):
                raise AssertionError

    asyncio.run(test())


def test_a_child_that_is_killed_is_told_of() -> None:
    """Orders that wait for an answer fail, and so do later ones."""

    async def test() -> None:
        async with Child() as child:
            counted = await child.ask("counts")
            assert 0 == counted["counts"]["wasted_calls"]
            os.kill(child.pid, signal.SIGKILL)
            for _ in range(2):
                with pytest.raises(ChildError, match="the process with the servers has ended"):
                    await child.ask("counts")
        assert not alive(child.pid)

    asyncio.run(test())
