"""The proxy where things are not as they should be: clients that leave, servers and ports that are not there."""

import asyncio
import socket
from typing import Any

import pytest

from seawall.chaos import Proxy
from seawall.chaos.connection import RESETS
from seawall.chaos.proxy import PORTS
from tests.chaos.test_tcp_proxy import HOST, Upstream, check, closed, connected, still_silent


def test_a_port_that_refuses_is_kept() -> None:
    """Nobody else gets it meanwhile, and it is none that outgoing connections are given."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        assert proxy.port in PORTS
        await proxy.strike("refuse")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, proxy.port))

    check(scene)


def test_a_client_that_resets_is_forgotten() -> None:
    """Its connection to the server is reset too, and others go on."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        _, other = await connected(proxy)
        _, writer = await connected(proxy)
        upstream.came.clear()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        writer.transport.abort()
        await upstream.came.wait()
        assert [ConnectionResetError] == upstream.lost
        await closed(other)

    check(scene)


def test_a_client_that_left_while_its_bytes_were_held_back_is_heard_all_the_same() -> None:
    """As in a network that has lost its way for a while: what was sent arrives, and so does the end after it."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        _, writer = await connected(proxy)
        upstream.got.clear()
        await proxy.strike("stall")
        writer.write(b"late")
        await closed(writer)
        upstream.came.clear()
        await proxy.lift()
        await upstream.came.wait()
        assert b"late" == upstream.got

    check(scene)


def test_a_server_that_is_not_there_resets_the_client() -> None:
    """The proxy goes on, and later connections reach a server that has come up."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        with socket.socket() as nobody:
            nobody.bind((HOST, 0))
            async with Proxy(HOST, nobody.getsockname()[1]) as lonely:
                reader, writer = await asyncio.open_connection(HOST, lonely.port)
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                await closed(writer)
                nobody.listen()
                reader, writer = await asyncio.open_connection(HOST, lonely.port)
                assert await still_silent(reader)
                await closed(writer)

    check(scene)


def test_a_chosen_port_is_used() -> None:
    """And one that is taken is an OSError, with nothing left open."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        async with Proxy(HOST, upstream.port) as first:
            _, writer = await connected(first)
            await closed(writer)
        async with Proxy(HOST, upstream.port, first.port) as second:
            assert first.port == second.port
            _, writer = await connected(second)
            await closed(writer)
            with pytest.raises(OSError, match="in use"):
                await Proxy(HOST, upstream.port, first.port).__aenter__()

    check(scene)


@pytest.mark.parametrize(
    ("strike", "text"),
    [
        ({"kind": "burn"}, "kind='burn' is unknown; use one of 'refuse', 'reset', 'stall', 'mute', 'latency'"),
        ({"kind": "latency"}, "seconds=None says no delay; use strike('latency', seconds=0.5)"),
        ({"kind": "latency", "seconds": 0}, "seconds=0 is out of range; use a duration above 0"),
        ({"kind": "mute", "seconds": 1}, "seconds=1 means nothing for 'mute'; use it with 'latency' only"),
    ],
)
def test_a_strike_that_makes_no_sense_is_refused(strike: Any, text: str) -> None:
    """With the argument, its value, and what would be right; what was on stays on."""

    async def scene(proxy: Proxy, upstream: Upstream) -> None:
        await proxy.strike("mute")
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is a parameter)
            await proxy.strike(**strike)
        assert text in str(caught.value)
        assert "mute" == proxy.fault

    check(scene)


@pytest.mark.parametrize(("upstream", "port"), [(0, 0), (80, -1), (70_000, 0), (80, 70_000)])
def test_a_port_that_is_none_is_refused(upstream: int, port: int) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=r"port=-?\d+ is (too small|no port); use a whole number"):
        Proxy(HOST, upstream, port)
