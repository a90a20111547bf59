"""The addresses that a wrapped application answers besides its own: health and metrics."""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

from seawall._core.forks import renew_after_fork
from seawall.web.asgi import JSON, ASGIApp, Receive, Scope, Send, header, reply
from seawall.web.errors import NotFoundError, ServiceError
from seawall.web.health_source import HealthSource
from seawall.web.journal import LOGGER

Handler: TypeAlias = Callable[[Scope], Awaitable[tuple[int, bytes, bytes]]]
"""Returns status, content type and body."""

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_VIEW: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STRICT: Final = ("ready", "startup")
"""Views for which not to know means not to be healthy: nobody is sent here, or waits longer."""


class _MethodNotAllowedError(ServiceError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    message = "This address can be read, with GET or HEAD."

    def __init__(self) -> None:
        super().__init__(headers={"Allow": "GET, HEAD"})


class HealthEndpoint:
    """`/health` and the views below it.

    Args:
        source: who knows.
        token: what opens the details; None: nothing does.
        draining: whether no new requests are wanted, which makes `ready` answer 503.
    """

    def __init__(self, source: HealthSource, token: str | None, draining: Callable[[], bool]) -> None:
        self._source = source
        self._token = None if token is None else token.encode("utf-8")
        self._draining = draining

    async def view(self, view: str, scope: Scope) -> tuple[int, bytes, bytes]:
        """Answers one view."""
        details = self._is_authorised(scope)
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        fresh = details and query.get("fresh", [""])[0] in ("1", "true")
        said: Mapping[str, Any]
        try:
            if fresh:
                await self._source.arefresh(view)
            status, said = self._source.answer(view, check=query.get("check", [None])[0], details=details)
            body = _json(said)
        except Exception as error:
            known = getattr(error, "known", None)
            if isinstance(error, LookupError) and known is not None:
                raise NotFoundError(f"Health knows {', '.join(map(str, known)) or 'nothing'}.") from None
            LOGGER.exception("health is unknown: its source failed")
            status, said = 503 if view in _STRICT else 200, {"status": "unknown", "checks": [], "totalDuration": 0}
            body = _json(said)
        if view == "ready" and self._draining():
            status, body = 503, _json({**said, "status": "unhealthy", "draining": True})
        return status, JSON, body

    def _is_authorised(self, scope: Scope) -> bool:
        """Whether the request shows the token; compared in a time that says nothing of where it differs."""
        given = header(scope["headers"], b"authorization")
        if self._token is None or given is None:
            return False
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def _json(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, default=str).encode("ascii")


class MetricsEndpoint:
    """`/metrics`: what a function returns, rendered on a thread of its own so that a long text holds up no request."""

    def __init__(self, metrics: Callable[[], str]) -> None:
        self._metrics = metrics
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forgets the thread, which a child process does not have."""
        self._thread: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope) -> tuple[int, bytes, bytes]:
        """Answers one scrape."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "seawall-metrics")
        render = contextvars.copy_context().run
        text = await asyncio.get_running_loop().run_in_executor(self._thread, render, self._metrics)
        return 200, METRICS_TYPE, text.encode("utf-8")

    def close(self) -> None:
        """Lets go of the thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None


class Endpoints:
    """Finds the endpoint for a path. They come before the application: its own routes of such paths are not reached."""

    def __init__(self) -> None:
        self._exact: dict[str, Handler] = {}
        self._health: HealthEndpoint | None = None
        self._health_path = ""
        self._starts: tuple[str, ...] = ()

    def add_health(self, path: str, endpoint: HealthEndpoint) -> None:
        """Serves health at `path`, and its views one step below."""
        self._health, self._health_path = endpoint, path
        self._starts += (path,)

    def add(self, path: str, handler: Handler) -> None:
        """Serves `handler` at exactly this path."""
        self._exact[path] = handler
        self._starts += (path,)

    def find(self, scope: Scope) -> ASGIApp | None:
        """Returns what answers the request; None where that is the application."""
        path: str = scope["path"]
        root: str = scope.get("root_path") or ""
        if root and path.startswith(root):
            path = path[len(root) :]
        if not path.startswith(self._starts):
            return None
        handler = self._exact.get(path) or self._view(path)
        return None if handler is None else _served(handler)

    def _view(self, path: str) -> Handler | None:
        health = self._health
        if health is None or not path.startswith(self._health_path):
            return None
        rest = path[len(self._health_path) :]
        if rest in ("", "/"):
            return lambda scope: health.view("all", scope)
        if rest[0] == "/" and _VIEW.fullmatch(rest[1:]):
            return lambda scope: health.view(rest[1:], scope)
        return None


def _served(handler: Handler) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise _MethodNotAllowedError
        status, kind, body = await handler(scope)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode("ascii"))]
        headers.append((b"cache-control", b"no-store"))
        for message in reply("http", status, headers, b"" if scope["method"] == "HEAD" else body):
            await send(message)

    return serve
