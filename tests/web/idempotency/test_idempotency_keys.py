"""Which requests are idempotent operations: keys, routes, principals, and what is no declaration of any."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount, Route

from seawall.durable import EmbeddedStore, StoreError, open_store
from seawall.web import IdempotentRequests, IdempotentRoute, Seawall, UnauthorizedError
from tests.web.idempotency.shop import KEY, Till, client_of, of, paid, post, replayed, shop
from tests.web.serving import error_of

THE_SAME = ['"k-1"', "k-1", ' "k-1" ', " k-1\t"]
OTHERS = [
    '"a b"',
    '"a\\"b"',
    '"a\\\\b"',
    "a\\b;c=d",
    "x" * 255,
    f'"{"y" * 255}"',
    '"a,b"',
    "8e03978e-40d5-43dd-bc93-6894a57f9324",
]
NONE = [
    "",
    '""',
    " ",
    "x" * 256,
    f'"{"x" * 256}"',
    "a b",
    "a,b",
    '"a", "b"',
    '"a',
    'a"',
    '"a\\x"',
    '"a";p=1',
    "a\tb",
    "\x7f",
    "\u00e9",
    '"\u00e9"',
    '"a\tb"',
]


async def scope_of(app: Any, key: list[str], method: str = "POST", path: str = "/payments", **more: Any) -> Any:
    """Calls the application as a server would, and returns status, headers and body of its answer."""
    said: list[Any] = []
    headers = [(b"idempotency-key", each.encode("latin-1")) for each in key]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers, **more}
    received = iter([{"type": "http.request", "body": b"{}"}])

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope, receive, send)
    return httpx2.Response(said[0]["status"], headers=said[0]["headers"], content=said[1]["body"])


def asked(app: Any, *keys: str, **more: Any) -> Any:
    """As `scope_of`."""
    return asyncio.run(scope_of(app, list(keys), **more))


@pytest.mark.parametrize("key", THE_SAME)
def test_quoted_and_bare_are_the_same_key(store: EmbeddedStore, key: str) -> None:
    """The draft's structured string and the common bare form name one operation."""
    app = shop(store, Till())
    asked(app, "k-1")
    assert replayed(asked(app, key))


def test_keys_may_be_any_visible_text(store: EmbeddedStore) -> None:
    """Escapes, blanks and commas in quotes, up to 255 characters: each is a key of its own."""
    till = Till()
    app = shop(store, till)
    assert [201] * len(OTHERS) == [asked(app, key).status_code for key in OTHERS]
    assert len(OTHERS) == till.count
    assert all(replayed(asked(app, key)) for key in OTHERS)


@pytest.mark.parametrize("keys", [*([key] for key in NONE), ["a", "a"], ["a", "b"]], ids=repr)
def test_what_is_no_key_is_refused(store: EmbeddedStore, keys: list[str]) -> None:
    """400, also where a key is not required, and nothing is executed."""
    till = Till()
    for required in (True, False):
        app = shop(store, till, route=IdempotentRoute(required=required))
        error_of(asked(app, *keys), 400, "IDEMPOTENCY_KEY_INVALID")
    assert 0 == till.count


def test_a_missing_key_is_refused_where_it_is_required(store: EmbeddedStore) -> None:
    """400 by default; on a route that does not require one, each request is executed."""
    till = Till()
    error_of(asked(shop(store, till)), 400, "IDEMPOTENCY_KEY_MISSING")
    assert 0 == till.count
    app = shop(store, till, route=IdempotentRoute(required=False))
    assert [201, 201] == [asked(app).status_code for _ in range(2)]
    assert 2 == till.count


def test_problem_details_for_who_asks(store: EmbeddedStore) -> None:
    """Refusals are written as every other error: RFC 9457 for who asks for it."""
    refused = post(shop(store, Till()), 1, 2, headers={"accept": "application/problem+json"})[1]
    assert (422, "application/problem+json") == (refused.status_code, refused.headers["content-type"])
    assert "IDEMPOTENCY_KEY_REUSED" == refused.json()["code"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "HEAD"])
