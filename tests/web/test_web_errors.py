"""Every error leaves in one format, whatever raised it and whatever serves it (E1, operate 10)."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from seawall.web import ErrorAnswered, Seawall
from tests.web.services import FAILURES, SECRET, SERVICES, MappedError
from tests.web.serving import ID, error_of, everything, lines_of, served

ANSWERS: dict[str, tuple[int, str]] = {
    "validation": (400, "VALIDATION_ERROR"),
    "unauthorized": (401, "UNAUTHORIZED"),
    "forbidden": (403, "FORBIDDEN"),
    "not_found": (404, "INVOICE_NOT_FOUND"),
    "conflict": (409, "CONFLICT"),
    "sold_out": (409, "SOLD_OUT"),
    "external": (503, "EXTERNAL_SERVICE_ERROR"),
    "service": (500, "INTERNAL_ERROR"),
    "timeout": (408, "TIMEOUT"),
    "call_timeout": (408, "TIMEOUT"),
    "deadline": (408, "TIMEOUT"),
    "circuit_open": (503, "CIRCUIT_OPEN"),
    "circuit_isolated": (503, "CIRCUIT_OPEN"),
    "bulkhead": (503, "OVERLOADED"),
    "rate_limit": (429, "RATE_LIMITED"),
    "rejected": (503, "SERVICE_UNAVAILABLE"),
    "transport": (503, "EXTERNAL_SERVICE_ERROR"),
    "read_timeout": (503, "EXTERNAL_SERVICE_ERROR"),
    "connection": (503, "EXTERNAL_SERVICE_ERROR"),
    "client_rejection": (503, "CIRCUIT_OPEN"),
    "upstream_502": (503, "EXTERNAL_SERVICE_ERROR"),
    "upstream_404": (500, "INTERNAL_ERROR"),
    "value": (500, "INTERNAL_ERROR"),
    "key": (500, "INTERNAL_ERROR"),
    "unhandled": (500, "INTERNAL_ERROR"),
    "seawall": (500, "INTERNAL_ERROR"),
    "unreadable": (500, "INTERNAL_ERROR"),
    "group": (503, "CIRCUIT_OPEN"),
    "group_with_a_bug": (500, "INTERNAL_ERROR"),
    "mapped": (409, "MY_CODE"),
    "mapped_further": (409, "MY_CODE"),
}


class Service:
    """A wrapped service of one kind, a client for it, and what its listener heard."""

    def __init__(self, kind: str, client: httpx2.Client, heard: list[ErrorAnswered]) -> None:
        self.kind = kind
        self.client = client
        self.heard = heard

    def fail(self, what: str, **headers: str) -> httpx2.Response:
        """Asks for a failure."""
        return self.client.get(f"/raise/{what}", headers=headers)


@pytest.fixture(scope="module", params=SERVICES)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """The service in production, once for each kind."""
    heard: list[Any] = []
    app = Seawall(SERVICES[request.param](), status_map={MappedError: (409, "MY_CODE")}, environment="production")
    app.listen(heard.append)
    with served(app) as client:
        yield Service(request.param, client, heard)


def test_every_failure_has_its_row() -> None:
    """No failure of the service goes untested."""
    assert set(FAILURES) == set(ANSWERS)


@pytest.mark.parametrize("what", ANSWERS)
def test_each_failure_has_its_status_and_code(service: Service, what: str, caplog: Any) -> None:
    """The default map, the user's map and the user's own classes; told once to listeners, and nothing leaks."""
    del service.heard[:]
    status, code = ANSWERS[what]
    response = service.fail(what)
    error = error_of(response, status, code)

    assert SECRET not in everything(response)
    assert "bank" not in everything(response)
    assert ID.fullmatch(error["correlationId"])
    assert "exception" not in error
    route = "" if service.kind == "raw" else "/raise/{what}"
    (event,) = service.heard
    assert (status, code, "GET", route) == (event.status, event.code, event.method, event.route)
    assert (error["correlationId"], "app") == (event.correlation_id, event.name)


@pytest.mark.parametrize("what", ["unhandled", "key", "unreadable", "group_with_a_bug", "upstream_404"])
def test_an_unexpected_failure_is_logged_once(service: Service, what: str, caplog: Any) -> None:
    """With traceback, id, method and route, without the password; and the server does not log it again."""
    error = error_of(service.fail(what), 500, "INTERNAL_ERROR")

    (line,) = lines_of(caplog)
    where = f"/raise/{what}" if service.kind == "raw" else "/raise/{what}"  # the route, where there is one
    assert line.startswith(f"ERROR GET {where} -> 500 INTERNAL_ERROR [{error['correlationId']}]")
    assert "Traceback" in line
    assert "services.py" in line
    assert SECRET not in line
    assert [] == lines_of(caplog, "uvicorn.error")


def test_a_rejection_is_logged_in_one_line(service: Service, caplog: Any) -> None:
    """Which breaker it was stands in the log, without a traceback: there may be very many."""
    service.fail("circuit_open")

    (line,) = lines_of(caplog)
    assert line.endswith("CircuitOpenError: 'bank' is open; try again in 10 s")
    assert line.startswith("WARNING GET ")


def test_a_mistake_of_the_callers_is_logged_as_information(service: Service, caplog: Any) -> None:
    """All errors are logged with context, and 4xx wake nobody up."""
    with caplog.at_level(logging.INFO):
        service.fail("not_found", **{"X-Correlation-Id": "order-17"})
    assert [] == lines_of(caplog)
    (line,) = lines_of(caplog, least=logging.INFO)
    assert line.endswith("-> 404 INVOICE_NOT_FOUND [order-17]")


def test_a_path_cannot_forge_a_line_in_the_log(service: Service, caplog: Any) -> None:
    """Line breaks and control characters of it are written out, passwords in it are not."""
    with caplog.at_level(logging.INFO):
        service.client.get(f"/no%0AERROR%1b[31m?token={SECRET}")
        service.client.get(f"/x/postgres://u:{SECRET}@h/")
    first, second = lines_of(caplog, least=logging.INFO)
    assert r"GET /no\nERROR\x1b[31m -> 404" in first
    assert SECRET not in first + second


def test_an_unknown_path_and_method_have_the_format_too(service: Service) -> None:
    """A router's 404 and 405, with the headers that belong to them."""
    error_of(service.client.get("/nowhere"), 404, "NOT_FOUND")
    refused = service.client.put("/")
    error_of(refused, 405, "METHOD_NOT_ALLOWED")
    assert "GET" in refused.headers["allow"]


