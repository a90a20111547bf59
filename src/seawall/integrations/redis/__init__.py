"""Redis, clients sync and async: whether the server answers; claims, locks and counters on it."""

from seawall.integrations.redis.health import redis_check
from seawall.integrations.redis.store import RedisStore

__all__ = ["RedisStore", "redis_check"]
