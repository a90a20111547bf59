"""A streamed answer on its way to the customer, as server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from examples.llmgateway import sse
from examples.llmgateway.chat import Opened
from examples.llmgateway.wire import ChatDelta, ChatDone, Usage

LOGGER = logging.getLogger("llmgateway")


class EventStream(StreamingResponse):
    """Ends with `event: done` or `event: error`, never without either; and stops the provider when the customer goes.

    Args:
        opened: the answer.
        done: makes the last event out of what the answer took.
    """

    def __init__(self, opened: Opened, done: Callable[[Usage], ChatDone]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), media_type="text/event-stream", headers=headers)
        self._opened, self._done = opened, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        self._scope = scope
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.aclose()  # also where the customer was gone before the first event

    async def aclose(self) -> None:
        """Stops the provider."""
        await self._opened.aclose()

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._opened.pieces():
                if isinstance(piece, Usage):
                    yield sse.written("done", self._done(piece))
                    return
                yield sse.written("delta", ChatDelta(text=piece))
        except Exception as error:
            LOGGER.warning("a stream of %s broke: %s: %s", self._opened.upstream.name, type(error).__name__, error)
            yield sse.error_event(self._scope, error)
