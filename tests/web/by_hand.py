"""A server by hand, for what no real one can be made to do at a given moment."""

import asyncio
from typing import Any

from seawall.testing import FakeClock


def http_scope(path: str = "/", method: str = "GET", *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    """Returns the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        **more,
    }


def websocket_scope(path: str = "/", *headers: tuple[bytes, bytes], denial: bool = True, **more: Any) -> dict[str, Any]:
    """Returns the scope of a WebSocket, of a server that can refuse one with a response or cannot."""
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if denial else {},
        **more,
    }


class Wire:
    """The server's end: what the application will be told, and what it has said."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for message in told:
            self.told.put_nowait(message)
        self.said: list[dict[str, Any]] = []
        self.broken = False

    async def receive(self) -> dict[str, Any]:
        """Hands on the next message, once there is one."""
        return await self.told.get()

    async def send(self, message: Any) -> None:
        """Takes a message, unless the client is gone."""
        if self.broken:
            raise ClientGoneError
        self.said.append(dict(message))

    @property
    def types(self) -> list[str]:
        """The types of what was said."""
        return [message["type"] for message in self.said]

    def header(self, name: bytes, number: int = 0) -> list[bytes]:
        """The values of a header in one of the messages."""
        return [value for key, value in self.said[number]["headers"] if key.lower() == name]


class ClientGoneError(OSError):
    """What a server raises when there is nobody to send to any more."""


def request(app: Any, scope: dict[str, Any] | None = None) -> Wire:
    """Makes one request without a body; returns what came of it."""

    async def main() -> Wire:
        wire = Wire({"type": "http.request", "body": b"", "more_body": False})
        await app(scope or http_scope(), wire.receive, wire.send)
        return wire

    return asyncio.run(main())


def on_fake_time(main: Any) -> Any:
    """Runs a coroutine function with a fake clock."""
    with FakeClock() as clock:
        return asyncio.run(main(clock))