def test_safe_methods_are_let_alone(store: EmbeddedStore, method: str) -> None:
    """A key on a request that changes nothing has no meaning."""
    till = Till(lambda request: Response("seen"))
    app = shop(store, till)
    answers = [asked(app, "k-1", method=method) for _ in range(2)]
    assert 2 == till.count
    assert [False, False] == [replayed(each) for each in answers]


def test_an_overlong_body_is_refused(store: EmbeddedStore) -> None:
    """413 by `max_body`, and nothing is executed; one that just fits is served."""
    till = Till()
    app = shop(store, till, route=IdempotentRoute(max_body=10))

    async def main() -> list[httpx2.Response]:
        async with client_of(app) as client:
            return [await client.post("/payments", content=b"x" * size, headers=KEY) for size in (11, 10)]

    refused, served = asyncio.run(main())
    error_of(refused, 413, "CONTENT_TOO_LARGE")
    assert (201, 1) == (served.status_code, till.count)


PATHS = [
    ("POST /payments", "/payments", "", True),
    ("post /payments", "/payments", "", True),
    ("POST /payments", "/payments/", "", False),
    ("POST /payments", "/paymentsx", "", False),
    ("POST /payments", "/api/payments", "/api", True),
    ("POST /payments", "/apix/payments", "/api", False),
    ("POST /payments", "/api/payments", "", False),
    ("POST /payments", "/payments", "/api", True),
    ("POST /", "/api", "/api", True),
    ("POST /i/{id}", "/i/7", "", True),
    ("POST /i/{id:int}", "/i/7", "", True),
    ("POST /i/{id}", "/i/a b\n%", "", True),
    ("POST /i/{id}", "/i/", "", False),
    ("POST /i/{id}", "/i/a/b", "", False),
    ("POST /i/{id:path}", "/i/a/b\nc", "", True),
    ("POST /i/{id}/pay", "/i/7/pay", "", True),
    ("POST /a.b", "/axb", "", False),
]


