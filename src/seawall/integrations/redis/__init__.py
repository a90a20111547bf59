"""Redis, clients sync and async: whether the server answers."""

from seawall.integrations.redis.health import redis_check

__all__ = ["redis_check"]
