"""Requests that happen once: `Idempotency-Key` for any ASGI application."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from seawall._core import arguments
from seawall._core.arguments import Seconds
from seawall.durable.codec import CodecError
from seawall.durable.idempotency import Idempotency
from seawall.durable.idempotency_claim import Replay
from seawall.durable.store import RECORDS, Store, require
from seawall.web.asgi import ASGIApp, Receive, Scope, Send, header
from seawall.web.errors import ServiceError
from seawall.web.exchange import KEY, Exchange
from seawall.web.idempotency_key import IdempotencyKeyMissingError, key_of
from seawall.web.idempotency_routes import Declared, IdempotentRoute, Routes
from seawall.web.idempotency_serving import Serving
from seawall.web.request_claim import holding
from seawall.web.stored_answer import NEVER, TYPE, StoredAnswer, answer_of

Principal: TypeAlias = Callable[[Scope], str | Awaitable[str]]
_LONGEST: Final = 1000
"""Bytes of a key in the store; PostgreSQL indexes no more than 2704."""


class PayloadTooLargeError(ServiceError):
    """The body of an idempotent request is larger than what its route takes."""

    status = 413
    code = "CONTENT_TOO_LARGE"
    message = "The body of this request is too large."


class _Answers:
    """The codec of answers."""

    name = TYPE

    def dumps(self, value: Any) -> bytes:
        try:
            return answer_of(value).dumps()
        except (TypeError, ValueError) as error:
            raise CodecError(f"this is no answer that could be given: {error}") from None

    def loads(self, stored: bytes) -> StoredAnswer:
        return StoredAnswer.loads(stored)


class IdempotentRequests:
    """Has the requests of some routes happen once for each `Idempotency-Key`: `Seawall(app, idempotency=this)`.

    Guarantees, for requests of one principal to one route with one key, over all processes on one store:

    - one of them is executed; repeats get its answer, the body to the byte, with `Idempotency-Replayed: true`;
    - while it is in flight, repeats wait (`wait` of the route) or get 409 `REQUEST_IN_PROGRESS` with `Retry-After`;
    - another method, path, query, content type or body under the key gets 422 `IDEMPOTENCY_KEY_REUSED`, and nothing is
      executed; a missing key 400, where it is required; an overlong body 413;
    - where the process died, a transactional route is executed anew once the lease is over, if its transaction had not
      been committed, and replayed if it had; on any other route the outcome is unknown, and repeats get 409
      `OUTCOME_UNKNOWN` until somebody settles it (`seawall idempotency resolve`, or `reconcile`);
    - a client that goes away stops nothing: the answer waits for its repeat.

    Kept are the answers of executed requests: 2xx, 3xx and 4xx but for 401, 403, 408, 425 and 429. After 401, 403, 425
    and 429 the next request is executed; what 408, 5xx and exceptions leave behind is the route's to say
    (`server_errors`). Cookies are not kept, and of the headers those that describe the body or its place.
    The rules are those of draft-ietf-httpapi-idempotency-key-header.

    Args:
        store: where claims and answers are; see `seawall.durable.open_store`.
        routes: route -> `IdempotentRoute`, or a list of routes: a method and a path such as `PUT /invoices/{id}`.
        principal: a function of the ASGI scope, plain or async, that returns who asks, such as a tenant and user id, as
            it was authenticated; keys of different principals never meet. What it raises is answered, before any
            look-up. Where there is only one, say so: `lambda scope: "everybody"`.
        namespace: tells these keys from those of others in the store; default `http`.
        ttl: seconds for which answers are kept; default a day.
        lease, heartbeat: see `Idempotency`; default 30 and 10 seconds.
        reconcile: settles what is unknown; see `Idempotency`. The result that it returns, as that of
            `idempotency.resolve()`, is a whole response (status_code, headers and body, such as Starlette's
            JSONResponse), or a dict with "status" and, where there are any, "headers" and "body". Its argument is the
            key in the store: a JSON array of route, principal and key.
        headers: names of further response headers that are kept.

    Attributes:
        idempotency: the operations behind the requests, for `listen`, `unknown`, `show` and `resolve`.

    Raises TypeError and ValueError for arguments that are none, and StoreError where a route is transactional and the
    store has no transactions that it could share.
    """

    def __init__(
        self,
        store: Store,
        routes: Mapping[str, IdempotentRoute] | Iterable[str],
        *,
        principal: Principal,
        namespace: str = "http",
        ttl: Seconds = 86400.0,
        lease: Seconds = 30.0,
        heartbeat: Seconds = 10.0,
        reconcile: Callable[[str], Any] | None = None,
        headers: Iterable[str] = (),
    ) -> None:
        self._routes = Routes(routes)
        self._principal = arguments.function("principal", principal, "a function of the scope that says who asks")
        self._also = _names(headers)
        self.idempotency = Idempotency(
            store,
            namespace,
            ttl=ttl,
            lease=lease,
            heartbeat=heartbeat,
            reconcile=reconcile,
            codec=_Answers(),
        )
        if self._routes.transactional:
            require(store, RECORDS, f"{self._routes.transactional!r} is transactional, and what it commits")

    def around(self, app: ASGIApp) -> ASGIApp:
        """Returns the application with its idempotent routes guarded; `Seawall` does that."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            declared = self._routes.find(scope) if scope["type"] == "http" else None
            if declared is None:
                await app(scope, receive, send)
            else:
                with holding(None):
                    await self._serve(app, declared, scope, receive, send)

        return guarded

    async def _serve(self, app: ASGIApp, declared: Declared, scope: Scope, receive: Receive, send: Send) -> None:
        route = declared.route
        key = key_of(scope["headers"])
        if key is None:
            if route.required:
                raise IdempotencyKeyMissingError
            await app(scope, receive, send)
            return
        asked = self._principal(scope)
        who = await asked if isinstance(asked, Awaitable) else asked
        if not isinstance(who, str) or not who:
            raise TypeError(f"principal returned {type(who).__name__} for a request; it must return who asks, a text")
        body = await _body_of(receive, route.max_body)
        if body is None:
            return  # the client went away before it had said all
        claimed = await self.idempotency.aclaim(
            _scoped(declared.name, who, key),
            _fingerprint(scope, body),
            transactional=route.transactional or route.server_errors == "release",
            wait=route.wait,
        )
        exchange: Exchange = scope[KEY]
        if isinstance(claimed, Replay):
            exchange.final = True
            for message in claimed.value.messages(replayed=True):
                await send(message)
            return
        await Serving(app, route, key, claimed, self._also, exchange).run(scope, body, receive)