@pytest.mark.parametrize(("route", "path", "root", "guarded"), PATHS)
def test_routes_are_matched_by_method_and_path(
    store: EmbeddedStore, route: str, path: str, root: str, guarded: bool
) -> None:
    """A parameter is one part of a path; what a server mounts the application at does not count."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await paid()(scope, receive, send)

    wrapped = Seawall(app, idempotency=IdempotentRequests(store, [route], principal=of))
    answers = [asked(wrapped, "k-1", path=path, root_path=root) for _ in range(2)]
    assert [False, guarded] == [replayed(each) for each in answers]
    assert 400 == asked(wrapped, path=path, root_path=root).status_code or not guarded
    assert 201 == asked(wrapped, path=path, root_path=root, method="PUT").status_code


def test_applications_mounted_inside_are_reached_by_their_whole_path(store: EmbeddedStore) -> None:
    """A route of a mounted application is declared with the path it is mounted at."""
    till = Till()

    async def act(request: Any) -> Response:
        return await till(request)

    inner = Starlette(routes=[Route("/{id}", act, methods=["POST"])])
    app = Starlette(routes=[Mount("/shops/{shop}", inner)])
    wrapped = Seawall(app, idempotency=IdempotentRequests(store, ["POST /shops/{shop}/{id}"], principal=of))
    answers = [asked(wrapped, "k-1", path=path) for path in ("/shops/a/1", "/shops/a/1", "/shops/b/1")]
    assert [(201, False), (201, True), (422, False)] == [(each.status_code, replayed(each)) for each in answers]


def _raise(error: Exception) -> Any:
    def principal(scope: Any) -> str:
        raise error

    return principal


async def _anne(scope: Any) -> str:
    await asyncio.sleep(0)
    return "anne"


@pytest.mark.parametrize("error", [UnauthorizedError(), HTTPException(401)], ids=["ours", "starlette"])
@pytest.mark.parametrize("kind", ["fastapi", "raw"])
def test_who_is_not_known_is_answered_before_any_look_up(store: EmbeddedStore, kind: str, error: Exception) -> None:
    """What the principal raises is the answer; a stored one is not given to strangers."""
    till = Till()
    post(shop(store, till, kind), 1)
    refused = post(shop(store, till, kind, principal=_raise(error)), 1)[0]
    error_of(refused, 401, "UNAUTHORIZED")
    assert (1, False) == (till.count, replayed(refused))


def test_a_principal_may_be_async(store: EmbeddedStore) -> None:
    """As where a token is looked up."""
    app = shop(store, Till(), principal=_anne)
    assert [False, True] == [replayed(each) for each in post(app, 1, 1)]


@pytest.mark.parametrize("nobody", [None, "", 7, b"alice", ["alice"]])
def test_a_principal_that_names_nobody_stops_the_request(store: EmbeddedStore, nobody: Any) -> None:
    """500, nothing executed: a fallback such as `anonymous` would mix up users."""
    till = Till()
    error_of(post(shop(store, till, principal=lambda scope: nobody), 1)[0], 500, "INTERNAL_ERROR")
    assert 0 == till.count


BAD = [
    ({"routes": []}, ValueError, "routes is empty"),
    ({"routes": "POST /payments"}, TypeError, "is no list of routes"),
    ({"routes": 7}, TypeError, "is no list of routes"),
    ({"routes": [7]}, TypeError, "which is no text"),
    ({"routes": ["GET /payments"]}, ValueError, "whose method is none of POST"),
    ({"routes": ["/payments"]}, ValueError, "whose method is none of POST"),
    ({"routes": ["POST payments"]}, ValueError, "does not begin with '/'"),
    ({"routes": ["POST /{"]}, ValueError, "whose parameter is none"),
    ({"routes": ["POST /{id:nonsense}"]}, ValueError, "whose parameter is none"),
    ({"routes": ["POST /a", "post  /a"]}, ValueError, "'POST /a' twice"),
    ({"routes": {"POST /a": 7}}, TypeError, "is no IdempotentRoute"),
    ({"principal": "alice"}, TypeError, "principal"),
    ({"store": 7}, TypeError, "store=7"),
    ({"ttl": 0}, ValueError, "ttl"),
    ({"heartbeat": 20}, ValueError, "heartbeat=20"),
    ({"reconcile": 7}, TypeError, "reconcile"),
    ({"headers": "x-cost"}, TypeError, "is no list of names"),
    ({"headers": [7]}, TypeError, "no name of a header"),
    ({"headers": ["Set-Cookie"]}, ValueError, "set-cookie, which belongs to one response alone"),
    ({"headers": ["content-length"]}, ValueError, "content-length"),
]


@pytest.mark.parametrize(("given", "kind", "said"), BAD, ids=[repr(each[0]) for each in BAD])
def test_what_is_no_declaration_is_refused(store: EmbeddedStore, given: Any, kind: type[Exception], said: str) -> None:
    """At construction, with what would be right."""
    arguments = {"store": store, "routes": ["POST /payments"], "principal": of, **given}
    with pytest.raises(kind, match=said):
        IdempotentRequests(**arguments)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"required": 1}, "required"),
        ({"transactional": "yes"}, "transactional"),
        ({"wait": -1}, "wait"),
        ({"server_errors": "keep"}, "server_errors"),
        ({"max_body": -1}, "max_body"),
        ({"transactional": True, "server_errors": "replay"}, "server_errors='replay' has no effect"),
    ],
)
def test_what_is_no_route_is_refused(given: Any, said: str) -> None:
    """At construction."""
    with pytest.raises((TypeError, ValueError), match=said):
        IdempotentRoute(**given)


def test_the_wrapper_takes_nothing_else(store: EmbeddedStore) -> None:
    """`Seawall(idempotency=)` says what it wants."""
    with pytest.raises(TypeError, match=r"use seawall\.web\.IdempotentRequests"):
        Seawall(Starlette(), idempotency=store)  # type: ignore[arg-type]


def test_a_store_without_transactions_holds_no_transactional_routes(tmp_path: Path) -> None:
    """Redis can tell repeats; it cannot commit an answer together with an effect."""
    redis = open_store("redis://127.0.0.1:1")
    IdempotentRequests(redis, ["POST /payments"], principal=of)
    with pytest.raises(StoreError, match="'POST /payments' is transactional"):
        IdempotentRequests(redis, {"POST /payments": IdempotentRoute(transactional=True)}, principal=of)
