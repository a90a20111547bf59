"""One connection through a proxy: a flow of bytes in each direction, with a gate that it may have to wait at."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

CHUNK: Final = 65_536
MOST_HELD: Final = 4 * CHUNK
"""Bytes of one direction that may wait at a gate; what comes after them is left to the sender."""
RESETS: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 s: closing sends a reset."""
ENDS: Final = struct.pack("ii", 0, 0)
"""No SO_LINGER: closing sends what is left, and then the end."""


class Gate:
    """What holds bytes back, for all connections of a proxy in one direction."""

    def __init__(self) -> None:
        self._held = False
        self._delay = 0.0
        self._changed = asyncio.Event()

    def set(self, *, held: bool = False, delay: float = 0.0) -> None:
        """Holds everything back, or lets pass what arrived `delay` seconds ago."""
        self._held, self._delay = held, delay
        self._changed.set()
        self._changed = asyncio.Event()

    async def passed(self, arrived: float) -> None:
        """Waits until what arrived at an instant of the loop's clock may pass."""
        clock = asyncio.get_running_loop().time
        while self._held or arrived + self._delay > clock():
            left = None if self._held else arrived + self._delay - clock()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()


class Flow:
    """The bytes of one direction. Receiving and delivering are two tasks, so that a delay does not narrow the flow.

    Args:
        reader: where they come from.
        writer: where they go to.
        gate: what may hold them back.
        resets: asked when bytes have arrived: whether to break the connection instead of passing them.
    """

    def __init__(self, reader: StreamReader, writer: StreamWriter, gate: Gate, resets: Callable[[], bool]) -> None:
        self._reader = reader
        self._writer = writer
        self._gate = gate
        self._resets = resets
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._held = 0
        self._room = asyncio.Event()

    async def receive(self) -> None:
        """Takes bytes in until there are no more; the empty chunk stands for the end."""
        clock = asyncio.get_running_loop().time
        chunk = b"..."
        while chunk:
            chunk = await self._reader.read(CHUNK)
            if chunk and self._resets():
                raise ConnectionResetError
            self._chunks.put_nowait((clock(), chunk))
            self._held += len(chunk)
            while self._held >= MOST_HELD:
                self._room.clear()
                await self._room.wait()

    async def deliver(self) -> None:
        """Passes them on, and the end too."""
        while True:
            arrived, chunk = await self._chunks.get()
            await self._gate.passed(arrived)
            if not chunk:
                return self._writer.write_eof()
            self._writer.write(chunk)
            await self._writer.drain()
            self._held -= len(chunk)
            self._room.set()


class Connection:
    """A client's connection, and the one to the server that belongs to it.

    Args:
        client: the accepted socket, which from now on sends a reset when it is closed before its time.
        to_server, to_client: the gates of the two directions.
        resets: asked when bytes of the client have arrived: whether to break the connection.
    """

    def __init__(self, client: socket.socket, to_server: Gate, to_client: Gate, resets: Callable[[], bool]) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self._client = client
        self._to_server = to_server
        self._to_client = to_client
        self._resets = resets
        self._writers: list[StreamWriter] = []

    async def run(self, host: str, port: int) -> None:
        """Passes bytes between the client and a server until both directions have ended.

        When it is cancelled, or either side breaks, both are reset. Either way both sockets are closed at the end.
        """
        try:
            from_client, client = self._known(*await asyncio.open_connection(sock=self._client))
            from_server, server = self._known(*await asyncio.open_connection(host, port))
            there = Flow(from_client, server, self._to_server, self._resets)
            back = Flow(from_server, client, self._to_client, lambda: False)
            async with asyncio.TaskGroup() as tasks:
                for flow in (there, back):
                    tasks.create_task(flow.receive())
                    tasks.create_task(flow.deliver())
            await self._end()
        except* OSError:  # one side is gone, and so is the other then
            pass
        finally:
            for writer in self._writers:
                writer.transport.abort()  # a reset, unless it has ended in order
            await self._closed()
            self._client.close()

    def _known(self, reader: StreamReader, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self._writers.append(writer)
        return reader, writer

    async def _end(self) -> None:
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ENDS)
            writer.close()
        await self._closed()

    async def _closed(self) -> None:
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()
