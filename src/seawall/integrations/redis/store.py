"""A store on a Redis server, for claims, locks and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from redis.exceptions import NoScriptError, RedisError

from seawall._core.events import brief
from seawall.durable.script import Executor, Script
from seawall.durable.store import CLAIMS, StoreError, Wakening, require
from seawall.integrations.redis.verbs import Request, request_of

T = TypeVar("T")

RAW: Final = {"NEVER_DECODE": True}
"""Results are bytes, whatever the client makes of answers elsewhere."""


class RedisStore(Wakening):
    """Keeps claims, locks and counters in Redis: the store of `Idempotency`, `Lock` and `Counter`.

    What Redis forgets is forgotten here: set `maxmemory-policy noeviction`, so that a full server refuses instead of
    dropping claims, and `appendonly yes`. Replication is asynchronous: after a failover the new server may not know a
    claim or a lock that the old one has confirmed, and the operation may be executed a second time. Nothing commits
    together with an effect: use a store on SQL for what must happen once in a database.

    Args:
        client: `redis.Redis`, which serves sync code, and async code on worker threads; or `redis.asyncio.Redis`, which
            serves async code in its event loop. It is the user's, and is closed by nobody else.
        prefix: what all keys begin with; default "seawall:".

    Every use raises StoreError where the server cannot be reached or refuses.
    """

    def __init__(self, client: Any, *, prefix: str = "seawall:") -> None:
        super().__init__()
        if not callable(getattr(client, "execute_command", None)):
            raise TypeError(f"client={client!r} is no client; use redis.Redis() or redis.asyncio.Redis()")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix={prefix!r} is not a text; use one such as 'seawall:'")
        self._client = client
        self._prefix = prefix
        self._is_async = hasattr(client, "aclose")
        self.name = _name_of(client)
        self.capabilities = frozenset((CLAIMS,))

    def __repr__(self) -> str:
        return f"RedisStore({self.name})"

    def run(self, script: Callable[[], Script[T]]) -> T:
        """Asks one thing of the server: a verb of claims, locks or counters."""
        request = self._request(script)
        if self._is_async:
            raise StoreError(
                f"{self.name} has an async client, and this call is not; use the async form (acall, async with), or a "
                "store on redis.Redis()"
            )
        try:
            try:
                answer = self._client.execute_command(*request.command(), **RAW)
            except NoScriptError:
                answer = self._client.execute_command(*request.whole(), **RAW)
        except RedisError as error:
            self._refuse(error)
        return request.read(answer)  # type: ignore[no-any-return]

    async def arun(self, script: Callable[[], Script[T]]) -> T:
        """As `run`."""
        if not self._is_async:
            return await asyncio.get_running_loop().run_in_executor(None, self.run, script)
        request = self._request(script)
        try:
            try:
                answer = await self._client.execute_command(*request.command(), **RAW)
            except NoScriptError:
                answer = await self._client.execute_command(*request.whole(), **RAW)
        except RedisError as error:
            self._refuse(error)
        return request.read(answer)  # type: ignore[no-any-return]

    def on(self, session: Any) -> Executor:
        """Refuses: no effect of the user's can be part of it."""
        raise StoreError(f"{self.name} has no transactions that an effect could share; use a store on SQL")

    def after(self, session: Any, channel: str) -> None:
        """Refuses, as `on`."""
        self.on(session)

    def _request(self, script: Any) -> Request:
        request = request_of(script, self._prefix)
        if request is None:
            require(self, "records", f"{type(script).__name__}")
            raise StoreError(f"{self.name} holds claims, locks and counters alone")
        return request

    def _refuse(self, error: RedisError) -> NoReturn:
        raise StoreError(f"{self.name}: {brief(error)}") from error


class OpenedRedisStore(RedisStore):
    """A store with a client of its own; made by `open_store`."""

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    async def aclose(self) -> None:
        """As `close`."""
        self.close()


def _name_of(client: Any) -> str:
    """Returns the address of a client's server, without user and password."""
    settings = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    if "path" in settings:
        return f"unix://{settings['path']}"
    if "host" not in settings:
        return f"redis ({type(client).__name__})"
    return f"redis://{settings['host']}:{settings.get('port', 6379)}/{settings.get('db') or 0}"
