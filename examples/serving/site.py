"""One service on a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

HOST = "127.0.0.1"
GRACE = 30
"""Seconds that requests in flight have to end when a service stops."""


class _Server(uvicorn.Server):
    """Leaves signals to the program, since several servers cannot each have them, and stops when it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready, self.stopping = asyncio.Event(), asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except (
            SystemExit
        ):  # uvicorn's word for a lifespan that failed: it would end the whole program, with a traceback
            self.should_exit = True
        else:
            self.ready.set()

    async def main_loop(self) -> None:
        while not (self.stopping.is_set() or self.should_exit):
            await self.on_tick(0)  # the date of the answers
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self.stopping.wait()


def listening(port: int) -> socket.socket:
    """Returns a socket that listens on a port, 0: on any free one. Raises OSError."""
    # With the protocol named: only then asyncio turns Nagle's algorithm off, which would cost 40 ms an answer.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        bound.bind((HOST, port))
        bound.listen(1024)
    except BaseException:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


class StartError(Exception):
    """A service did not start; the log says why."""


class Site:
    """A service that is served by uvicorn, in the running event loop.

    Args:
        app: the service.
        listener: the socket that it listens on; it is closed with the site.
        lifespan: whether the service is told of its start and its end.
    """

    def __init__(self, app: Any, listener: socket.socket, *, lifespan: bool = False) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="httptools",
                ws="none",
                lifespan="on" if lifespan else "off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,  # longer than clients keep theirs, or they would send into a closing connection
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._serving = asyncio.create_task(self._server.serve([listener]))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    async def ready(self) -> None:
        """Waits until it serves. Raises StartError where it does not."""
        waiting = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait([waiting, self._serving], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done() or self._server.should_exit:
            waiting.cancel()
            self._listener.close()
            raise StartError(f"the service on {self.url} did not start")

    async def stop(self) -> None:
        """Takes no more connections, lets requests in flight end, and closes."""
        self._server.stopping.set()
        await self._serving
