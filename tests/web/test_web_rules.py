"""Small rules of the web layer that no request shows whole."""

import asyncio
import gc
import json
import logging
import math
import pickle
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route
from starlette.testclient import TestClient

from seawall import CircuitOpenError
from seawall.web import ConflictError, ErrorAnswered, NotFoundError, Seawall, ServiceError, ValidationError
from seawall.web.exchange import Exchange
from seawall.web.rendering import asks_for_problem
from seawall.web.retry_hint import hint
from seawall.web.wording import one_line
from tests.web.by_hand import Wire, http_scope, request
from tests.web.services import DSN, SECRET, SERVICES, MappedError, SoldOutError, answer, fastapi_service, raw_service
from tests.web.serving import lines_of


@given(rest=st.floats(0, 1e9), chance=st.floats(0, 1, exclude_max=True))
def test_a_hint_is_never_early_and_never_much_too_late(rest: float, chance: float) -> None:
    """Whole seconds, between the true rest and 1.2 times it plus 1 s (operate 10)."""
    said = int(hint(rest, lambda: chance))
    assert rest <= said <= 1.2 * rest + 1
    assert said >= 1


@pytest.mark.parametrize("rest", [None, math.inf, math.nan, -1.0, "soon", object()])
def test_an_unknown_rest_is_spread(rest: object) -> None:
    """Over 1 to 8 s, so that not all come back together."""
    chances = iter([0.0, 0.5, 0.999])
    assert [1, 5, 8] == [int(hint(rest, chances.__next__)) for _ in range(3)]


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        (None, False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", False),
        ("application/problem+json", True),
        ("Application/Problem+JSON; charset=utf-8", True),
        ("text/html, application/problem+json;q=0.5", True),
        ("application/json, application/problem+json", True),
        ("application/json;q=0.5, application/problem+json", True),
        ("application/json, application/problem+json;q=0.9", False),
        ("application/problem+json;q=0", False),
        ("application/problem+json;q=0.0, */*", False),
        ("application/problem+json;q=nan", False),
        ("application/problem+json;q=high", False),
        ("xapplication/problem+json", False),
        (",;=,,application/problem+json,;q", True),
    ],
)
def test_who_asks_for_problem_details(accept: str | None, asked: bool) -> None:
    """Named and wanted, at least as much as plain JSON (RFC 9110, section 12.5.1)."""
    assert asked == asks_for_problem(None if accept is None else accept.encode())


def test_a_line_is_one_line() -> None:
    """Nothing in it can start another one, move the cursor or turn the text round; secrets are gone before the cut."""
    assert r"a\nb\x1b[31m\u202e\u2028" == one_line("a\nb\x1b[31m\u202e\u2028")
    assert "größe" == one_line("größe")
    assert 300 == len(one_line("x" * 100_000))
    for length in range(250, 320):
        assert SECRET[:6] not in one_line("x" * length + f" postgres://app:{SECRET}@h/db")


def test_an_error_of_ones_own_says_what_it_was_given() -> None:
    """Class, then instance; it can be pickled."""
    error = SoldOutError("None left.", details=[("seat", "A1")], headers={"X-Own": "1"}, retry_after=3)
    assert ("SOLD_OUT", 409, "None left.", (("seat", "A1"),), 3.0) == (
        error.code,
        error.status,
        error.message,
        error.details,
        error.retry_after,
    )
    assert "None left." == str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (error.__dict__, type(error)) == (copy.__dict__, type(copy))
    assert "BOOKING_FAILED" == ConflictError(code="BOOKING_FAILED").code
    assert "CONFLICT" == ConflictError.code


@pytest.mark.parametrize("code", ["sold_out", "", "SOLD OUT", "1ST", "X" * 65, None])
def test_a_code_is_in_capitals(code: Any) -> None:
    """Of a class as soon as it is made, and of an instance."""
    with pytest.raises(ValueError, match=r"is no error code; use capitals"):
        type("OwnError", (ServiceError,), {"code": code})
    if code is not None:
        with pytest.raises(ValueError, match=r"code=.* is no error code"):
            ValidationError(code=code)


