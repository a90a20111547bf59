"""A real HTTP/1.1 server that misbehaves on demand: raw sockets in a thread of its own, no HTTP library.

`server.play("/path", answer(503), reset())` scripts a path: one behaviour a request, the last one for ever; a path that
was not scripted gives a plain good answer. `server.seen("/path")` lists the requests that came, `server.open` counts
connections.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
PATIENCE = 10.0  # real seconds after which what hangs is given up


class Seen(NamedTuple):
    """A request as it came. Header names are in lower case; `connection` counts from 1."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Line:
    """One connection, as a behaviour sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self.request = Seen("", "", {}, b"", number)

    async def send(self, data: bytes) -> None:
        """Sends bytes now."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, headers: Any = (), *, length: int | None = None) -> None:
        """Sends a head; `length` is what it claims."""
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in _pairs(headers))]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def gone(self) -> None:
        """Waits until the other side has closed, for as long as that takes."""
        while await self.reader.read(1 << 16):
            pass

    def reset(self) -> None:
        """Ends the connection with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read_request(self) -> Seen | None:
        """Returns the next request; None where there is none."""
        try:
            first, *rest = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, target, _ = first.split()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        self.request = Seen(method, target, headers, body, self.number)
        return self.request


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, dict) else headers


Behaviour = Callable[[Line], Coroutine[Any, Any, bool | None]]
"""What is done with a request; returns False where the connection is to be closed afterwards."""


class Server:
    """A server on a port of its own. `root` is its address."""

    def __init__(self, thread: ServerThread) -> None:
        self._thread = thread
        self._scripts: dict[str, list[Behaviour]] = {}
        self._seen: list[Seen] = []
        self._lines: set[Line] = set()
        self.connections = 0
        self.listening = thread.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self.listening.sockets[0].getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"

    def play(self, path: str, *behaviours: Behaviour) -> str:
        """Scripts a path anew. Returns the path."""
        self._scripts[path] = list(behaviours)
        return path

    def seen(self, path: str | None = None) -> list[Seen]:
        """Returns the requests to a path, or to any, that were sent until now."""
        self._thread.run(_idle())
        return [request for request in self._seen if path is None or request.path == path]

    def hits(self, path: str | None = None) -> int:
        """Returns how many requests came to a path, or to any."""
        return len(self.seen(path))

    @property
    def open(self) -> int:
        """How many connections are open."""
        self._thread.run(_idle())
        return len(self._lines)

    def until_open(self, number: int) -> None:
        """Waits until so many connections are open."""
        for _ in range(int(PATIENCE / 0.002)):
            if number == self.open:
                return
            threading.Event().wait(0.002)
        raise AssertionError(f"{self.open} connections are open; there should be {number}")

    def pause(self) -> None:
        """Refuses connections, and ends those that there are."""
        self._thread.run(self._aclose())

    def resume(self) -> None:
        """Listens again, on the same port."""
        self.listening = self._thread.run(asyncio.start_server(self._serve, "127.0.0.1", self.port))

    async def _aclose(self) -> None:
        await _idle()
        self.listening.close()
        for line in list(self._lines):
            line.writer.transport.abort()
        while self._lines:  # noqa: ASYNC110 - each takes itself out at its end
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(reader, writer, self.connections)
        self._lines.add(line)
        try:
            while (request := await line.read_request()) is not None:
                self._seen.append(request)
                if await self._next(request.path)(line) is False:
                    break
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass  # the other side has gone, maybe within a request
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._lines.discard(line)

    def _next(self, path: str) -> Behaviour:
        script = self._scripts.get(path)
        if not script:
            return answer()
        return script.pop(0) if len(script) > 1 else script[0]


async def _idle() -> None:
    """Lets the server work off what is in its sockets already."""
    for _ in range(20):
        await asyncio.sleep(0)


class ServerThread:
    """An event loop in a thread, for servers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="misbehaving servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something in the loop and returns what it gives."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(PATIENCE)

    def close(self) -> None:
        """Ends the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def server(self) -> Any:
        """A server for the length of a block."""
        server = Server(self)
        try:
            yield server
        finally:
            server.pause()


def port_of_nobody() -> int:
    """Returns a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answer(
    status: int = 200, body: bytes = b"fine", headers: Any = (), *, length: int | None = None, close: bool = False
) -> Behaviour:
    """A complete answer; `length` is claimed for the body, right unless given; `close` ends the connection after it."""

    async def behave(line: Line) -> bool:
        bodiless = status in (204, 304) or status < 200
        claimed = None if bodiless else len(body) if length is None else length
        await line.head(status, [*_pairs(headers), *([("Connection", "close")] if close else [])], length=claimed)
        if line.request.method != "HEAD" and not bodiless:
            await line.send(body)
        return not close

    return behave


def half(body: bytes = b"half", *, status: int = 200, length: int = 20) -> Behaviour:
    """A body that ends before the length that was claimed."""

    async def behave(line: Line) -> bool:
        await line.head(status, length=length)
        await line.send(body)
        return False

    return behave


def reset(sent: bytes = b"") -> Behaviour:
    """A reset, after what was sent."""

    async def behave(line: Line) -> bool:
        if sent:
            await line.send(sent)
            await asyncio.sleep(0.02)  # a reset overtakes what the other side has not read
        line.reset()
        return False

    return behave


def hang_up() -> Behaviour:
    """Closes without an answer."""

    async def behave(line: Line) -> bool:
        return False

    return behave


def stall(sent: bytes = b"") -> Behaviour:
    """Sends this much of an answer, and nothing more for as long as the other side waits."""

    async def behave(line: Line) -> bool:
        if sent:
            await line.send(sent)
        await line.gone()
        return False

    return behave


def head(status: int = 200, length: int = 20) -> bytes:
    """A head alone, for `stall` and `reset`."""
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n".encode()


def trickle(sent: bytes, byte: bytes = b"x", *, every: float = 0.02, times: int = 250) -> Behaviour:
    """After what was sent, a byte now and then."""

    async def behave(line: Line) -> bool:
        await line.send(sent)
        for _ in range(times):
            await line.send(byte)
            await asyncio.sleep(every)
        return False

    return behave


def chunked(*chunks: bytes, pause: float = 0.0, end: bytes = b"0\r\n\r\n", status: int = 200) -> Behaviour:
    """A chunked stream with a pause before each chunk but the first; another `end` breaks it."""

    async def behave(line: Line) -> bool:
        await line.head(status, {"Transfer-Encoding": "chunked"})
        for number, chunk in enumerate(chunks):
            await asyncio.sleep(pause if number else 0)
            await line.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await line.send(end)
        return end == b"0\r\n\r\n"

    return behave


def redirect(to: str, status: int = 302) -> Behaviour:
    """Sends the caller elsewhere."""
    return answer(status, b"elsewhere", {"Location": to})


def later(seconds: float, then: Behaviour) -> Behaviour:
    """Something else, after a while."""

    async def behave(line: Line) -> bool | None:
        await asyncio.sleep(seconds)
        return await then(line)

    return behave
