"""A check of a Redis server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Unpack

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from seawall._core import arguments
from seawall.health.check import Check, CheckOptions

TIMEOUT: Final = 3.0
_NOT_OURS: Final = ("maint_notifications", "orig_")  # settings that belong to the pool they are in


def redis_check(client: Any, *, name: str = "redis", **options: Unpack[CheckOptions]) -> Check:
    """Returns a check that sends PING, within 3 seconds.

    The client's own budget does not hold here: with redis-py's defaults one PING to a silent server takes a minute. An
    async client is asked on its own pool, and cancelled when the time is up, in the middle of its retries. A sync
    client cannot be: for it the check keeps one connection, with the client's settings, no retries and its own
    time-outs; of a cluster or a Sentinel pool it asks the client itself, whose time-outs then hold.

    Args:
        client: `redis.Redis`, `redis.asyncio.Redis`, or a cluster client of either. An async one must belong to the
            monitor's event loop.
        name: default "redis".
        **options: see `Check`; `timeout` is 3 seconds unless it says else.
    """
    if not callable(getattr(client, "ping", None)):
        raise TypeError(f"client={client!r} is no client; use redis.Redis() or redis.asyncio.Redis()")
    given = options.get("timeout")
    options["timeout"] = limit = TIMEOUT if given is None else arguments.seconds("timeout", given)
    if hasattr(client, "aclose"):

        async def alook() -> None:
            await client.ping()

        return Check(name, alook, **options)
    return Check(name, _look(client, limit), **options)


def _look(client: Any, limit: float) -> Callable[[], None]:
    asked: list[Any] = []

    def look() -> None:
        if not asked:
            asked.append(_own(client, limit))
        asked[0].ping()

    return look


def _own(client: Any, limit: float) -> Any:
    """Returns a client with one connection, like the given one's but for the time it takes."""
    pool: Any = getattr(client, "connection_pool", None)
    if type(pool) not in (redis.ConnectionPool, redis.BlockingConnectionPool):
        return client
    settings = {key: value for key, value in pool.connection_kwargs.items() if not key.startswith(_NOT_OURS)}
    settings.update(retry=Retry(NoBackoff(), 0), retry_on_error=[], socket_timeout=limit, socket_connect_timeout=limit)
    own = redis.ConnectionPool(connection_class=pool.connection_class, max_connections=1, **settings)
    return redis.Redis(connection_pool=own)
