"""FastAPI and Starlette: they answer exceptions themselves, before anything around them sees one.

So our handlers are registered with them. They are known by what they can do, and nothing of them is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from seawall._core.correlation import correlation, correlation_id
from seawall._core.errors import SeawallError
from seawall.web import foreign, openapi
from seawall.web.answering import Answering
from seawall.web.asgi import Message, Receive, Scope, Send
from seawall.web.exchange import KEY, Exchange

LOGGER = logging.getLogger("seawall.web")


_DEEPEST = 30


def framework_in(app: Any) -> Any | None:
    """Returns the framework's application that takes exception handlers: `app`, or the one inside its middlewares.

    A middleware around an application has it as its attribute `app`, by a custom that all of them follow. None where
    there is no framework.
    """
    for _ in range(_DEEPEST):
        if _takes_handlers(app):
            return app
        app = getattr(app, "app", None)
    return None


def _takes_handlers(app: Any) -> bool:
    return callable(getattr(app, "add_exception_handler", None))


def register(app: Any, answering: Answering) -> None:
    """Has a framework's application, and those mounted in it, answer exceptions in our format.

    What the user registered is left alone. `debug` is turned off: its pages show what production must not, and outside
    production our format has the traceback. FastAPI's document is made to say how invalid requests are answered.

    Args:
        app: a FastAPI or Starlette application.
        answering: how errors are answered.

    Raises RuntimeError where the application has served requests already, and is not going to look again.
    """
    handler = _Handlers(answering)
    for each in _with_mounted(app):
        handlers = getattr(each, "exception_handlers", {})
        if getattr(each, "middleware_stack", None) is not None:
            if any(map(_is_ours, handlers.values())):
                continue  # another wrapper was here before, and its handlers speak for this one too
            raise RuntimeError(f"{each!r} has served requests already; wrap it before its first one")
        if getattr(each, "debug", False):
            LOGGER.info("debug pages of %s are off: seawall shows the traceback in development", type(each).__name__)
            each.debug = False
        for kind in _answered(answering.verdicts.classes):
            if _is_free(handlers, kind):
                each.add_exception_handler(kind, handler.outermost if kind is Exception else handler.within)
                if foreign.is_one(kind, *foreign.REQUEST_INVALID):
                    openapi.correct(each, answering.verdicts.on(kind([])))


def _with_mounted(app: Any) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [app]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if _takes_handlers(each):
            yield each
        for route in getattr(each, "routes", None) or ():
            waiting += [getattr(route, "_base_app", None), getattr(route, "app", None)]


def _answered(classes: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    """What is answered where it arises, so that the framework's middlewares (CORS, say) see an ordinary response.

    Exception itself is answered outermost, and raised again by the framework afterwards.
    """
    known = foreign.all_found(
        *foreign.HTTP_EXCEPTION,
        *foreign.REQUEST_INVALID,
        *foreign.SOCKET_REQUEST_INVALID,
        *foreign.TRANSPORT_ERROR,
        *foreign.STATUS_ERROR,
    )
    ours = (SeawallError, TimeoutError, ConnectionError, ExceptionGroup, Exception)
    return tuple(dict.fromkeys((*classes, *known, *ours)))


def _is_free(handlers: Any, kind: type[Exception]) -> bool:
    """Whether the user has registered nothing for a class; FastAPI's own handlers don't count."""
    if kind is Exception and 500 in handlers:
        return False
    handler = handlers.get(kind)
    return handler is None or getattr(handler, "__module__", "") == "fastapi.exception_handlers"


def _is_ours(handler: Any) -> bool:
    return isinstance(getattr(handler, "__self__", None), _Handlers)


class _Handlers:
    """The handlers, which speak for whichever wrapped application a request came through."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def within(self, request: Any, error: Exception) -> Any:
        """Answers an exception where it arises. One that nobody has mapped goes on to the outermost handler."""
        exchange = self._exchange(request, error)
        problem = exchange.judge(error)
        if problem.unexpected:
            try:
                raise error
            finally:
                del error  # no cycle of failure, traceback and frame
        return _Answer(exchange, *exchange.messages(problem, error))

    async def outermost(self, request: Any, error: Exception) -> Any:
        """Answers what nobody else has answered."""
        exchange = self._exchange(request, error)
        return _Answer(exchange, *exchange.messages(exchange.judge(error), error))

    def _exchange(self, request: Any, error: Exception) -> Exchange:
        scope = request.scope
        if scope["type"] != "http":
            raise error  # a WebSocket's exceptions are answered around the application
        exchange = scope.get(KEY)
        if isinstance(exchange, Exchange):
            return exchange
        return Exchange(self._answering, scope, request.receive, _unsent, correlation_id() or correlation().id, True)


async def _unsent(message: Message) -> None:
    """What an application served without its wrapper sends goes straight to the server."""


class _Answer:
    """A response of ours, as a framework sends one."""

    __slots__ = ("_body", "_exchange", "_start")

    def __init__(self, exchange: Exchange, start: Message, body: Message) -> None:
        self._exchange = exchange
        self._start = start
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._exchange.ours = True
        await send({**self._start, "headers": self._exchange.marked(self._start["headers"])})
        await send(self._body)
