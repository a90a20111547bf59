"""Work for somebody who may go away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def while_present(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns what `work` returns; cancels it when the client of `request`, whose body was read, goes away.

    Raises ClientDisconnect then, for which there is nobody to be answered.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working, leaving])
            await _close_late(working)


async def _close_late(working: asyncio.Task[Any]) -> None:
    """Closes a result that came when nobody waited for it any more: a stream, say."""
    if not working.cancelled() and working.exception() is None:
        aclose = getattr(working.result(), "aclose", None)
        if aclose is not None:
            await aclose()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
