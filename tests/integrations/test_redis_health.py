"""The check of Redis: a real server behind a stand-in that fails in every way, clients sync and async."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

redis = pytest.importorskip("redis", reason="NO redis-py: pip install 'redis>=8'")

import redis.asyncio  # noqa: E402, F811

from seawall.health import Monitor  # noqa: E402
from seawall.integrations.redis import redis_check  # noqa: E402
from tests.health.monitors import Found, FoundOnThread, monitor, until  # noqa: E402
from tests.health.stand_in import Mode, Proxy  # noqa: E402
from tests.servers import Redis, needs  # noqa: E402

KINDS = [redis.Redis, redis.asyncio.Redis]
FAILURES = [mode for mode in get_args(Mode) if mode != "pass"]


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """A Redis server that asks for a password."""
    needs("redis")
    with Redis("--requirepass", "SECRET") as server:
        yield server


@pytest.fixture
def proxy(server: Redis) -> Iterator[Proxy]:
    """What stands in front of it."""
    with Proxy(server.port) as proxy:
        yield proxy


@asynccontextmanager
async def client_of(kind: Any, port: int, **options: Any) -> AsyncIterator[Any]:
    """A client with the library's own defaults: retries, and 5 s for each of them."""
    client = kind(host="127.0.0.1", port=port, password="SECRET", **options)
    yield client
    closed = client.aclose() if kind is redis.asyncio.Redis else client.close()
    if closed is not None:
        await closed


def watch(client: Any) -> Monitor:
    """A monitor of the server, quick."""
    return monitor(redis_check(client, tags=["ready"], timeout=0.2), period=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_answers(proxy: Proxy, kind: Any) -> None:
    """Healthy, run after run on one connection, with the client's password."""

    async def run() -> None:
        async with client_of(kind, proxy.port) as client:
            check = redis_check(client)
            assert ("redis", 3.0, False) == (check.name, check.timeout, check.local)
            async with monitor(check, period=0.005) as watching:
                await until(lambda: watching.report().checks[0].runs > 20)
                assert ("healthy", 0) == (watching.report().status, watching.report().checks[0].bad_runs)
        assert 1 == proxy.accepted

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", FAILURES)
def test_a_server_that_goes_away_and_comes_back(proxy: Proxy, kind: Any, mode: Mode) -> None:
    """A failure within the check's own time, not the minute that the client would take; then healthy at once."""

    async def run() -> None:
        async with client_of(kind, proxy.port) as client, watch(client) as watching:
            await until(lambda: watching.report().status == "healthy")
            began = time.monotonic()
            proxy.fail(mode)
            await until(lambda: watching.answer("ready").status_code == 503)
            await until(lambda: watching.report().checks[0].bad_in_a_row >= 3)
            assert time.monotonic() - began < 3.0
            proxy.fail("pass")
            await until(lambda: watching.answer("ready").status_code == 200)
            assert "SECRET" not in json.dumps(watching.answer(details=True))
            watching.stop()
            await until(lambda: len(client.connection_pool._in_use_connections) == 0)

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_stopped_and_goes_on(server: Redis, kind: Any) -> None:
    """A process that hangs (SIGSTOP) and goes on later is a failure, and healthy again, on whichever connection."""

    async def run() -> None:
        async with client_of(kind, server.port) as client, watch(client) as watching:
            await until(lambda: watching.report().status == "healthy")
            server.silence()
            try:
                await until(lambda: watching.report().checks[0].bad_in_a_row >= 3)
            finally:
                server.wake()
            await until(lambda: watching.report().status == "healthy")

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_refuses_the_password(server: Redis, kind: Any) -> None:
    """It answers, and not us: a failure, without the password that was tried."""

    async def run() -> None:
        async with client_of(kind, server.port) as client:
            client.connection_pool.connection_kwargs["password"] = "WRONG"
            async with watch(client) as watching:
                await watching.arefresh()
                shown = json.dumps(watching.answer(details=True))
                assert ("unhealthy", False, False) == (watching.report().status, "WRONG" in shown, "SECRET" in shown)
                assert kind is redis.asyncio.Redis or "AuthenticationError" in shown  # the async one is still retrying

    asyncio.run(run())


def test_the_check_leaves_the_pool_of_a_sync_client_alone(proxy: Proxy) -> None:
    """It has one connection of its own, so that no other caller waits for a PING to a silent server."""

    async def run() -> None:
        async with client_of(redis.Redis, proxy.port, max_connections=1) as client, watch(client) as watching:
            await until(lambda: watching.report().status == "healthy")
            assert 0 == len(client.connection_pool._available_connections)
            assert await asyncio.to_thread(client.ping)

    asyncio.run(run())


def test_other_clients_are_asked_themselves() -> None:
    """A cluster client, or anything else that can PING, sync or async."""

    class Cluster:
        ping = FoundOnThread(True, ConnectionError("CLUSTERDOWN"))

    class AsyncCluster:
        ping = Found(True, ConnectionError("CLUSTERDOWN"))

        async def aclose(self) -> None:
            """Marks it as async."""

    async def run(client: Any) -> list[str]:
        async with monitor(redis_check(client), period=0.02) as watching:
            seen = []
            for status in ("healthy", "unhealthy"):
                await until(lambda status=status: watching.report().status == status)
                seen.append(watching.report().checks[0].description)
            return seen

    for kind in (Cluster, AsyncCluster):
        assert ["", "ConnectionError: CLUSTERDOWN"] == asyncio.run(run(kind()))


def test_what_is_no_client_is_refused() -> None:
    """A URL is not what the check needs, nor a time that is none."""
    with pytest.raises(TypeError, match="is no client"):
        redis_check("redis://localhost")
    with pytest.raises(ValueError, match="timeout=0 is out of range"):
        redis_check(redis.Redis(), timeout=0)
