"""What the user registered with a framework for exceptions of their own stays."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi.exceptions import RequestValidationError
from starlette.responses import PlainTextResponse, Response

from seawall import CircuitOpenError, SeawallError
from seawall.web import NotFoundError, Seawall
from tests.web.in_process import ask, failing, orders
from tests.web.services import DSN, MappedError
from tests.web.serving import error_of, lines_of


def own(status: int) -> Any:
    """A handler in plain text, as the frameworks' pages show it."""

    async def handler(request: Any, error: Any) -> Response:
        return PlainTextResponse(f"own {type(error).__name__}", status_code=status)

    return handler


@pytest.mark.parametrize("kind", [MappedError, SeawallError, CircuitOpenError, TimeoutError])
def test_a_handler_for_a_class_wins(kind: type[Exception]) -> None:
    """Before the map, and before what seawall registers for its own errors."""
    app = failing(kind("x"))
    app.add_exception_handler(kind, own(409))
    response = ask(app, "/")
    assert (409, f"own {kind.__name__}") == (response.status_code, response.text)
    assert 1 == len(response.headers.get_list("x-correlation-id"))


def test_a_handler_for_a_status_wins() -> None:
    """As for 404 pages."""
    app = failing(NotFoundError())
    app.add_exception_handler(404, own(404))
    assert "own HTTPException" == ask(app, "/nowhere").text
    error_of(ask(app, "/"), 404, "NOT_FOUND")


@pytest.mark.parametrize("kind", [500, Exception])
def test_a_handler_for_everything_wins_for_what_is_not_mapped(kind: Any, caplog: Any) -> None:
    """The failure is still logged once; seawall's own errors and the mapped ones are answered in the format."""
    app = failing(RuntimeError(DSN))
    app.add_exception_handler(kind, own(500))
    assert "own RuntimeError" == ask(app, "/").text
    (line,) = lines_of(caplog)
    assert "RuntimeError" in line

    group = failing(ExceptionGroup("both", [CircuitOpenError("bank"), KeyError(DSN)]))
    group.add_exception_handler(kind, own(500))
    assert "own ExceptionGroup" == ask(group, "/").text

    rejected = failing(CircuitOpenError("bank"))
    rejected.add_exception_handler(kind, own(500))
    error_of(ask(rejected, "/"), 503, "CIRCUIT_OPEN")


def test_a_handler_that_is_registered_later_wins() -> None:
    """Until the first request, the last word counts."""
    app = failing(CircuitOpenError("bank"))
    wrapped = Seawall(app)
    app.add_exception_handler(SeawallError, own(418))

    async def main() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=wrapped)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    assert "own CircuitOpenError" == asyncio.run(main()).text


def test_a_validation_handler_of_the_users_stays() -> None:
    """Only FastAPI's own is replaced."""
    app = orders()
    app.add_exception_handler(RequestValidationError, own(422))
    assert "own RequestValidationError" == ask(app, "/orders", "POST", json={}).text
