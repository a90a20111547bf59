"""What the tests of the web layer share: real servers on free ports, and the shape of an error."""

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import uvicorn

PATIENCE = 10.0
"""Real seconds after which what hangs is given up."""

ID = re.compile(r"[0-9a-f]{32}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Served:
    """An application behind a real uvicorn, in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        # Said to be TCP, or asyncio would not turn Nagle's algorithm off, and each response took 40 ms.
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = {"lifespan": "on", "log_config": None, "timeout_graceful_shutdown": 2, **options}
        self.server = uvicorn.Server(uvicorn.Config(app, **chosen))
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with contextlib.suppress(SystemExit):  # which is how it gives up
            self.server.run([self.socket])

    def start(self) -> "Served":
        """Starts the server, and waits until it serves or has given up."""
        self.thread.start()
        wait_for(lambda: self.server.started or not self.thread.is_alive())
        return self

    def stop(self) -> None:
        """Stops the server in good order."""
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        self.socket.close()
        assert not self.thread.is_alive()


@contextlib.contextmanager
def served(app: Any, **options: Any) -> Iterator[httpx2.Client]:
    """Serves an application, and gives a client for it."""
    server = Served(app, **options).start()
    try:
        with httpx2.Client(base_url=server.url, timeout=PATIENCE) as client:
            yield client
    finally:
        server.stop()


def wait_for(true: Callable[[], Any]) -> None:
    """Waits until something is true; fails where it never becomes so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def error_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Returns what an error says, after a look at everything that every error must have."""
    assert (status, "application/json") == (response.status_code, response.headers["content-type"]), response.text
    assert ["error"] == list(response.json())
    error: dict[str, Any] = response.json()["error"]
    assert {"code", "message", "timestamp", "correlationId", "details"} <= set(error)
    assert [error["correlationId"]] == response.headers.get_list("x-correlation-id")
    assert INSTANT.fullmatch(error["timestamp"])
    assert code == error["code"]
    assert error["message"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert "no-store" == response.headers["cache-control"]
    return error


def lines_of(caplog: Any, logger: str = "seawall.web", least: int = logging.WARNING) -> list[str]:
    """Returns what was logged, as a log file would show it, tracebacks included."""
    formatter = logging.Formatter("%(levelname)s %(message)s")
    return [
        formatter.format(record)
        for record in caplog.records
        if record.name.startswith(logger) and record.levelno >= least
    ]


def everything(response: httpx2.Response) -> str:
    """Returns all that a response says, headers and body."""
    return f"{response.status_code} {response.headers.multi_items()} {response.text}"
