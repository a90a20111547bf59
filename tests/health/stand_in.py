"""TCP stand-ins for servers: one that answers what it is told, and one in front of a real server that can fail."""

# ruff: noqa: D102 - the classes say it

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Literal, Self

Mode = Literal["pass", "refuse", "silent", "reset"]


class StandIn:
    """A TCP server on a free port of this machine; each connection is handled on a thread of its own."""

    def __init__(self, handle: Callable[[socket.socket], object]) -> None:
        self.handle = handle
        self.accepted = 0
        self.connections: list[socket.socket] = []
        self.listening: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listening.getsockname()[1]
        self._accept_from(self.listening)

    def _accept_from(self, listening: socket.socket) -> None:
        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                self.accepted += 1
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self.handle(connection)
        except OSError:
            pass
        finally:
            if self.handle is not hold:
                connection.close()

    def refuse(self) -> None:
        """Stops listening: who connects is refused."""
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    def listen(self) -> None:
        """Listens on the same port as before."""
        if self.listening is None:
            self.listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
            self._accept_from(self.listening)

    def cut(self) -> None:
        """Resets every connection."""
        connections, self.connections = self.connections, []
        for connection in connections:
            reset(connection)

    def close(self) -> None:
        self.refuse()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Proxy(StandIn):
    """A stand-in that passes everything on to a real server until it is told to fail.

    `refuse`: nobody listens, and what was open is reset; `silent`: connections are accepted, and kept, and nothing is
    ever said on them, nor on those that were open before; `reset`: connections are accepted and reset. Going back to
    `pass` resets those that were silent, as a server does that was away.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.mode: Mode = "pass"
        super().__init__(self._pass_on)

    def fail(self, mode: Mode) -> None:
        """Changes what it does."""
        was, self.mode = self.mode, mode
        if mode == "refuse":
            self.refuse()
        else:
            self.listen()
        if mode in ("refuse", "reset") or was == "silent":
            self.cut()

    def _pass_on(self, connection: socket.socket) -> None:
        if self.mode == "reset":
            reset(connection)
            return
        if self.mode == "silent":
            drain(connection)
            return
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            back = threading.Thread(target=self._pump, args=(server, connection), daemon=True)
            back.start()
            self._pump(connection, server)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.mode == "pass":
                    target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def reset(connection: socket.socket) -> None:
    """Ends a connection with a reset, as a process that dies does."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes who reads from it
    except OSError:
        pass
    connection.close()


def drain(connection: socket.socket) -> None:
    """Reads what comes, and says nothing."""
    while connection.recv(65536):
        pass


def hold(connection: socket.socket) -> None:
    """Accepts a connection and leaves it alone."""


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: Any = sock.getsockname()[1]
        return int(port)