def test_details_are_those_of_the_error(service: Service) -> None:
    """Field by field, in the order given; the message is the class's, or the one given."""
    error = error_of(service.fail("validation"), 400, "VALIDATION_ERROR")
    expected = [{"field": "email", "message": "is no address"}, {"field": "items.0", "message": "is missing"}]
    assert expected == error["details"]
    assert [] == error_of(service.fail("conflict"), 409, "CONFLICT")["details"]
    assert "Invoice 7 does not exist." == service.fail("not_found").json()["error"]["message"]
    assert "No tickets are left." == service.fail("sold_out").json()["error"]["message"]


def test_401_names_a_challenge(service: Service) -> None:
    """RFC 9110, section 15.5.2, wants a WWW-Authenticate."""
    assert "Bearer" == service.fail("unauthorized").headers["www-authenticate"]


@pytest.mark.parametrize(
    ("what", "least", "most"),
    [
        ("circuit_open", 10, 13),
        ("client_rejection", 5, 7),
        ("rate_limit", 4, 4.84),
        ("external", 20, 25),
        ("group", 4, 5.8),
        ("bulkhead", 1, 8),
        ("circuit_isolated", 1, 8),
        ("transport", 1, 8),
    ],
)
def test_503_and_429_say_when_to_come_back(service: Service, what: str, least: float, most: float) -> None:
    """Never before the true rest nor after 1.2 times it plus 1 s; spread over 1 to 8 s where it is not known."""
    hint = service.fail(what).headers["retry-after"]
    assert hint.isdigit()
    assert least <= int(hint) <= most


def test_others_do_not(service: Service) -> None:
    """Only 429 and 503 carry a Retry-After."""
    assert [False] * 4 == [
        "retry-after" in service.fail(what).headers for what in ("timeout", "unhandled", "conflict", "not_found")
    ]


def test_head_gets_the_headers_alone(service: Service) -> None:
    """The length is that of the body which GET would have."""
    head = service.client.head("/nowhere", headers={"X-Correlation-Id": "same"})
    get = service.client.get("/nowhere", headers={"X-Correlation-Id": "same"})
    assert (404, b"") == (head.status_code, head.content)
    assert get.headers["content-length"] == head.headers["content-length"]
    assert ["same"] == head.headers.get_list("x-correlation-id")
    assert 200 == service.client.get("/").status_code


def test_who_asks_for_problem_details_gets_them(service: Service) -> None:
    """RFC 9457: members of its own beside the usual ones, which keep their names."""
    response = service.fail("validation", Accept="application/problem+json")
    said = response.json()
    assert "application/problem+json" == response.headers["content-type"]
    assert ("urn:seawall:error:VALIDATION_ERROR", "Validation error", 400) == (
        said["type"],
        said["title"],
        said["status"],
    )
    assert "The request contains invalid data." == said["detail"]
    assert {"code", "timestamp", "correlationId", "details"} <= set(said)
    assert response.headers["x-correlation-id"] == said["correlationId"]
    assert "accept" in response.headers["vary"].lower()


def test_a_success_is_left_as_it_is(service: Service) -> None:
    """Status and body are the application's; the id is the one that its handler saw."""
    response = service.client.get("/")
    assert (200, {"id": response.headers["x-correlation-id"]}) == (response.status_code, response.json())


def test_development_shows_the_exception(service: Service) -> None:
    """Class, text and stack trace, and even there no password; production is what an unknown word means."""
    shown = Seawall(SERVICES[service.kind](), environment="Development")
    hidden = Seawall(SERVICES[service.kind](), environment="staging")
    with served(shown) as client:
        error = error_of(client.get("/raise/unhandled"), 500, "INTERNAL_ERROR")
        assert "builtins.RuntimeError" == error["exception"]["class"]
        assert "postgres://app:***@db.internal/orders" == error["exception"]["text"]
        assert any("services.py" in line for line in error["exception"]["stackTrace"])
        assert SECRET not in json.dumps(error)
        assert "exception" in error_of(client.get("/raise/circuit_open"), 503, "CIRCUIT_OPEN")
        assert "exception" not in error_of(client.get("/raise/conflict"), 409, "CONFLICT")
        unreadable = error_of(client.get("/raise/unreadable"), 500, "INTERNAL_ERROR")["exception"]
        assert "<exception str() failed>" == unreadable["text"]
    with served(hidden) as client:
        assert "exception" not in error_of(client.get("/raise/unhandled"), 500, "INTERNAL_ERROR")


def test_the_environment_variable_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SEAWALL_ENV` counts where nothing else is said; without it, it is production."""
    monkeypatch.delenv("SEAWALL_ENV", raising=False)
    with served(Seawall(SERVICES["raw"]())) as client:
        assert "exception" not in client.get("/raise/unhandled").json()["error"]
    monkeypatch.setenv("SEAWALL_ENV", "test")
    with served(Seawall(SERVICES["raw"]())) as client:
        assert "exception" in client.get("/raise/unhandled").json()["error"]
