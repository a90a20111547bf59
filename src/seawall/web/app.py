"""The wrapper around a finished ASGI application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.clock import Clock
from seawall._core.deadline import deadline
from seawall._core.events import Event, Listener
from seawall._core.names import check_name
from seawall.web import frameworks, lifespan
from seawall.web.answering import Answering, OwnErrors
from seawall.web.asgi import ASGIApp, Receive, Scope, Send
from seawall.web.drain import InFlight
from seawall.web.endpoints import Endpoints, HealthEndpoint, MetricsEndpoint
from seawall.web.exchange import KEY, Exchange
from seawall.web.health_source import HealthSource
from seawall.web.idempotency import IdempotentRequests
from seawall.web.incoming import asked_for
from seawall.web.journal import Journal
from seawall.web.lifespan import Hook, Lifespan
from seawall.web.operations import Operations
from seawall.web.verdict import StatusMap, Verdicts
from seawall.web.websocket import WebSocketExchange

_OPEN: Final = ("development", "test")
"""Environments in which a response may show an exception. Every other word is as good as production."""


@dataclass(frozen=True, slots=True)
class WebSnapshot:
    """A wrapped application at one moment."""

    name: str
    in_flight: int
    draining: bool


class Seawall:
    """Wraps a finished ASGI application: one format for its errors, a correlation id on everything, and an orderly end.

    `app = Seawall(app)` is an ASGI application again. It guarantees:

    - **Correlation.** `X-Correlation-Id` is taken from the request if it is 1 to 128 letters, digits, `.`, `_` and `-`,
      else made; it is around the handler, its tasks and threads (`seawall.correlation_id()`), and goes out exactly once
      with every response and handshake.
    - **Errors.** Every failure is answered in one format, as JSON or, for who asks for it, as problem details (RFC
      9457), and logged once. In production nothing of an exception is shown. A framework that answers exceptions itself
      (FastAPI, Starlette) is given handlers for that; the user's own handlers, and errors that an endpoint returns by
      itself, stay as they are. Of any other application, errors are replaced, unless `own_errors` says otherwise.
    - **Half-sent responses** are never mended: they are logged, and the server is made to cut the connection.
    - **Deadline.** A request's `X-Request-Timeout` (seconds) becomes the deadline of all protected calls below.
    - **Health and metrics** are answered before the application, whose routes of the same paths are not reached.

    Args:
        app: the application.
        name: shown in events; default `app`.
        environment: `development` and `test` show exceptions in responses; default: the environment variable
            `SEAWALL_ENV`, and `production` without it.
        status_map: exception class -> status, `(status, code)` or `(status, code, message)`; the class nearest to the
            exception counts.
        health: who tells the health of the service; default: the paths of health are not served.
        metrics: a function that returns Prometheus text, called on a thread of its own; default: not served.
        operations: what steers the service over all its workers, started and stopped with each of them; its metrics are
            served; default: none.
        idempotency: which requests happen once for each `Idempotency-Key`; default: none.
        health_token: `Authorization: Bearer <token>` opens the details of health and `?fresh=1`; default: nothing does.
        deadline: seconds that a request may take at most, streams included; default: as long as its client waits.
        own_errors: a function of status and content type (`""` where there is none) which says that an error of the
            application is its own, and stays; default: see above.
        on_start: functions to run before the application starts, in order, plain or async.
        on_stop: functions to run after it has stopped, in order, also after a start that failed.
        health_path: where health is served; its views one step below; default `/health`.
        metrics_path: where metrics are served; default `/metrics`.
        clock: where time comes from; default: the system's clock.
        rng: a random.Random, or a function that gives numbers in [0, 1); for the spread of `Retry-After`.

    Raises TypeError and ValueError for arguments that are none, and RuntimeError for a framework's application that has
    served requests already.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        name: str = "app",
        environment: str | None = None,
        status_map: StatusMap | None = None,
        health: HealthSource | None = None,
        metrics: Callable[[], str] | None = None,
        operations: Operations | None = None,
        idempotency: IdempotentRequests | None = None,
        health_token: str | None = None,
        deadline: Seconds | None = None,
        own_errors: OwnErrors | None = None,
        on_start: Sequence[Hook] = (),
        on_stop: Sequence[Hook] = (),
        health_path: str = "/health",
        metrics_path: str = "/metrics",
        clock: Clock | None = None,
        rng: Random | Rng | None = None,
    ) -> None:
        check_name(name)
        self.name = name
        if isinstance(app, Seawall):
            raise TypeError(f"app={app!r} is wrapped already; wrap an application once")
        self._app = arguments.function("app", app, "an ASGI application")
        self._clock = clock
        self._time = arguments.clock("clock", clock)
        self._longest = None if deadline is None else arguments.seconds("deadline", deadline)
        self._on_start = lifespan.checked("on_start", on_start)
        self._on_stop = lifespan.checked("on_stop", on_stop)
        self._journal = Journal(name)
        self._in_flight = InFlight(self._time)
        self._endpoints = Endpoints()
        self._add_health(health, health_token, _path("health_path", health_path))
        if operations is not None:
            metrics = self._operated_by(operations, metrics)
        self._metrics = self._add_metrics(metrics, _path("metrics_path", metrics_path))
        if own_errors is not None:
            arguments.function("own_errors", own_errors, "a function of status and content type")
        shown = _environment(environment) in _OPEN
        random = arguments.rng("rng", rng)
        self._answering = Answering(self._journal, Verdicts(status_map), own_errors, shown, self._time, random)
        framework = frameworks.framework_in(app)
        self._framework = framework is not None
        if framework is not None:
            frameworks.register(framework, self._answering)
        if idempotency is not None:
            if not isinstance(idempotency, IdempotentRequests):
                raise TypeError(
                    f"idempotency={idempotency!r} is none; use seawall.web.IdempotentRequests(store, routes, ...)"
                )
            self._app = idempotency.around(self._app)

    def _operated_by(self, operations: Operations, metrics: Callable[[], str] | None) -> Callable[[], str]:
        if not isinstance(operations, Operations):
            raise TypeError(f"operations={operations!r} are none; use seawall.web.Operations('name of the service')")
        operations.serve(self)
        self._on_start = (operations.start, *self._on_start)
        self._on_stop = (*self._on_stop, operations.stop)
        return operations.metrics.render if metrics is None else metrics

    def _add_health(self, health: HealthSource | None, token: str | None, path: str) -> None:
        if health is None:
            if token is not None:
                raise ValueError("health_token has no effect without health; give health, such as a monitor")
            return
        if not (callable(getattr(health, "answer", None)) and callable(getattr(health, "arefresh", None))):
            raise TypeError(f"health={health!r} lacks answer() or arefresh(); use a seawall.health.Monitor")
        if token is not None and not (isinstance(token, str) and token and token.isascii()):
            raise ValueError("health_token is not usable as a token; use a text of ASCII characters")
        self._endpoints.add_health(path, HealthEndpoint(health, token, lambda: self._in_flight.draining))

    def _add_metrics(self, metrics: Callable[[], str] | None, path: str) -> MetricsEndpoint | None:
        if metrics is None:
            return None
        endpoint = MetricsEndpoint(arguments.function("metrics", metrics, "a function that returns Prometheus text"))
        self._endpoints.add(path, endpoint)
        return endpoint

    def __repr__(self) -> str:
        return f"Seawall({self.name!r})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, one WebSocket or one lifespan, as ASGI 3 has it."""
        kind = scope["type"]
        if KEY in scope:  # wrapped twice: the outer one has it all in hand
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._serve(scope, receive, send)
        elif kind == "websocket":
            await self._connect(scope, receive, send)
        elif kind == "lifespan":
            await Lifespan(self._app, self._on_start, self._on_stop, self._stopping, receive, send).run(scope)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        correlation, limit = asked_for(scope["headers"])
        endpoint = self._endpoints.find(scope)
        framework = self._framework and endpoint is None
        exchange = Exchange(self._answering, scope, receive, send, correlation.id, framework)
        with correlation:
            if endpoint is not None:
                exchange.ours = True
                await self._run(endpoint, exchange)
                return
            self._in_flight.add(exchange)
            try:
                if self._in_flight.draining:
                    exchange.close_after()
                limit = _shorter(limit, self._longest)
                if limit is None:
                    await self._run(self._app, exchange)
                else:
                    with deadline(limit, clock=self._clock):
                        await self._run(self._app, exchange)
            finally:
                self._in_flight.remove(exchange)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        correlation, _ = asked_for(scope["headers"])
        with correlation:
            exchange = WebSocketExchange(self._answering, scope, receive, send, correlation.id, self._framework)
            await self._run(self._app, exchange)

    async def _run(self, app: ASGIApp, exchange: Exchange) -> None:
        try:
            await app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            await exchange.failed(error)
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            await exchange.failed(error)  # of something that was awaited here: to this request, a failure
        else:
            await exchange.ended()
        finally:
            exchange.scope.pop(KEY, None)  # else each request would be a cycle, for the garbage collector to find

    def drain(self) -> None:
        """Asks for no more requests: from now on `ready` answers 503 and responses ask their client to reconnect.

        Requests go on being served. Call it before the server is stopped, and give the load balancer time to notice: a
        server such as uvicorn closes its listening socket first and runs the lifespan's shutdown last.
        """
        self._in_flight.draining = True

    async def drained(self, timeout: Seconds | None = 30.0) -> int:
        """Waits until no request is in flight, and returns how many are left when the time is up: 0 where none is.

        Streams count until they end, WebSockets and the endpoints of seawall itself do not.

        Args:
            timeout: seconds to wait at most; None waits for ever.
        """
        return await self._in_flight.none_left(timeout)

    @property
    def in_flight(self) -> int:
        """How many requests are being served now."""
        return len(self._in_flight)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called, or the server has asked for the end."""
        return self._in_flight.draining

    def snapshot(self) -> WebSnapshot:
        """Returns the state as of now."""
        return WebSnapshot(self.name, self.in_flight, self.draining)

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of every error that is answered (`ErrorAnswered`); returns the function that stops it."""
        return self._journal.hub.listen(listener, types)

    def _stopping(self) -> None:
        self.drain()
        if self._metrics is not None:
            self._metrics.close()


def _cancelled() -> bool:
    """Whether somebody has asked the running task to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _environment(given: Any) -> str:
    if given is None:
        given = os.environ.get("SEAWALL_ENV", "production")
    if not isinstance(given, str):
        raise TypeError(f"environment={given!r} is no text; use 'production', 'development' or 'test'")
    return given.strip().lower()


def _path(argument: str, path: Any) -> str:
    if not (isinstance(path, str) and path.startswith("/") and len(path) > 1 and not path.endswith("/")):
        raise ValueError(f"{argument}={path!r} is no path; use one such as '/health'")
    return path
