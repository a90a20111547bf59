"""The server that breaks: plain HTTP/1.1 on asyncio, a process of its own, failing by the script.

It prints one JSON object a line: where it listens, each phase as it begins, and, when it stops, how many requests of
each caller reached it in each phase. `start` on its standard input starts the script; the end of its standard input,
SIGTERM or SIGINT stops it, so it never outlives the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import struct
import sys
from collections import Counter

from examples.demo.script import Phase, Script

HOST = "127.0.0.1"
PORTS = range(20_000, 30_000)  # below the ports that outgoing connections use: nobody takes ours during the outage
REASONS = {"200": "OK", "500": "Internal Server Error", "503": "Service Unavailable"}
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: closing sends a reset


class Server:
    """Answers every GET with a price, or fails as the phase wants it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.phase: Phase | None = None  # None until the script starts: all is well, nothing is counted
        self.reached: dict[str, Counter[str]] = {}
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._idle: set[asyncio.StreamWriter] = set()

    async def come_up(self) -> None:
        """Listens: on a free port the first time, on the same one afterwards."""
        bound = _bound(self.port)
        self.port = bound.getsockname()[1]
        self._listener = await asyncio.start_server(self._serve, sock=bound)

    def go_down(self) -> None:
        """Stops to listen and drops every connection, except those of answers that hang: they go on hanging."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._idle:
            writer.transport.abort()

    async def play(self) -> None:
        """Runs the script, from now on."""
        start = asyncio.get_running_loop().time()
        for begins, phase in self.script.timeline():
            await asyncio.sleep(start + begins - asyncio.get_running_loop().time())
            if "down" in phase.faults:
                self.go_down()
            elif self._listener is None:
                await self.come_up()
            self.phase = phase
            tell(phase=phase.name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._idle.add(writer)
        try:
            while self._listener is not None:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head.decode("latin-1"), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller has gone, or the server stops
        finally:
            self._idle.discard(writer)
            writer.transport.abort()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        phase, number = self.phase, self._count(_caller(head))
        fault = self.script.fault(phase, number) if phase else None
        if fault == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            raise ConnectionResetError
        if fault == "stall":
            self._idle.discard(writer)
            await asyncio.sleep(self.script.stall)
            self._idle.add(writer)
        elif phase:
            await asyncio.sleep(self.script.work(phase, number))
        writer.write(_response(fault if fault in REASONS else "200", number))
        await writer.drain()

    def _count(self, caller: str) -> int:
        if self.phase is None:
            return 0
        counts = self.reached.setdefault(caller, Counter())
        counts[self.phase.name] += 1
        return counts[self.phase.name]


def tell(**facts: object) -> None:
    """Tells the parent, if it is still there."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        pass


def _bound(port: int) -> socket.socket:
    """Returns a socket bound to a port; 0: to any free one of ours."""
    for candidate in [port] * 20 if port else random.sample(PORTS, 200):
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, candidate))
            return bound
        except OSError:
            bound.close()
    raise SystemExit(f"no free port on {HOST} in {PORTS.start}-{PORTS.stop - 1}")


def _caller(head: str) -> str:
    """Returns who sent a request, by its X-Caller header."""
    for line in head.splitlines()[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "x-caller":
            return value.strip()
    return "unknown"


def _response(status: str, number: int) -> bytes:
    body = json.dumps({"cents": 1000 + number}) if status == "200" else ""
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


async def obey(server: Server) -> None:
    """Does as the parent says, until it says no more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    playing = None
    while line := await reader.readline():
        if line.strip() == b"start" and playing is None:
            playing = asyncio.create_task(server.play())
    if playing is not None:
        playing.cancel()


async def main(script: Script) -> None:
    """Serves until told to stop, then reports."""
    server = Server(script)
    await server.come_up()
    obeying = asyncio.create_task(obey(server))
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, obeying.cancel)
    tell(listening=server.port)
    await asyncio.wait([obeying])
    server.go_down()
    tell(reached=server.reached)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The server of the demo; started by it.")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(main(Script(arguments.seconds, arguments.seed)))
