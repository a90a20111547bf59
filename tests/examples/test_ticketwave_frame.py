"""What surrounds every request in TicketWave: correlation id, deadline, the shape of errors, the description."""

import asyncio
import logging
import re

import httpx2
import pytest
from fastapi import FastAPI

from examples.ticketwave import problems
from examples.ticketwave.frame import Frame
from seawall import correlation_id, remaining
from tests.examples.ticketwave import shop, wish

NEW = r"[0-9a-f]{32}"


def test_a_correlation_id_is_taken_returned_and_sent_on() -> None:
    """From the customer through the booking service to the provider, and back on every answer, errors too."""

    async def test() -> None:
        async with shop() as (system, customer):
            mine = {"X-Correlation-Id": "Order.17_a-b"}
            answers = [
                await customer.get("/api/events", headers=mine),
                await customer.post("/api/bookings", json=wish(), headers=mine),
                await customer.post("/api/bookings", json={}, headers=mine),
                await customer.get("/api/bookings/b-0", headers=mine),
                await customer.get("/nowhere", headers=mine),
                await customer.delete("/api/events", headers=mine),
                await customer.get("/api/events", headers={**mine, "X-Request-Timeout": "soon"}),
                await customer.get("/api/events?page=9", headers={**mine, "X-Request-Timeout": "0"}),
            ]
            assert [200, 201, 400, 404, 404, 405, 400, 503] == [answer.status_code for answer in answers]
            assert {"Order.17_a-b"} == {answer.headers["X-Correlation-Id"] for answer in answers}
            bodies = [answer.json() for answer in answers]
            assert {"Order.17_a-b"} == {body["error"]["correlationId"] for body in bodies if "error" in body}
            assert [("payment-order-1", "Order.17_a-b")] == list(system.providers["stripe"].asked)

    asyncio.run(test())


def test_a_correlation_id_is_made_where_there_is_none_of_use() -> None:
    """None, too long, or with what could forge a line of a log: a new one, other each time."""

    async def test() -> None:
        async with shop() as (_, customer):
            given: list[dict[str, str]] = [
                {},
                *({"X-Correlation-Id": each} for each in ("", "a b", "x" * 129, "a;b")),
            ]
            made = [
                (await customer.get("/api/bookings/b-0", headers=each)).headers["X-Correlation-Id"] for each in given
            ]
            assert [True] * 5 == [re.fullmatch(NEW, each) is not None for each in made]
            assert 5 == len(set(made))

    asyncio.run(test())


def app_that(endpoint: object) -> Frame:
    """Return a framed application with one endpoint."""
    app = FastAPI()
    problems.install(app)
    app.add_api_route("/", endpoint)  # type: ignore[arg-type]
    return Frame(app, "test")


async def ask(app: Frame, **headers: str) -> httpx2.Response:
    """Send a request to an application."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_mistake_of_ours_is_a_500_that_tells_nothing() -> None:
    """In the shape of all errors, with the correlation id under which it can be found."""

    async def faulty() -> None:
        raise RuntimeError("a secret")

    response = asyncio.run(ask(app_that(faulty), X_Correlation_Id="mine"))
    error = response.json()["error"]

    assert (500, "INTERNAL_ERROR", "mine", []) == (
        response.status_code,
        error["code"],
        error["correlationId"],
        error["details"],
    )
    assert {"code", "message", "timestamp", "correlationId", "details"} == set(error)
    assert "secret" not in response.text


def test_a_request_runs_under_the_callers_deadline() -> None:
    """So does everything below; without one, under none here."""

    async def left() -> float:
        return min(remaining() or 0.0, 1e6)

    app = app_that(left)

    assert 29.0 < float(asyncio.run(ask(app, X_Request_Timeout="30")).text) <= 30.0
    assert 1e6 == float(asyncio.run(ask(app)).text)
    assert 1e6 == float(asyncio.run(ask(app, X_Request_Timeout="1e300")).text)


@pytest.mark.parametrize("given", ["-1", "nan", "inf", "1s", "", "1,5"])
def test_a_deadline_that_makes_no_sense_is_the_callers_error(given: str) -> None:
    """400 with an example, before anything runs."""

    async def never() -> None:
        raise AssertionError

    error = asyncio.run(ask(app_that(never), X_Request_Timeout=given)).json()["error"]

    assert ("VALIDATION_ERROR", True) == (error["code"], "such as 2.5" in error["message"])


def test_requests_are_logged_with_what_became_of_them(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, with the service, the status and how long it took, while their correlation id is at hand."""

    class Ids(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(correlation_id())
            return True

    async def fine() -> str:
        return "fine"

    seen: list[str | None] = []
    caplog.handler.addFilter(ids := Ids())
    with caplog.at_level(logging.DEBUG, "ticketwave"):
        asyncio.run(ask(app_that(fine), X_Correlation_Id="mine"))
    caplog.handler.removeFilter(ids)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ticketwave"]

    assert re.fullmatch(r"test: GET / 200, \d+ ms", line)
    assert "mine" in seen


def test_the_interface_is_described() -> None:
    """/openapi.json of the gateway names every path, header, error and field."""

    async def test() -> None:
        async with shop() as (_, customer):
            described = (await customer.get("/openapi.json")).json()
        paths = described["paths"]
        assert {"/api/events", "/api/bookings", "/api/bookings/{booking_id}"} == set(paths)
        booked = paths["/api/bookings"]["post"]
        assert {"201", "400", "404", "409", "422", "429", "503", "504", "default"} == set(booked["responses"])
        assert {"Idempotency-Key", "X-Correlation-Id", "X-Request-Timeout"} == {
            each["name"].title() for each in booked["parameters"]
        }
        assert {"200", "400", "503", "default"} == set(paths["/api/events"]["get"]["responses"])
        listed = described["components"]["schemas"]["EventList"]["properties"]
        assert {"events", "page", "pageSize", "total", "isFromCache", "isFallback"} == set(listed)

    asyncio.run(test())
