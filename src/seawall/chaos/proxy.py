"""A TCP proxy that breaks connections on purpose."""

from __future__ import annotations

import asyncio
import random
import socket
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias, get_args

from seawall._core import arguments
from seawall.chaos.connection import Connection, Gate

Kind: TypeAlias = Literal["refuse", "reset", "stall", "mute", "latency"]
"""What a proxy can do to connections; see `Proxy.strike`."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
HOST: Final = "127.0.0.1"
PORTS: Final = range(20_000, 30_000)
"""Below the ports that outgoing connections use, so that nobody is given ours while it refuses."""
BACKLOG: Final = 1024


class Proxy:
    """Passes bytes between its clients and a server, until a fault strikes.

    `async with` starts it, on 127.0.0.1, and has ended every task and socket of it at the end of the block. Bytes keep
    their order and are never lost or changed on a connection that lives; a slow reader slows the other side down; the
    end of one direction (half-close) is passed on. A connection whose server cannot be reached is reset.

    Args:
        upstream_host, upstream_port: where the server listens.
        port: where the proxy listens; default 0: a free port that is kept, also while the proxy refuses.
    """

    def __init__(self, upstream_host: str, upstream_port: int, port: int = 0) -> None:
        self._upstream = (upstream_host, _port("upstream_port", upstream_port, least=1))
        self.port = _port("port", port, least=0)
        self.fault: Kind | None = None
        """What is done to connections now."""
        self._to_server, self._to_client = Gate(), Gate()
        self._tasks: set[asyncio.Task[None]] = set()  # one for each connection
        self._listener: socket.socket
        self._loop: asyncio.AbstractEventLoop
        self._pause: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._listener = _bound(self.port)
        self.port = self._listener.getsockname()[1]
        self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deafen()
        self._listener.close()
        await self._drop_all()

    async def strike(self, kind: Kind, *, seconds: float | None = None) -> None:
        """Begins a fault, in place of one that is on. It acts on live connections too.

        Args:
            kind: "refuse": the port refuses connections, live ones are reset; "reset": live connections are reset, new
                ones when their first bytes arrive; "stall": what clients send does not reach the server; "mute": what
                clients send reaches the server, but nothing comes back; "latency": what clients send reaches the server
                `seconds` later.
            seconds: the delay of "latency", above 0; for nothing else.

        Raises:
            ValueError: the kind is unknown, or `seconds` does not belong to it.
        """
        arguments.choice("kind", kind, KINDS)
        delay = _delay(kind, seconds)
        before, self.fault = self.fault, kind
        if kind == "refuse" and before != "refuse":
            self._refuse()
        elif before == "refuse" and kind != "refuse":
            self._listen()
        if kind in ("refuse", "reset"):
            await self._drop_all()  # before the gates open: what they hold back goes with its connections
        self._to_server.set(held=kind == "stall", delay=delay)
        self._to_client.set(held=kind == "mute")

    async def lift(self) -> None:
        """Ends the fault that is on; without one, does nothing. Returns at once.

        What was held back flows on connections that are alive.
        """
        if self.fault == "refuse":
            self._listen()
        self.fault = None
        self._to_server.set()
        self._to_client.set()

    def _listen(self) -> None:
        self._listener.listen(BACKLOG)
        self._hear()

    def _refuse(self) -> None:
        """Gives up listening, not the port: one that is bound and does not listen refuses, and nobody else gets it."""
        self._deafen()
        self._listener.close()  # resets what waits to be accepted
        self._listener = _bound(self.port)

    def _hear(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _deafen(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return
        except OSError:  # too many open files, as a rule: some may have been closed in a moment
            self._deafen()
            self._pause = self._loop.call_later(0.1, self._hear)
            return
        client.setblocking(False)
        connection = Connection(client, self._to_server, self._to_client, lambda: self.fault == "reset")
        task = self._loop.create_task(connection.run(*self._upstream))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._gone(done, client))

    def _gone(self, task: asyncio.Task[None], client: socket.socket) -> None:
        self._tasks.discard(task)
        client.close()  # of a connection that was dropped before its task had begun, too

    async def _drop_all(self) -> None:
        """Resets every connection, and waits until they are gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _port(argument: str, value: int, *, least: int) -> int:
    if arguments.whole(argument, value, least=least) > 65_535:
        raise ValueError(f"{argument}={value!r} is no port; use a whole number from {least} to 65535")
    return value


def _delay(kind: Kind, seconds: float | None) -> float:
    if kind == "latency":
        if seconds is None:
            raise ValueError("seconds=None says no delay; use strike('latency', seconds=0.5)")
        return arguments.seconds("seconds", seconds)
    if seconds is not None:
        raise ValueError(f"seconds={seconds!r} means nothing for {kind!r}; use it with 'latency' only")
    return 0.0


def _bound(port: int) -> socket.socket:
    """Returns a socket that is bound to a port and does not listen yet; 0: to a free one of PORTS."""
    if port:
        return _bind(port, again=True)
    for candidate in random.sample(PORTS, 200):
        try:
            return _bind(candidate, again=False)
        except OSError:
            continue
    raise OSError(f"no free port on {HOST} in {PORTS.start}-{PORTS.stop - 1}")


def _bind(port: int, *, again: bool) -> socket.socket:
    """Binds to a port: `again`, in spite of connections that are over, or only where nobody else has it bound."""
    # The protocol is said since asyncio switches Nagle's algorithm off (40 ms an answer) only where it reads TCP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, again)
        bound.bind((HOST, port))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    except BaseException:
        bound.close()
        raise
    return bound
