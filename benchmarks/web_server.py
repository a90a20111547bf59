"""`python -m benchmarks.web_server seawall`: a FastAPI application in uvicorn, as a contender wraps it.

It prints its port, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any


def application() -> Any:
    """Returns the application: one route with a parameter, which returns JSON."""
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, Any]:
        return {"itemId": item_id, "name": "breakwater stone", "price": 12.5, "inStock": True}

    return app


def seawall(app: Any) -> Any:
    from seawall.web import Seawall

    return Seawall(app, deadline=30.0)


def correlation_id(app: Any) -> Any:
    """The most used middleware for the smallest part of it."""
    from asgi_correlation_id import CorrelationIdMiddleware

    return CorrelationIdMiddleware(app, header_name="X-Correlation-Id")


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "bare": lambda app: app,
    "seawall": seawall,
    "asgi-correlation-id (ids alone)": correlation_id,
}


async def serve(app: Any) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(listener.getsockname()[1], flush=True)

    class Ending(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            server.should_exit = True

    # With the protocol named: only then asyncio turns Nagle's algorithm off, which would cost 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = Server(
        uvicorn.Config(app, http="httptools", loop="asyncio", ws="none", log_config=None, timeout_keep_alive=600)
    )
    await asyncio.get_running_loop().connect_read_pipe(Ending, sys.stdin)
    await server.serve([listener])


if __name__ == "__main__":
    try:
        wrapped = WRAPPED[sys.argv[1]](application())
        import httptools as httptools
        import uvicorn as uvicorn
    except ImportError as error:
        print(f"not installed ({error.name or error})")
    else:
        asyncio.run(serve(wrapped))
