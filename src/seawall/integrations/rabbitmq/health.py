"""A check of a RabbitMQ broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Unpack

from aio_pika.abc import AbstractConnection

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall.health.check import Check, CheckOptions
from seawall.health.status import Health

TIMEOUT: Final = 3.0


def rabbitmq_check(
    connection: AbstractConnection | Callable[[], AbstractConnection | None],
    *,
    name: str = "rabbitmq",
    slow_after: Seconds = 1.0,
    **options: Unpack[CheckOptions],
) -> Check:
    """Returns a check that opens a channel on the application's connection and closes it again, within 3 seconds.

    It is degraded where that takes longer than `slow_after`, and fails where the broker does not answer or the
    connection is not there; then it does not wait for it: an aio-pika connection comes back by itself.

    Args:
        connection: the connection of `aio_pika.connect_robust()` or `connect()`, or a function that returns it, or None
            while there is none. It must belong to the monitor's event loop.
        name: default "rabbitmq".
        slow_after: seconds after which an answer is slow; default 1.
        **options: see `Check`; `timeout` is 3 seconds unless it says else.
    """
    options.setdefault("timeout", TIMEOUT)
    limit = arguments.seconds("slow_after", slow_after)
    if not isinstance(connection, AbstractConnection) and not callable(connection):
        raise TypeError(f"connection={connection!r} is no connection; use the one of aio_pika.connect_robust()")

    async def look() -> Health:
        current = connection if isinstance(connection, AbstractConnection) else connection()
        began = time.monotonic()
        await _ask(current)
        took = time.monotonic() - began
        data = {"roundTrip": round(took * 1000, 1)}
        if took > limit:
            return Health.degraded(f"slow: opening a channel took {took:.2f} s", data)
        return Health.healthy("", data)

    return Check(name, look, **options)


async def _ask(connection: AbstractConnection | None) -> None:
    """Opens a channel and closes it: one of the wire, which aio-pika does not restore after a reconnection."""
    if connection is None:
        raise ConnectionError("there is no connection")
    if connection.is_closed:
        raise ConnectionError("the connection is closed")
    transport = connection.transport
    if transport is None or not connection.connected.is_set():
        raise ConnectionError("the connection is lost")
    channel = await transport.connection.channel(publisher_confirms=False)
    await channel.close()
