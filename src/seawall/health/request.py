"""One HTTP request, of whose answer the head is enough, within a time that bounds all of it.

`http.client` bounds each read and not all of them: whoever sends a byte a second would hold a thread for hours.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

PORTS: Final = {"http": 80, "https": 443}
_LONGEST_HEAD: Final = 1 << 16
_STATUS_LINE: Final = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")


class Reply(NamedTuple):
    """What was answered: the status, and where it leads."""

    status: int
    location: str | None


def ask(url: str, method: str, headers: Mapping[str, str], end: float, tls: ssl.SSLContext | None) -> Reply:
    """Sends one request and reads the head of its answer, no longer than until `end`, by `time.monotonic`.

    Raises OSError, its TimeoutError and its ConnectionError where there is none. Only the look-up of the host's name,
    which the system bounds, may take longer.
    """
    import http.client  # 15 ms at import, for those who check a URL

    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(host, parts.port or PORTS[parts.scheme])
    try:
        connection.sock = _connect(host, connection.port, end)
        if parts.scheme == "https":
            connection.sock.settimeout(_left(end))
            connection.sock = (tls or _trusting_as_usual()).wrap_socket(connection.sock, server_hostname=host)
        connection.sock.settimeout(_left(end))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc.rpartition("@")[2])
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Connection", "close")
        connection.endheaders()
        return _read(connection.sock, end)
    finally:
        connection.close()


@lru_cache(maxsize=1)
def _trusting_as_usual() -> ssl.SSLContext:
    """Returns the context of all checks that were given none: to read the certificates takes 20 ms."""
    return ssl.create_default_context()


def _connect(host: str, port: int, end: float) -> socket.socket:
    """Connects to one of a host's addresses; each one gets its part of the time that is left."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = ConnectionError("the host has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(end) / (len(found) - number))
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    try:
        raise failure
    finally:
        del failure  # no cycle of error, traceback and frame


def _read(sock: socket.socket, end: float) -> Reply:
    """Reads the head of an answer, past those that only announce one (1xx)."""
    head = b""
    while True:
        while b"\n\n" not in head:
            sock.settimeout(_left(end))
            more = sock.recv(4096)
            if not more:
                raise ConnectionError("the connection was closed without an answer")
            head = (head + more).replace(b"\r\n", b"\n")
            if len(head) > _LONGEST_HEAD:
                raise ConnectionError("the answer begins with too many headers")
        first, _, head = head.partition(b"\n\n")
        lines = first.decode("latin-1").split("\n")
        spoken = _STATUS_LINE.match(lines[0])
        if spoken is None:
            raise ConnectionError("the answer is no HTTP/1")
        if int(spoken[1]) >= 200:
            fields = [line.split(":", 1) for line in lines[1:] if ":" in line]
            found = [value.strip() for name, value in fields if name.lower() == "location"]
            return Reply(int(spoken[1]), found[0] if found else None)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left
