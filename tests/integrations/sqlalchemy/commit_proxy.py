"""A proxy in front of PostgreSQL that strikes at the worst moment: when it sees a COMMIT."""

import contextlib
import re
import socket
import threading
from typing import Literal

from tests.health.stand_in import StandIn, drain, reset

COMMIT = re.compile(rb"COMMIT(?!TED)")
"""The command, and not an isolation level."""
Strike = Literal["mute", "cut", "lost", "swallow", "late"]


class CommitProxy(StandIn):
    """Passes everything on, until a COMMIT comes while a strike is planned; others pass, on other connections too.

    `mute`: the COMMIT is passed on, and nothing comes back. `cut`: it is passed on and answered, and the client is
    reset instead of told. `lost`: it is not passed on; client and server are reset. `swallow`: it is not passed on,
    and nobody is told. `late`: the client is reset, and it is passed on when `deliver` is called.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.commits = 0
        self.delivery = threading.Event()
        self._planned: list[Strike] = []
        super().__init__(self._pass_on)

    def plan(self, *strikes: Strike) -> None:
        """Plans what the next commits meet."""
        self._planned = list(strikes)

    def deliver(self) -> None:
        """Lets go of a COMMIT that is late."""
        self.delivery.set()

    def close(self) -> None:
        """Lets go of everything."""
        self.deliver()
        super().close()

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            back = _Back(server, client)
            back.start()
            try:
                while data := client.recv(65536):
                    if COMMIT.search(data):
                        self.commits += 1
                        if self._planned:
                            self._strike(self._planned.pop(0), data, client, server, back)
                            return
                    server.sendall(data)
            finally:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                back.join()

    def _strike(self, strike: Strike, data: bytes, client: socket.socket, server: socket.socket, back: "_Back") -> None:
        back.silent = True
        if strike == "lost":
            reset(client)
        elif strike == "swallow":
            drain(client)
        elif strike == "late":
            reset(client)
            self.delivery.wait(30)
            server.sendall(data)
            back.answered.wait(30)
        else:
            server.sendall(data)
            back.answered.wait(30)
            if strike == "cut":
                reset(client)
            else:
                drain(client)


class _Back(threading.Thread):
    """Passes on what the server says, until it is to be silent."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self.server, self.client = server, client
        self.silent = False
        self.answered = threading.Event()

    def run(self) -> None:
        """Goes on until the server has ended."""
        try:
            while data := self.server.recv(65536):
                if self.silent:
                    self.answered.set()
                else:
                    self.client.sendall(data)
        except OSError:
            pass
        self.answered.set()
        if not self.silent:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_RDWR)
