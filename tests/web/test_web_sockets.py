"""WebSockets: the id on the handshake, 1011 after an exception, refusals in the format (operate 2.2)."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException, WebSocketException
from starlette.websockets import WebSocket, WebSocketDisconnect

from seawall import CircuitOpenError, correlation_id
from seawall.web import ForbiddenError, Seawall
from tests.web.by_hand import Wire, websocket_scope
from tests.web.services import DSN, SECRET
from tests.web.serving import ID, lines_of

CONNECT = {"type": "websocket.connect"}
ID_HEADER = (b"x-correlation-id", b"socket-7")


def fastapi_app(behaviour: Callable[[WebSocket], Any]) -> FastAPI:
    """Returns an application with one WebSocket."""
    app = FastAPI(openapi_url=None)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await behaviour(websocket)

    @app.websocket("/numbers")
    async def numbers(websocket: WebSocket, number: int) -> None: ...

    return app


def connect(app: Any, *told: dict[str, Any], path: str = "/ws", denial: bool = True, **options: Any) -> Wire:
    """Opens a WebSocket, tells it these messages, and returns what was said."""

    async def main() -> Wire:
        wire = Wire(CONNECT, *told)
        options.setdefault("environment", "production")
        scope = websocket_scope(path, ID_HEADER, denial=denial)
        await Seawall(app, **options)(scope, wire.receive, wire.send)
        return wire

    return asyncio.run(main())


def refusal_of(wire: Wire, status: int, code: str) -> dict[str, Any]:
    """Returns the error with which a handshake was refused."""
    assert ["websocket.http.response.start", "websocket.http.response.body"] == wire.types
    assert (status, [b"socket-7"]) == (wire.said[0]["status"], wire.header(b"x-correlation-id"))
    error: dict[str, Any] = json.loads(wire.said[1]["body"])["error"]
    assert (code, "socket-7") == (error["code"], error["correlationId"])
    return error


def test_a_conversation_passes_with_the_id_on_its_handshake() -> None:
    """The accept carries it exactly once; messages pass as they are, and the handler sees the id."""

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-correlation-id", b"mine"), (b"x-own", b"yes")], subprotocol="v1")
        await websocket.send_text(f"{correlation_id()} {await websocket.receive_text()}")
        await websocket.close(4000, "done")

    wire = connect(fastapi_app(echo), {"type": "websocket.receive", "text": "hello"})
    assert ["websocket.accept", "websocket.send", "websocket.close"] == wire.types
    assert ([b"socket-7"], [b"yes"]) == (wire.header(b"x-correlation-id"), wire.header(b"x-own"))
    assert ("v1", "socket-7 hello") == (wire.said[0]["subprotocol"], wire.said[1]["text"])
    assert (4000, "done") == (wire.said[2]["code"], wire.said[2]["reason"])


def test_an_id_is_made_for_a_handshake_without() -> None:
    """As for requests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})

    async def main() -> Wire:
        wire = Wire(CONNECT)
        await Seawall(app)(websocket_scope(), wire.receive, wire.send)
        return wire

    (made,) = asyncio.run(main()).header(b"x-correlation-id")
    assert ID.fullmatch(made.decode())


@pytest.mark.parametrize("error", [RuntimeError(DSN), CircuitOpenError("bank", 3.0), HTTPException(409, DSN)])
def test_an_exception_closes_with_1011(error: Exception, caplog: Any) -> None:
    """The reason is the code of the error; it is logged once, under the id."""

    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        raise error

    with caplog.at_level(logging.INFO):
        wire = connect(fastapi_app(fail))
    assert ["websocket.accept", "websocket.close"] == wire.types
    assert 1011 == wire.said[1]["code"]
    assert wire.said[1]["reason"].isupper()
    (line,) = lines_of(caplog, least=logging.INFO)
    assert "WEBSOCKET /ws -> " in line
    assert "[socket-7] in an open WebSocket" in line
    assert SECRET not in f"{wire.said} {line}"


def test_an_exception_before_the_handshake_refuses_it(caplog: Any) -> None:
    """With the status of the error and the format, where the server can send one."""

    async def fail(websocket: WebSocket) -> None:
        raise RuntimeError(DSN)

    refusal_of(connect(fastapi_app(fail)), 500, "INTERNAL_ERROR")
    (line,) = lines_of(caplog)
    assert "Traceback" in line

    async def forbid(websocket: WebSocket) -> None:
        raise ForbiddenError("Not yours.")

    assert "Not yours." == refusal_of(connect(fastapi_app(forbid)), 403, "FORBIDDEN")["message"]

    async def unauthorized(websocket: WebSocket) -> None:
        raise HTTPException(401, "Who?")

    assert "Who?" == refusal_of(connect(fastapi_app(unauthorized)), 401, "UNAUTHORIZED")["message"]


