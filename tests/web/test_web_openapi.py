"""FastAPI's `/openapi.json`: it says of invalid requests what is answered to them."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tests.web.in_process import Order, client_of

INVALID = {"lines": 7}


class Own(BaseModel):
    """A model of the application's own."""

    why: str


def shop(**options: Any) -> FastAPI:
    """Returns an application whose document FastAPI would get wrong."""
    app = FastAPI(**options)

    @app.post("/orders")
    async def order(order: Order, limit: int = 1) -> None: ...

    @app.get("/")
    async def home() -> str:
        return "home"

    return app


def asked(app: FastAPI, path: str, method: str, body: Any = None, **options: Any) -> httpx2.Response:
    """Makes one request through the wrapper."""

    async def main() -> httpx2.Response:
        async with client_of(app, **options) as client:
            return await client.request(method, path, json=body)

    return asyncio.run(main())


def document_of(app: FastAPI, **options: Any) -> dict[str, Any]:
    """Returns what `/openapi.json` says through the wrapper."""
    found = asked(app, "/openapi.json", "GET", **options).json()
    assert isinstance(found, dict)
    return found


def schema_at(document: dict[str, Any], path: str, status: str) -> Any:
    """Returns the schema of what a POST is answered with."""
    schema = document["paths"][path]["post"]["responses"][status]["content"]["application/json"]["schema"]
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def fits(said: Any, schema: dict[str, Any]) -> bool:
    """Whether a value has the types and the required members that a schema says; no others but `exception`."""
    match schema["type"]:
        case "object":
            members = schema["properties"]
            return (
                isinstance(said, dict)
                and set(schema["required"]) <= set(said) <= {*members, "exception"}
                and all(fits(said[name], members[name]) for name in members)
            )
        case "array":
            return isinstance(said, list) and all(fits(each, schema["items"]) for each in said)
        case kind:
            return kind == "string" and isinstance(said, str)


def test_422_is_400_with_our_schema() -> None:
    """As the endpoint really answers; FastAPI's schemas are gone, everything else is as it was."""
    document, answer = document_of(shop()), asked(shop(), "/orders", "POST", INVALID)

    assert (400, True) == (answer.status_code, fits(answer.json(), schema_at(document, "/orders", "400")))
    assert {"200", "400"} == set(document["paths"]["/orders"]["post"]["responses"])
    assert {"200"} == set(document["paths"]["/"]["get"]["responses"])
    assert {"ErrorResponse", "Order", "Line"} == set(document["components"]["schemas"])
    original = shop().openapi()
    for described in (original, document):
        described["paths"]["/orders"]["post"].pop("responses")
        described.pop("components")
    assert original == document


def test_it_says_what_the_map_says() -> None:
    """Who answers invalid requests with another status has that in the document."""
    options: dict[str, Any] = {"status_map": {RequestValidationError: (422, "INVALID", "Not so.")}}
    document = document_of(shop(), **options)
    assert 422 == asked(shop(), "/orders", "POST", INVALID, **options).status_code
    assert "Not so." == document["paths"]["/orders"]["post"]["responses"]["422"]["description"]
    assert "ErrorResponse" == schema_at(document, "/orders", "422")["title"]


def test_what_the_application_says_itself_stays() -> None:
    """Its own 422 and 400, its own schema of our name, its own `openapi`, its own handler of invalid requests."""
    app = shop()

    class ErrorResponse(BaseModel):
        mine: str

    @app.post("/own", responses={422: {"model": Own}, 400: {"model": ErrorResponse}})
    async def own(order: Order) -> None: ...

    @app.post("/both", responses={400: {"model": ErrorResponse}})
    async def both(order: Order) -> None: ...

    describe = app.openapi

    def titled() -> dict[str, Any]:
        document = describe()
        document["info"]["title"] = "Mine"
        return document

    app.openapi = titled  # type: ignore[method-assign]
    document = document_of(app)
    assert ("Mine", "Own") == (document["info"]["title"], schema_at(document, "/own", "422")["title"])
    for path, statuses in (("/own", {"200", "400", "422"}), ("/both", {"200", "400"})):
        assert (statuses, {"mine"}) == (
            set(document["paths"][path]["post"]["responses"]),
            set(schema_at(document, path, "400")["properties"]),
        )
    assert {"error"} == set(schema_at(document, "/orders", "400")["properties"])

    handled = shop()

    @handled.exception_handler(RequestValidationError)
    async def theirs(request: Any, error: Any) -> JSONResponse:
        return JSONResponse({}, 422)

    assert shop().openapi() == document_of(handled)
    assert 422 == asked(handled, "/orders", "POST", INVALID).status_code


@pytest.mark.parametrize("times", [1, 3])
def test_it_is_the_same_every_time(times: int) -> None:
    """FastAPI makes its document once; asked again, or wrapped twice, it says the same."""
    app = shop()
    first = document_of(app)
    for _ in range(times):
        assert first == document_of(app)


def test_an_application_that_is_mounted() -> None:
    """Has a document of its own, which is right too."""
    app, inner = shop(), shop()
    app.mount("/inner", inner)
    assert {"200", "400"} == set(
        asked(app, "/inner/openapi.json", "GET").json()["paths"]["/orders"]["post"]["responses"]
    )


def test_one_without_a_document() -> None:
    """Stays without."""
    assert 404 == asked(shop(openapi_url=None), "/openapi.json", "GET").status_code
