"""Redis: every command is on the disk before it is answered."""

import re
import socket

from tests.servers.needs import program
from tests.servers.process import Server

LASTING = ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"]


class Redis(Server):
    """A Redis server; `DEBUG` and `CLIENT PAUSE` work.

    Args:
        *settings: of the server, such as `--requirepass`, `SECRET`.
    """

    name = "redis"

    def __init__(self, *settings: str) -> None:
        self._program = program(self.name)
        super().__init__()
        self._settings = settings

    @property
    def url(self) -> str:
        """Its URL; a password that it was given is not in it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Returns what runs."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [self._program, *place, *LASTING, *self._settings]

    def ask(self, command: str) -> str:
        """Sends one command; returns the answer as it comes. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(f"{command}\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        return answer.decode()

    def answers(self) -> bool:
        """Whether it answers; not while it reads its data. A wrong password is an answer."""
        try:
            return self.ask("PING").startswith(("+PONG", "-NOAUTH"))
        except OSError:
            return False

    def clients(self) -> int:
        """Returns how many connections it has, its own question not counted."""
        return len(re.findall(r"\bcmd=(?!client)", self.ask("CLIENT LIST")))

    def flush(self) -> None:
        """Removes all data."""
        assert self.ask("FLUSHALL") == "+OK\r\n"
