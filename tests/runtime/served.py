"""A small ASGI application whose lifespan starts the runtime, as the web layer does; to be served by uvicorn."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from seawall import Pipeline, Timeout
from seawall._runtime.runtime import Runtime
from seawall.observe import Metrics

RUNTIME = Runtime("fleet")
METRICS = Metrics(RUNTIME)
PIPELINE = Pipeline("fleet", Timeout(10.0))


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answers `/metrics` with the metrics, and anything else with a call."""
    if scope["type"] == "lifespan":
        await receive()
        METRICS.start()
        RUNTIME.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        RUNTIME.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    text = METRICS.render() if scope["path"] == "/metrics" else str(PIPELINE.call(os.getpid))
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
