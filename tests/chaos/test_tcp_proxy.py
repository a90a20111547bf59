"""The proxy over real sockets: every fault on live and on new connections, and nothing that is left behind."""

import asyncio
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from seawall.chaos import Proxy
from seawall.chaos.proxy import Kind

HOST = "127.0.0.1"
SOON = 0.05
"""Seconds for something that must not happen to happen after all."""
LIMIT = 10
"""Seconds after which a test that hangs fails."""
BIG = 32 * 1024 * 1024
"""More bytes than all buffers between the two sides hold."""


class Upstream:
    """A server that echoes what it gets, says "end" at the end, and keeps what it got."""

    def __init__(self) -> None:
        self.port = 0
        self.got = bytearray()
        self.lost: list[type[Exception]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.came = asyncio.Event()
        self.tasks: set[asyncio.Task[Any] | None] = set()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection."""
        self.tasks.add(asyncio.current_task())
        try:
            while True:
                await self.reads.wait()
                data = await reader.read(65_536)
                if not data:
                    break
                self.got += data
                self.came.set()
                writer.write(data)
                await writer.drain()
            writer.write(b"end")
            writer.close()
            await writer.wait_closed()
        except ConnectionError as error:
            self.lost.append(type(error))
            self.came.set()
            writer.transport.abort()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, Upstream]]:
    """Give a proxy in front of a server, and check that its end leaves no task of it behind."""
    upstream, tasks = Upstream(), asyncio.all_tasks()
    server = await asyncio.start_server(upstream.serve, HOST, 0)
    upstream.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(LIMIT):
        try:
            async with Proxy(HOST, upstream.port) as proxy:
                yield proxy, upstream
            assert tasks == asyncio.all_tasks() - upstream.tasks
        finally:
            upstream.reads.set()
            server.close()
            for task in asyncio.all_tasks() & upstream.tasks:  # they see the end of their connections
                await task


async def connected(proxy: Proxy, words: bytes = b"hello") -> tuple[StreamReader, StreamWriter]:
    """Return a connection through a proxy that has passed some words there and back."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(words)
    assert words == await reader.readexactly(len(words))
    return reader, writer


async def closed(writer: StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def still_silent(reader: StreamReader) -> bool:
    """Whether nothing comes for a moment, the end included."""
    try:
        async with asyncio.timeout(SOON):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    return False


def check(scene: Callable[[Proxy, Upstream], Awaitable[None]]) -> None:
    """Play a scene with a proxy and a server; it must leave as many open files as there were."""

    async def main() -> None:
        async with proxied() as (proxy, upstream):
            await scene(proxy, upstream)

    asyncio.run(main())
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    asyncio.run(main())
    assert not before or before == len(os.listdir("/proc/self/fd"))


def test_without_a_fault_it_passes_everything_on() -> None:
    """Many bytes, in order, both ways at once, and on many connections."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        data = os.urandom(1_000_000)

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection(HOST, proxy.port)
            writer.write(data)
            writer.write_eof()
            back = await reader.read()
            await closed(writer)
            return back

        assert [data + b"end"] * 5 == await asyncio.gather(*(exchange() for _ in range(5)))
        assert [] == upstream.lost

    check(scene)


def test_half_close_is_passed_on() -> None:
    """The client ends its side: the server sees the end, and its answer still comes back, with its own end."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        reader, writer = await connected(proxy)
        writer.write_eof()
        assert b"end" == await reader.read()
        await closed(writer)

    check(scene)


def test_a_slow_reader_slows_the_sender_down() -> None:
    """What a server does not read stays with the client, not in the proxy; nothing is lost when it reads on."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        reader, writer = await connected(proxy)
        upstream.reads.clear()
        writer.write(b"y")  # the read that has begun already
        await reader.readexactly(1)
        writer.write(bytes(BIG))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4 * SOON):
                await writer.drain()
        upstream.reads.set()
        assert bytes(BIG) == await reader.readexactly(BIG)
        await closed(writer)

    check(scene)


def test_refuse_drops_live_connections_and_refuses_new_ones() -> None:
    """And when it is lifted, the proxy listens where it did."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        port = proxy.port
        reader, writer = await connected(proxy)
        await proxy.strike("refuse")
        assert "refuse" == proxy.fault
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await closed(writer)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, port)
        await proxy.lift()
        assert (None, port) == (proxy.fault, proxy.port)
        _, writer = await connected(proxy)
        await closed(writer)

    check(scene)


def test_reset_breaks_live_connections_at_once_and_new_ones_at_their_first_bytes() -> None:
    """One that is opened and says nothing lives, and works when the fault is lifted before it speaks."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        reader, writer = await connected(proxy)
        await proxy.strike("reset")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await closed(writer)
        got = bytes(upstream.got)
        talking, talker = await asyncio.open_connection(HOST, proxy.port)
        silent, mouse = await asyncio.open_connection(HOST, proxy.port)
        assert await still_silent(talking)
        talker.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await talking.read()
        await closed(talker)
        assert got == upstream.got
        await proxy.lift()
        mouse.write(b"squeak")
        assert b"squeak" == await silent.readexactly(6)
        await closed(mouse)

    check(scene)


@pytest.mark.parametrize("live", [True, False])
def test_stall_holds_back_what_clients_send(live: bool) -> None:
    """On a live and on a new connection: the server gets nothing until it is lifted, and then all of it, in order."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        connection = await connected(proxy) if live else None
        upstream.got.clear()
        await proxy.strike("stall")
        reader, writer = connection or await asyncio.open_connection(HOST, proxy.port)
        for word in (b"one ", b"two ", b"three"):
            writer.write(word)
            await writer.drain()
        assert await still_silent(reader)
        assert b"" == upstream.got
        await proxy.lift()
        assert b"one two three" == await reader.readexactly(13)
        await closed(writer)

    check(scene)


@pytest.mark.parametrize("live", [True, False])
def test_mute_holds_back_what_the_server_says(live: bool) -> None:
    """On a live and on a new connection: the server gets it all, and nobody hears of it until it is lifted."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        connection = await connected(proxy) if live else None
        upstream.got.clear()
        upstream.came.clear()
        await proxy.strike("mute")
        reader, writer = connection or await asyncio.open_connection(HOST, proxy.port)
        writer.write(b"pay")
        await upstream.came.wait()
        assert b"pay" == upstream.got
        assert await still_silent(reader)
        await proxy.lift()
        assert b"pay" == await reader.readexactly(3)
        await closed(writer)

    check(scene)


@pytest.mark.parametrize("live", [True, False])
def test_latency_delays_what_clients_send(live: bool) -> None:
    """On a live and on a new connection: it arrives that much later, and at once when the fault is lifted."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        connection = await connected(proxy) if live else None
        await proxy.strike("latency", seconds=2 * SOON)
        reader, writer = connection or await asyncio.open_connection(HOST, proxy.port)
        clock = asyncio.get_running_loop().time
        began = clock()
        writer.write(b"ping")
        await reader.readexactly(4)
        assert clock() - began >= 2 * SOON
        await proxy.strike("latency", seconds=3600)
        writer.write(b"pong")
        assert await still_silent(reader)
        await proxy.lift()
        assert b"pong" == await reader.readexactly(4)
        await closed(writer)

    check(scene)


def test_a_delay_does_not_narrow_the_flow() -> None:
    """Chunks are delayed side by side, not one after the other: a hundred of them take one delay, not hundreds."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        await proxy.strike("latency", seconds=LIMIT / 20)
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        for number in range(100):
            writer.write(b"%02d" % number)
            await asyncio.sleep(0)
        assert b"".join(b"%02d" % number for number in range(100)) == await reader.readexactly(200)
        await closed(writer)

    check(scene)


@pytest.mark.parametrize("kind", ["refuse", "reset", "stall", "mute", "latency"])
def test_a_fault_on_another_takes_its_place(kind: Kind) -> None:
    """Whatever was on before, lifting once ends it all; lifting without a fault does nothing."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        for first in ("stall", "refuse", "mute"):
            await proxy.strike(first)
            await proxy.strike(kind, seconds=3600 if kind == "latency" else None)
            assert kind == proxy.fault
            await proxy.lift()
            await proxy.lift()
            _, writer = await connected(proxy)
            await closed(writer)

    check(scene)


@pytest.mark.parametrize("kind", ["refuse", "reset", "stall", "mute", "latency"])
def test_the_end_of_the_block_ends_everything(kind: Kind) -> None:
    """With bytes held back, connections of every age, and one that has just been asked for."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        async with Proxy(HOST, upstream.port) as ending:
            writers = [(await connected(ending))[1]]
            await ending.strike(kind, seconds=3600 if kind == "latency" else None)
            if kind != "refuse":
                writers += [(await asyncio.open_connection(HOST, ending.port))[1] for _ in range(3)]
            for writer in writers:
                writer.write(b"x")
            await asyncio.sleep(0)
        for writer in writers:
            await closed(writer)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, ending.port)

    check(scene)