def test_a_status_is_that_of_an_error() -> None:
    """400 to 599."""
    with pytest.raises(ValueError, match=r"OwnError.status=200 is no status of an error; use a number from 400 to 599"):
        type("OwnError", (ServiceError,), {"status": 200})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": ""}, "name=''"),
        ({"environment": 7}, "environment=7 is no text"),
        ({"status_map": [MappedError]}, r"status_map=.* is no mapping"),
        ({"status_map": {"MappedError": 409}}, "status_map has the key 'MappedError'"),
        ({"status_map": {BaseException: 409}}, "status_map has the key"),
        ({"status_map": {MappedError: 200}}, r"status_map\[MappedError\]=200 is no status of an error"),
        ({"status_map": {MappedError: True}}, r"status_map\[MappedError\]=True is no status"),
        ({"status_map": {MappedError: (409, "my_code")}}, r"status_map\[MappedError\]='my_code' is no error code"),
        ({"status_map": {MappedError: (409, "A", 7)}}, r"status_map\[MappedError\] has the message 7"),
        ({"status_map": {MappedError: (409, "A", "b", "c")}}, r"use a status, or \(409, 'MY_CODE', 'message'\)"),
        ({"status_map": {MappedError: ()}}, "use a status"),
        ({"health": object()}, r"health=.* lacks answer\(\) or arefresh\(\)"),
        ({"health_token": "x"}, "health_token has no effect without health"),
        ({"metrics": "text"}, "metrics='text' cannot be called"),
        ({"deadline": 0}, "deadline=0 is out of range"),
        ({"deadline": math.inf}, "deadline=inf is out of range"),
        ({"own_errors": [404]}, r"own_errors=\[404\] cannot be called"),
        ({"on_start": print}, r"on_start=.* is no list of functions"),
        ({"on_stop": [print, 7]}, r"on_stop=.* is no list of functions"),
        ({"health_path": "health"}, "health_path='health' is no path"),
        ({"metrics_path": "/"}, "metrics_path='/' is no path"),
        ({"metrics_path": "/metrics/"}, "metrics_path='/metrics/' is no path"),
        ({"clock": 7}, "clock=7 is no clock"),
        ({"rng": 7}, "rng=7 cannot be called"),
    ],
)
def test_arguments_are_checked_at_once(options: dict[str, Any], error: str) -> None:
    """The error names the argument, the value and what would be right."""
    with pytest.raises((TypeError, ValueError), match=error):
        Seawall(raw_service, **options)


def test_a_token_is_not_shown_in_the_error_about_it() -> None:
    """Nor in a repr."""

    class Source:
        def answer(self, view: str, *, check: str | None, details: bool) -> tuple[int, dict[str, Any]]: ...

        async def arefresh(self, view: str) -> None: ...

    with pytest.raises(ValueError, match="health_token is not usable") as refused:
        Seawall(raw_service, health=Source(), health_token=SECRET + "ü")
    assert SECRET not in str(refused.value)
    assert "Seawall('app')" == repr(Seawall(raw_service, health=Source(), health_token=SECRET))


def test_an_application_is_wrapped_once() -> None:
    """And it must be one."""
    with pytest.raises(TypeError, match=r"is wrapped already; wrap an application once"):
        Seawall(Seawall(raw_service))
    with pytest.raises(TypeError, match=r"app=7 cannot be called; use an ASGI application"):
        Seawall(7)  # type: ignore[arg-type]


def test_a_map_may_say_status_code_and_message() -> None:
    """As much of it as one wants; the class nearest to the exception counts, also before seawall's own map."""

    def answered(status_map: Any, error: Exception) -> tuple[int, str, str]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise error

        wire = request(Seawall(app, status_map=status_map))
        said = json.loads(wire.said[1]["body"])["error"]
        return wire.said[0]["status"], said["code"], said["message"]

    usual = "The request conflicts with the present state."
    assert (409, "CONFLICT", usual) == answered({MappedError: 409}, MappedError(DSN))
    assert (409, "MINE", usual) == answered({MappedError: (409, "MINE")}, MappedError(DSN))
    assert (409, "MINE", "So.") == answered({MappedError: (409, "MINE", "So.")}, MappedError(DSN))
    assert 400 == answered({Exception: 409, ValueError: 400}, UnicodeError(DSN))[0]
    assert 409 == answered({Exception: 409, ValueError: 400}, KeyError(DSN))[0]
    assert 504 == answered({TimeoutError: 504}, TimeoutError(DSN))[0]
    assert 503 == answered({Exception: 409}, CircuitOpenError("bank"))[0]
    assert 410 == answered({NotFoundError: (410, "LEFT")}, NotFoundError("secret"))[0]
    assert 429 == answered({ExceptionGroup: 429}, ExceptionGroup("many", [KeyError()]))[0]


class TestCancellationOfSomethingElse:
    """A CancelledError that nobody sent to this request."""

    @staticmethod
    async def leaking(scope: Any, receive: Any, send: Any) -> None:
        """Awaits a task that somebody has cancelled."""
        task = asyncio.create_task(asyncio.sleep(3600))
        task.cancel()
        await task

    def test_it_is_a_failure_like_others(self, caplog: Any) -> None:
        """Or the server would answer without id and format."""
        wire = request(Seawall(self.leaking))
        assert 500 == wire.said[0]["status"]
        assert 1 == len(lines_of(caplog))

    def test_in_a_framework_too(self, caplog: Any) -> None:
        """Which lets it pass, as it is no Exception."""
        app = FastAPI(openapi_url=None)

        @app.get("/")
        async def leak() -> None:
            await TestCancellationOfSomethingElse.leaking(None, None, None)

        assert 500 == request(Seawall(app)).said[0]["status"]
        assert 1 == len(lines_of(caplog))


