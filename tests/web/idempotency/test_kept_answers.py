"""Which answers are kept and given again, what of them, and what the others leave behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Response as FastAPIResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from seawall import CircuitOpenError, DeadlineExceededError
from seawall.durable import NOT_DONE, EmbeddedStore, Idempotency, InProgressError, OutcomeUnknownError
from seawall.web import (
    ConflictError,
    ForbiddenError,
    IdempotentRequests,
    IdempotentRoute,
    NotFoundError,
    Seawall,
    UnauthorizedError,
    ValidationError,
    current_request_claim,
)
from tests.web.idempotency.shop import PAY, SHOPS, Till, client_of, of, paid, post, replayed, shop
from tests.web.serving import error_of, lines_of

STORED_KEY = '["POST /payments","alice","k-1"]'
KEPT: dict[str, Any] = {
    "created": lambda: JSONResponse({"id": 1}, status_code=201),
    "empty": lambda: Response(status_code=204),
    "binary": lambda: Response(bytes(range(256)), media_type="application/octet-stream"),
    "see other": lambda: RedirectResponse("/payments/7", status_code=303),
    "own 400": lambda: JSONResponse({"mine": "no"}, status_code=400),
    "plain 404": lambda: PlainTextResponse("nothing here", status_code=404),
    "html 410": lambda: HTMLResponse("<p>gone", status_code=410),
    "streamed": lambda: StreamingResponse(iter([b"a", b"b", b"c"]), media_type="text/plain"),
    "raised 400": lambda: ValidationError(details=[("amount", "is negative")]),
    "raised 404": lambda: NotFoundError("no such account"),
    "raised 409": ConflictError,
    "raised 410": lambda: HTTPException(410),
}
REFUSED: dict[str, Any] = {
    "401": lambda: Response(status_code=401),
    "403": lambda: Response(status_code=403),
    "425": lambda: Response(status_code=425),
    "429": lambda: Response(status_code=429),
    "raised 401": UnauthorizedError,
    "raised 403": ForbiddenError,
    "raised 429": lambda: HTTPException(429),
    "in progress elsewhere": lambda: InProgressError("other", 1.0),
}
FAILED: dict[str, Any] = {
    "408": lambda: Response(status_code=408),
    "500": lambda: Response(status_code=500),
    "503": lambda: JSONResponse({}, status_code=503),
    "bug": lambda: RuntimeError("hunter2"),
    "circuit": lambda: CircuitOpenError("bank", 3.0),
    "deadline": lambda: DeadlineExceededError("bank"),
    "time-out": TimeoutError,
    "unknown elsewhere": lambda: OutcomeUnknownError("elsewhere"),
    "group": lambda: ExceptionGroup("both", [RuntimeError("a"), NotFoundError()]),
}


@pytest.mark.parametrize("kind", SHOPS)
@pytest.mark.parametrize("what", KEPT)
def test_answers_are_given_again_to_the_byte(store: EmbeddedStore, what: str, kind: str) -> None:
    """2xx, 3xx and 4xx, whoever wrote them: the framework, the handler, we in the place of an exception."""
    till = Till(KEPT[what]())
    first, again = post(shop(store, till, kind), 1, 1)
    assert 1 == till.count
    assert [False, True] == [replayed(first), replayed(again)]
    names = ("content-type", "location", "content-length")
    seen = [
        (each.status_code, each.content, *map(each.headers.get, names[: 2 + (what != "streamed")]))
        for each in (first, again)
    ]
    assert seen[0] == seen[1]
    assert int(again.headers.get("content-length", 0)) == len(again.content)


@pytest.mark.parametrize("kind", SHOPS)
@pytest.mark.parametrize("what", REFUSED)
def test_refusals_before_anything_was_done_are_not_kept(store: EmbeddedStore, what: str, kind: str) -> None:
    """401, 403, 425, 429 and what is in progress elsewhere: the next request is executed."""
    till = Till(REFUSED[what](), paid)
    first, again = post(shop(store, till, kind), 1, 1)
    assert first.status_code in (401, 403, 409, 425, 429)
    assert (201, False, 2) == (again.status_code, replayed(again), till.count)


@pytest.mark.parametrize("kind", SHOPS)
@pytest.mark.parametrize("what", FAILED)
def test_failures_leave_the_outcome_unknown(store: EmbeddedStore, what: str, kind: str) -> None:
    """408, 5xx and exceptions: repeats get 409 until somebody settles it; then they get what he says."""
    till = Till(FAILED[what](), paid)
    app = shop(store, till, kind)
    first, refused = post(app, 1, 1)
    assert first.status_code in (408, 409, 500, 503)
    error_of(refused, 409, "OUTCOME_UNKNOWN")
    assert 1 == till.count
    operations = app.requests.idempotency  # type: ignore[attr-defined]
    assert [STORED_KEY] == [each.key for each in operations.unknown()]
    assert operations.resolve(STORED_KEY, {"status": 201, "headers": {"X-Id": "7", "Set-Cookie": "a"}, "body": "paid"})
    answer = post(app, 1)[0]
    assert (201, b"paid", "7", True) == (answer.status_code, answer.content, answer.headers["x-id"], replayed(answer))
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("what", ["503", "bug", "circuit"])
def test_failures_may_be_kept(store: EmbeddedStore, what: str) -> None:
    """`server_errors="replay"`: a 5xx is an answer as any other."""
    till = Till(FAILED[what](), paid)
    first, again = post(shop(store, till, route=IdempotentRoute(server_errors="replay")), 1, 1)
    assert (first.status_code, first.content, 1) == (again.status_code, again.content, till.count)
    assert replayed(again)


@pytest.mark.parametrize("what", ["503", "bug", "circuit", "time-out"])
def test_failures_may_be_given_back(store: EmbeddedStore, what: str) -> None:
    """`server_errors="release"`: the next request is executed."""
    till = Till(FAILED[what](), paid)
    _, again = post(shop(store, till, route=IdempotentRoute(server_errors="release")), 1, 1)
    assert (201, 2, False) == (again.status_code, till.count, replayed(again))


@pytest.mark.parametrize(
    ("found", "status", "count"),
    [(JSONResponse({"id": 7}, status_code=201), 201, 1), (NOT_DONE, 201, 2), (7, 500, 1), ({"status": 99}, 500, 1)],
)
def test_the_unknown_may_be_reconciled(store: EmbeddedStore, found: Any, status: int, count: int) -> None:
    """`reconcile` is asked with the stored key, and says the answer, or that nothing took place."""
    asked: list[str] = []

    def reconcile(key: str) -> Any:
        asked.append(key)
        return found

    till = Till(RuntimeError("lost"), paid)
    _, again = post(shop(store, till, reconcile=reconcile), 1, 1)
    assert (status, count) == (again.status_code, till.count)
    assert [STORED_KEY] == asked


def test_cookies_and_headers_of_one_response_are_not_given_again(store: EmbeddedStore) -> None:
    """The first answer has all that the handler said; a replay has what describes the body, and what was asked for."""
    headers = {"X-Cost": "3", "X-Other": "4", "ETag": '"a"', "Location": "/payments/7", "X-Correlation-Id": "mine"}

    def answer(request: Any) -> Response:
        response = JSONResponse({}, status_code=201, headers=headers)
        response.set_cookie("session", "hunter2")
        return response

    first, again = post(shop(store, Till(answer), headers=["x-COST"]), 1, 1)
    assert {"x-other", "set-cookie", "x-cost", "etag", "location"} <= set(first.headers)
    correlated = {"x-correlation-id", "idempotency-replayed"}
    assert {"x-cost", "etag", "location", "content-type", "content-length"} | correlated == set(again.headers)


def test_errors_in_the_applications_own_format_stay_on_replay(store: EmbeddedStore) -> None:
    """`own_errors` holds for the first answer and for its replays."""
    own = {"own_errors": lambda status, kind: kind == "text/html"}
    first, again = post(shop(store, Till(HTMLResponse("<p>no", status_code=422)), "raw", **own), 1, 1)
    assert (422, b"<p>no", b"<p>no") == (first.status_code, first.content, again.content)


def test_validation_of_a_framework_is_an_answer(store: EmbeddedStore) -> None:
    """FastAPI's 422 is our 400; it is kept, and the same body gets it again."""

    class Order(BaseModel):
        amount: int

    api = FastAPI(openapi_url=None)

    @api.post("/payments")
    async def pay(order: Order) -> None: ...

    app = Seawall(api, idempotency=IdempotentRequests(store, [PAY], principal=of))
    first, again, other = post(app, {"amount": "x"}, {"amount": "x"}, {"amount": 1})
    assert "amount" in str(error_of(first, 400, "VALIDATION_ERROR")["details"])
    assert (400, first.content, True) == (again.status_code, again.content, replayed(again))
    error_of(other, 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("what", ["large", "file"])
def test_what_is_too_large_is_sent_and_not_kept(
    store: EmbeddedStore, what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not cut: the client gets all of it; that it cannot be repeated is logged, and repeats are refused."""
    (tmp_path / "file").write_bytes(b"x" * 200)
    large = StreamingResponse(iter([b"x" * 100, b"x" * 100])) if what == "large" else FileResponse(tmp_path / "file")
    till = Till(large)
    first, again = post(shop(store, till, route=IdempotentRoute(max_body=150)), 1, 1)
    assert (200, b"x" * 200) == (first.status_code, first.content)
    error_of(again, 409, "OUTCOME_UNKNOWN")
    assert 1 == till.count
    assert "larger than 150 bytes" in lines_of(caplog)[0]


def test_small_files_are_kept(store: EmbeddedStore, tmp_path: Path) -> None:
    """Also where the server would send them by their path: then nobody would see the bytes."""
    (tmp_path / "file").write_bytes(b"receipt")
    app = shop(store, Till(lambda request: FileResponse(tmp_path / "file")))

    async def with_paths(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {"http.response.pathsend": {}, "other": {}}}, receive, send)

    first, again = post(with_paths, 1, 1)
    assert (b"receipt", b"receipt", True) == (first.content, again.content, replayed(again))


def test_a_path_that_an_application_sends_all_the_same_is_not_kept(store: EmbeddedStore) -> None:
    """It goes to the server as it is."""
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/x"})

    async def send(message: Any) -> None:
        said.append(message["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    wrapped = Seawall(app, idempotency=IdempotentRequests(store, [PAY], principal=of))
    headers = [(b"idempotency-key", b"k-1")]
    scope = {"type": "http", "method": "POST", "path": "/payments", "query_string": b"", "headers": headers}
    asyncio.run(wrapped(scope, receive, send))
    assert ["http.response.start", "http.response.pathsend"] == said
    record = Idempotency(store, "http").show(STORED_KEY)
    assert record is not None
    assert "unknown" == record.state


def test_hints_before_the_response_pass(store: EmbeddedStore) -> None:
    """An early hint is no part of the answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await paid()(scope, receive, send)

    said: list[str] = []

    async def hinting(scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            said.append(message["type"])
            if message["type"] != "http.response.early_hint":
                await send(message)

        await wrapped(scope, receive, told)

    wrapped = Seawall(app, idempotency=IdempotentRequests(store, [PAY], principal=of))
    assert [False, True] == [replayed(each) for each in post(hinting, 1, 1)]
    assert 1 == said.count("http.response.early_hint")


def test_work_after_the_answer_changes_nothing(store: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is kept and sent before a background task runs; that this fails is logged, and no answer."""
    seen: list[str] = []

    async def afterwards() -> None:
        record = await Idempotency(store, "http").ashow(STORED_KEY)
        seen.append(record.state if record else "none")
        raise RuntimeError("no mail")

    till = Till(JSONResponse({}, status_code=201, background=BackgroundTask(afterwards)))
    first, again = post(shop(store, till), 1, 1)
    assert (201, 201, True, 1) == (first.status_code, again.status_code, replayed(again), till.count)
    assert ["done"] == seen
    assert "after the response 201 was sent" in lines_of(caplog)[0]


def test_no_answer_at_all_is_a_failure(store: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    """An application that returns without a whole response is answered for, and nobody knows what it did."""
    calls: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(1)
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    wrapped = Seawall(app, idempotency=IdempotentRequests(store, [PAY], principal=of))
    first, again = post(wrapped, 1, 1)
    error_of(first, 500, "INTERNAL_ERROR")
    error_of(again, 409, "OUTCOME_UNKNOWN")
    assert [1] == calls
    assert "without a whole response" in lines_of(caplog)[0]


def test_a_failure_in_mid_response_is_answered_whole(store: EmbeddedStore) -> None:
    """Nothing has gone out yet, so the client gets an error, and no half of an answer."""

    async def parts() -> Any:
        yield b"half"
        raise RuntimeError("broken")

    for kind in SHOPS:
        app = shop(store, Till(StreamingResponse(parts())), kind, namespace=kind)
        first, again = post(app, 1, 1)
        error_of(first, 500, "INTERNAL_ERROR")
        error_of(again, 409, "OUTCOME_UNKNOWN")


def test_failures_are_logged_once(store: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
    """By the wrapper, in its format; the operation's own line beside it."""
    for kind in SHOPS:
        caplog.clear()
        post(shop(store, Till(RuntimeError("broken")), kind, namespace=kind), 1)
        lines = lines_of(caplog)
        assert (1, True) == (len(lines), "RuntimeError: broken" in lines[0]), kind


def test_the_claim_of_a_request_is_not_that_of_the_next(store: EmbeddedStore) -> None:
    """Only what is executed under a key has a claim: not a request without a key, made inside another's handler."""
    keys: list[str] = []

    def note(request: Any) -> Response:
        try:
            keys.append(current_request_claim().key)
        except LookupError as error:
            keys.append(str(error)[:25])
        return paid()

    async def nest(request: Any) -> Response:
        async with client_of(app) as client:
            await client.post("/payments")
            await client.post("/payments", headers={"idempotency-key": "k-2"})
        return note(request)

    app = shop(store, Till(nest, note), route=IdempotentRoute(required=False))
    post(app, 1)
    assert ["this request has no claim", "k-2", "k-1"] == keys

    async def in_one_task() -> None:
        async with client_of(app) as client:
            await client.post("/payments", headers={"idempotency-key": "k-3"})
        with pytest.raises(LookupError, match="no claim"):
            current_request_claim()

    asyncio.run(in_one_task())


def test_frameworks_responses_set_by_parameter_are_kept(store: EmbeddedStore) -> None:
    """FastAPI's `response: Response` and `status_code=` are a part of the answer."""
    api = FastAPI(openapi_url=None)

    @api.post("/payments", status_code=202)
    def pay(response: FastAPIResponse) -> dict[str, int]:
        response.headers["location"] = "/payments/8"
        return {"id": 8}

    app = Seawall(api, idempotency=IdempotentRequests(store, [PAY], principal=of))
    _, again = post(app, 1, 1)
    assert (202, {"id": 8}, "/payments/8") == (again.status_code, again.json(), again.headers["location"])
