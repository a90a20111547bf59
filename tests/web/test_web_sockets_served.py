"""WebSockets through a real server and a real client."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from seawall import correlation_id
from seawall.web import ForbiddenError, Seawall
from tests.web.services import DSN, SECRET
from tests.web.serving import PATIENCE, lines_of, served, wait_for

HEADERS = {"X-Correlation-Id": "socket-7"}


async def talk(websocket: WebSocket) -> None:
    """Says its id, then fails as soon as it is spoken to."""
    await websocket.accept()
    await websocket.send_text(str(correlation_id()))
    await websocket.receive_text()
    raise RuntimeError(DSN)


async def forbid(websocket: WebSocket) -> None:
    """Lets nobody in."""
    raise ForbiddenError("Not yours.")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a server with WebSockets."""
    routes = [WebSocketRoute("/talk", talk), WebSocketRoute("/forbid", forbid)]
    with served(Seawall(Starlette(routes=routes), environment="production"), ws="websockets-sansio") as client:
        yield str(client.base_url.copy_with(scheme="ws"))


def opened(url: str) -> Any:
    """Opens a WebSocket."""
    return connect(url, additional_headers=HEADERS, open_timeout=PATIENCE, proxy=None)


def test_an_exception_closes_with_1011_and_is_logged_once(url: str, caplog: Any) -> None:
    """The client learns the code of the error, the log all the rest."""

    async def main() -> tuple[ClientConnection, Any]:
        async with opened(f"{url}/talk") as socket:
            assert "socket-7" == await socket.recv()
            await socket.send("fail")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            return socket, closed.value.rcvd

    socket, close = asyncio.run(main())
    assert ["socket-7"] == socket.response.headers.get_all("x-correlation-id")  # type: ignore[union-attr]
    assert (1011, "INTERNAL_ERROR") == (close.code, close.reason)
    wait_for(lambda: lines_of(caplog))
    (line,) = lines_of(caplog)
    assert SECRET not in line
    assert [] == lines_of(caplog, "uvicorn.error")


@pytest.mark.parametrize(("path", "message"), [("forbid", "Not yours."), ("nowhere", "You may not do this.")])
def test_a_refused_handshake_has_the_format(url: str, path: str, message: str, caplog: Any) -> None:
    """Status, id and body, as for any request."""

    async def main() -> Any:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(f"{url}/{path}"):
                pass
        return refused.value.response

    response = asyncio.run(main())
    assert (403, ["socket-7"]) == (response.status_code, response.headers.get_all("x-correlation-id"))
    error = json.loads(response.body)["error"]
    assert ("FORBIDDEN", message, "socket-7") == (error["code"], error["message"], error["correlationId"])
    wait_for(
        lambda: lines_of(caplog, "uvicorn.error")
    )  # uvicorn's own word on it, which must not come to the next test


def test_a_client_that_vanishes_is_no_error(url: str, caplog: Any) -> None:
    """The connection is cut without a close."""

    async def main() -> None:
        async with opened(f"{url}/talk") as socket:
            await socket.recv()
            socket.transport.abort()

    asyncio.run(main())
    assert 404 == httpx2.get(url.replace("ws:", "http:") + "/after").status_code
    assert [] == lines_of(caplog)
    assert [] == lines_of(caplog, "uvicorn.error")