def test_a_server_that_cannot_send_a_refusal_is_asked_to_close() -> None:
    """Then it answers the handshake with a bare 403."""

    async def fail(websocket: WebSocket) -> None:
        raise RuntimeError(DSN)

    wire = connect(fastapi_app(fail), denial=False)
    assert [{"type": "websocket.close", "code": 1008, "reason": "INTERNAL_ERROR"}] == wire.said


def test_a_handshake_that_is_not_valid_is_refused_without_what_was_submitted() -> None:
    """FastAPI would close with a list of pydantic's errors, input included, as the reason."""

    async def main() -> Wire:
        wire = Wire(CONNECT)
        scope = websocket_scope("/numbers", ID_HEADER, query_string=b"number=" + SECRET.encode())
        await Seawall(fastapi_app(lambda _: None))(scope, wire.receive, wire.send)
        return wire

    wire = asyncio.run(main())
    error = refusal_of(wire, 400, "VALIDATION_ERROR")
    assert ["query.number"] == [detail["field"] for detail in error["details"]]
    assert SECRET not in str(wire.said)


@pytest.mark.parametrize("path", ["/ws", "/nowhere"])
def test_a_close_before_the_handshake_is_a_403_in_the_format(path: str, caplog: Any) -> None:
    """That is what a server would make of it, only without the id."""

    async def close(websocket: WebSocket) -> None:
        raise WebSocketException(4003, "no")

    refusal_of(connect(fastapi_app(close), path=path), 403, "FORBIDDEN")
    assert [] == lines_of(caplog)


def test_a_refusal_by_hand_is_replaced_too() -> None:
    """An application of no framework refuses with a response of its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"nothing here"})

    refusal_of(connect(app), 404, "NOT_FOUND")


def test_an_application_that_does_not_answer_the_handshake_is_answered_for(caplog: Any) -> None:
    """Returning is a bug there."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    refusal_of(connect(app), 500, "INTERNAL_ERROR")
    assert 1 == len(lines_of(caplog))


def test_a_client_that_hangs_up_is_no_error(caplog: Any) -> None:
    """Most WebSockets end so; uncaught, it is not even worth a line."""

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    caplog.set_level(logging.INFO)
    wire = connect(fastapi_app(listen), {"type": "websocket.disconnect", "code": 1001})
    assert ["websocket.accept"] == wire.types
    assert [] == lines_of(caplog, least=logging.INFO)


def test_a_send_to_a_client_that_is_gone_is_no_error(caplog: Any) -> None:
    """Starlette says WebSocketDisconnect of it, others pass on what the server raised."""

    async def main(app: Any) -> list[str]:
        wire = Wire(CONNECT)

        async def send(message: Any) -> None:
            await wire.send(message)
            wire.broken = True

        await Seawall(app)(websocket_scope("/ws"), wire.receive, send)
        return wire.types

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("anybody?")

    async def by_hand(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "anybody?"})

    assert [["websocket.accept"]] * 2 == [asyncio.run(main(app)) for app in (fastapi_app(talk), by_hand)]
    assert [] == lines_of(caplog)


def test_a_bug_after_the_hang_up_is_one(caplog: Any) -> None:
    """It is logged, and nothing is sent any more."""

    async def clean_up(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            raise KeyError("a bug") from None

    wire = connect(fastapi_app(clean_up), {"type": "websocket.disconnect", "code": 1001})
    assert ["websocket.accept"] == wire.types
    assert 1 == len(lines_of(caplog))


def test_an_exception_after_the_close_is_logged_alone(caplog: Any) -> None:
    """There is nothing left to close."""

    async def fail(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        raise RuntimeError(DSN)

    assert ["websocket.accept", "websocket.close"] == connect(fastapi_app(fail)).types
    assert 1 == len(lines_of(caplog))


def test_messages_pass_one_by_one() -> None:
    """Each is out before the next one is made."""
    seen: list[int] = []

    async def main() -> None:
        wire = Wire(CONNECT)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            for number in range(3):
                await send({"type": "websocket.send", "text": str(number)})
                seen.append(len(wire.said))
            await send({"type": "websocket.close", "code": 1000})

        await Seawall(app)(websocket_scope(), wire.receive, wire.send)

    asyncio.run(main())
    assert [2, 3, 4] == seen