def test_a_framework_is_found_inside_its_middlewares() -> None:
    """What stands around it has it as its attribute `app`."""

    class Middleware:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app = fastapi_service()

    @app.get("/numbers/{number}")
    async def number(number: int) -> None: ...

    wire = request(Seawall(Middleware(Middleware(app))), http_scope("/numbers/x"))
    assert 400 == wire.said[0]["status"]
    assert "path.number" == json.loads(wire.said[1]["body"])["error"]["details"][0]["field"]


def test_an_application_that_is_its_own_app_ends_the_search() -> None:
    """No endless look for a framework."""

    class Own:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await answer(send, 200, b"")

    own = Own()
    own.app = own  # type: ignore[attr-defined]
    assert 200 == request(Seawall(own)).said[0]["status"]


def test_inside_another_wrapper_it_steps_back() -> None:
    """The outer one has it in hand: one id, one format, one line in the log."""
    inner = Seawall(fastapi_service(), name="inner")
    outer = FastAPI(openapi_url=None)
    outer.mount("/inner", inner)
    heard: list[Any] = []
    app = Seawall(outer, name="outer")
    app.listen(heard.append)
    inner.listen(heard.append)
    wire = request(app, http_scope("/inner/raise/conflict"))
    assert (409, 1) == (wire.said[0]["status"], len(wire.header(b"x-correlation-id")))
    assert ["outer"] == [event.name for event in heard]


def test_the_frameworks_test_client_works_with_it() -> None:
    """And sees answers where it would have seen exceptions."""
    with TestClient(Seawall(fastapi_service(), environment="production")) as client:
        assert 200 == client.get("/").status_code
        assert 500 == client.get("/raise/unhandled").status_code


def test_a_listener_that_fails_changes_nothing(caplog: Any) -> None:
    """Its error is logged once, the answer is the same; types can be chosen; one may stop listening."""

    def failing(event: Any) -> None:
        raise RuntimeError("listener")

    app = Seawall(raw_service)
    heard: list[Any] = []
    stop = app.listen(failing)
    app.listen(heard.append, ErrorAnswered)
    for _ in range(2):
        assert 409 == request(app, http_scope("/raise/conflict")).said[0]["status"]
    stop()
    request(app, http_scope("/nowhere"))
    assert [(409, "CONFLICT"), (409, "CONFLICT"), (404, "NOT_FOUND")] == [(each.status, each.code) for each in heard]
    assert "'app': GET - -> 409 CONFLICT" in str(heard[0])
    assert 1 == len([record for record in caplog.records if "listener" in record.message])


def exchanges() -> list[Exchange]:
    """Returns all that are alive; those of failures in other tests are kept by the log records that pytest keeps."""
    return [thing for thing in gc.get_objects() if isinstance(thing, Exchange)]


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("path", ["/", "/nowhere", "/raise/unhandled", "/raise/circuit_open"])
def test_a_request_leaves_no_cycle_behind(kind: str, path: str) -> None:
    """What served it is gone with it, without the garbage collector."""
    app = Seawall(SERVICES[kind](), environment="production")
    logging.disable()  # or the records that pytest keeps would keep everything
    gc.collect()
    gc.disable()
    try:
        before = exchanges()
        for _ in range(3):
            request(app, http_scope(path))
        assert [] == [exchange for exchange in exchanges() if exchange not in before]
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def test_no_task_is_made_for_a_request() -> None:
    """The application runs in the server's own task."""
    tasks: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        await answer(send, 200, b"")

    async def main() -> None:
        wire = Wire()
        await Seawall(app, deadline=5)(http_scope(), wire.receive, wire.send)
        assert [asyncio.current_task()] == tasks
        assert 1 == len(asyncio.all_tasks())

    asyncio.run(main())


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("path", ["/nowhere", "/raise/conflict", "/raise/unhandled"])
def test_no_body_is_handed_to_the_server_for_head(kind: str, path: str) -> None:
    """Not every server leaves it away by itself."""
    app = SERVICES[kind]()
    if kind != "raw":
        app.router.routes.append(Route("/raise/{what}", app.router.routes[-1].endpoint, methods=["HEAD"]))
    wire = request(Seawall(app), http_scope(path, "HEAD"))
    assert [b""] == [message["body"] for message in wire.said[1:]]
    assert wire.header(b"content-length") > [b"100"]


def test_what_it_does_not_know_it_passes_on() -> None:
    """Another protocol, or an extension within HTTP."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
            await answer(send, 200, b"")

    wire = Wire()
    asyncio.run(Seawall(app)({"type": "gemini"}, wire.receive, wire.send))
    assert ["http.response.early_hint", "http.response.start", "http.response.body"] == request(Seawall(app)).types
    assert ["gemini", "http"] == seen
