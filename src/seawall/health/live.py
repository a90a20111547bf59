"""A live server: answers whether the process is alive from a thread of its own, also when the event loop is blocked."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall._core.clock import Clock
from seawall._core.forks import renew_after_fork
from seawall._core.started import Started
from seawall.health.check import LIVE
from seawall.health.loop import LoopProbe
from seawall.health.made import Made
from seawall.health.monitor import Monitor
from seawall.health.report import OK, UNAVAILABLE, Answer
from seawall.health.status import Status, worst

PATH: Final = "/health/live"
_BEAT: Final = 0.5
_MOST_AT_ONCE: Final = 64
_PATIENCE: Final = 5.0  # seconds that a client has to send its request
_LONGEST_REQUEST: Final = 8192
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class LiveServer(Made, Started):
    """Answers `GET /health/live` on a port of its own, from a thread of its own.

    A handler that blocks the event loop fails a probe that the loop would have to answer, and the process is restarted
    for being busy. Here the answer tells how long ago the loop was last seen alive: it is unhealthy, 503, once that is
    more than `max_age` seconds. The answer holds no secrets. Each process needs a port of its own.

    `async with LiveServer(8081):`, or `start()` and `stop()`, in the event loop that is to be watched. A thread is
    started, and again after a fork.

    Args:
        port: where to listen; 0: any free one, see `port`.
        host: the address to listen on; default "0.0.0.0", since those who probe are elsewhere.
        max_age: seconds; default 10.
        monitor: adds that monitor's checks that are tagged `live`.
        clock: where time comes from; default: the system's monotonic clock.
    """

    example = "LiveServer(8081)"

    def __init__(
        self,
        port: int,
        *,
        host: str = "0.0.0.0",
        max_age: Seconds = 10.0,
        monitor: Monitor | None = None,
        clock: Clock | None = None,
    ) -> None:
        if arguments.whole("port", port, least=0) > 65535:
            raise ValueError(f"port={port!r} is too large; use 1 to 65535, or 0 for any free one")
        if monitor is not None and not isinstance(monitor, Monitor):
            raise TypeError(f"monitor={monitor!r} is no Monitor; use one, or leave it out")
        self.port = port
        self._wanted = (host, port)
        self._max_age = arguments.seconds("max_age", max_age)
        self._monitor = monitor
        self._probe = LoopProbe(_BEAT, clock=clock)
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets the thread, which the parent process has kept."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] = _nothing

    def start(self) -> None:
        """Begins to watch the running event loop, and to answer. Where it does already, nothing happens.

        Raises OSError where the port is taken, and RuntimeError where no event loop is running.
        """
        asyncio.get_running_loop()
        with self._lock:
            if self._thread is not None:
                return
            listening = socket.create_server(self._wanted, backlog=_MOST_AT_ONCE)
            loop, stopping = asyncio.new_event_loop(), asyncio.Event()
            thread = threading.Thread(
                target=self._live, args=(loop, listening, stopping), name="seawall-live", daemon=True
            )
            try:
                thread.start()
            except BaseException:
                listening.close()
                loop.close()
                raise
            self.port = listening.getsockname()[1]
            self._thread, self._end = thread, functools.partial(loop.call_soon_threadsafe, stopping.set)
        self._probe.start()

    def stop(self) -> None:
        """Stops answering, and gives the port back."""
        with self._lock:
            thread, self._thread = self._thread, None
            end = self._end
        self._probe.stop()
        if thread is None:
            return
        end()
        thread.join(_PATIENCE)

    def answer(self) -> Answer:
        """Returns what is answered now."""
        age = self._probe.age()
        status: Status = "unknown" if age is None else "unhealthy" if age > self._max_age else "healthy"
        entry = {
            "name": "event-loop",
            "status": status,
            "description": "" if age is None else f"the event loop was seen alive {age:.1f} s ago",
            "duration": 0.0,
            "age": None if age is None else round(age * 1000, 1),
        }
        body: dict[str, Any] = {"status": status, "checks": [entry], "totalDuration": 0.0}
        if self._monitor is not None:
            report = self._monitor.report(LIVE)
            checks = report.body()
            body = {**checks, "status": worst([status, report.status]), "checks": [entry, *checks["checks"]]}
        return Answer(UNAVAILABLE if body["status"] == "unhealthy" else OK, body)

    def _live(self, loop: asyncio.AbstractEventLoop, listening: socket.socket, stopping: asyncio.Event) -> None:
        """Serves until it is stopped; the body of the thread."""
        try:
            loop.run_until_complete(self._serve_until(listening, stopping))
        finally:
            listening.close()
            loop.close()

    async def _serve_until(self, listening: socket.socket, stopping: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, sock=listening, limit=_LONGEST_REQUEST)
        await stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection."""
        try:
            if len(asyncio.all_tasks()) <= _MOST_AT_ONCE:
                async with asyncio.timeout(_PATIENCE):
                    await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it left, or never said what it wanted
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            answer = Answer(400, {"error": "this is no HTTP/1 request"})
        elif words[1].partition("?")[0] != PATH:
            answer = Answer(404, {"error": f"there is only {PATH} here"})
        elif words[0] not in ("GET", "HEAD"):
            answer = Answer(405, {"error": "use GET or HEAD"})
        else:
            answer = self.answer()
        body = json.dumps(answer.body).encode()
        allow = "Allow: GET, HEAD\r\n" if answer.status_code == 405 else ""
        writer.write(
            f"HTTP/1.1 {answer.status_code} {_REASONS[answer.status_code]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{allow}"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
        )
        if words[0] != "HEAD":
            writer.write(body)
        await writer.drain()


def _nothing() -> None:
    """What there is to end before anything has begun."""
