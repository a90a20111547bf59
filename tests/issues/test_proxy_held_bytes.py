"""A proxy that went from "mute" or "stall" to "refuse" or "reset" let the bytes that it held back pass first."""

import asyncio
import socket
from contextlib import suppress
from typing import Literal

import pytest

from seawall.chaos import Proxy


@pytest.mark.parametrize("first", ["mute", "stall"])
@pytest.mark.parametrize("then", ["refuse", "reset"])
def test_what_is_held_back_goes_with_its_connection(
    first: Literal["mute", "stall"], then: Literal["refuse", "reset"]
) -> None:
    """Neither the answer that a muted server gave nor the question that a stalled one never had comes through."""
    reached: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            reached.append(await reader.readline())
            writer.write(b"answer\n")
            await reader.read()
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await proxy.strike(first)
            writer.write(b"question\n")
            for _ in range(400):  # until the question has come as far as it gets
                if reached:
                    break
                await asyncio.sleep(0.005 if first == "mute" else 0.0001)
            await proxy.strike(then)
            got = b""
            with suppress(ConnectionResetError):
                got = await reader.read()
            writer.close()
            return got

    assert b"" == asyncio.run(main())
    assert [b"question\n"] * (first == "mute") == [line for line in reached if line]


def test_connections_are_known_to_be_tcp() -> None:
    """asyncio switches Nagle's algorithm off only where a socket says its protocol; with it, answers take 40 ms."""

    async def main() -> int:
        async with Proxy("127.0.0.1", 9) as proxy:
            return proxy._listener.proto

    assert socket.IPPROTO_TCP == asyncio.run(main())
