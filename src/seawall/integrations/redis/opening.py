"""Stores on Redis by URL."""

from __future__ import annotations

from typing import Any

import redis

from seawall.durable.store import StoreError
from seawall.integrations.redis.store import OpenedRedisStore


def open_url(url: str, **options: Any) -> OpenedRedisStore:
    """Returns the store that a URL names, on a sync client of its own; it serves async code on worker threads.

    Args:
        url: `redis://host:6379/0`, `rediss://` for TLS, `unix://path`.
        **options: of `redis.Redis.from_url`; `prefix` is that of `RedisStore`.

    Raises:
        StoreError: the URL is wrong.
        TypeError: an option that there is not.
    """
    prefix = options.pop("prefix", "seawall:")
    try:
        client = redis.Redis.from_url(url, **options)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # options that there are not are told here, and not in use
    except ValueError as error:
        raise StoreError(f"this is no address of a Redis server: {error}") from None
    return OpenedRedisStore(client, prefix=prefix)