def _names(headers: Any) -> frozenset[bytes]:
    """Returns names of headers as ASGI has them."""
    if isinstance(headers, str) or not isinstance(headers, Iterable):
        raise TypeError(f"headers={headers!r} is no list of names; use ['X-Request-Cost']")
    names = set()
    for name in headers:
        if not isinstance(name, str) or not name or not name.isascii():
            raise TypeError(f"headers has {name!r}, which is no name of a header; use ['X-Request-Cost']")
        names.add(name.lower().encode("ascii"))
    if names & NEVER:
        never = ", ".join(sorted(name.decode() for name in names & NEVER))
        raise ValueError(f"headers has {never}, which belongs to one response alone; leave it out")
    return frozenset(names)


async def _body_of(receive: Receive, most: int) -> bytes | None:
    """Returns the whole body of a request, or None where its client went away. Raises PayloadTooLargeError."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise PayloadTooLargeError(f"The body of this request is larger than {most} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _scoped(route: str, principal: str, key: str) -> str:
    """The key in the store: of one route and one principal. It can be read by operators, unless it is overlong."""
    scoped = json.dumps([route, principal, key], ensure_ascii=not principal.isprintable(), separators=(",", ":"))
    if len(scoped.encode("utf-8")) <= _LONGEST:
        return scoped
    return f"sha256:{hashlib.sha256(scoped.encode('utf-8')).hexdigest()}"


def _fingerprint(scope: Scope, body: bytes) -> str:
    """What makes two requests the same one."""
    digest = hashlib.sha256()
    kind = header(scope["headers"], b"content-type") or b""
    path: str = scope["path"]
    for part in (scope["method"].encode(), path.encode("utf-8", "surrogatepass"), scope["query_string"], kind, body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
