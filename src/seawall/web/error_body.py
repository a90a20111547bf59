"""The format of errors, for who tells of an error by other means than a response."""

from __future__ import annotations

from typing import Any

from seawall.web.asgi import Scope
from seawall.web.exchange import KEY, Exchange


def error_body(scope: Scope, error: BaseException) -> dict[str, Any]:
    """Returns what a request is told of an exception: the body of the response that would answer it.

    For an error that can't become a response any more: the last event of a stream, a message on a WebSocket. It is told
    as the wrapped application answers all errors (its `status_map`, its environment, the request's correlation id and
    `Accept`), and logged and told to listeners (`ErrorAnswered`) once, also where it is raised afterwards.

    Args:
        scope: of the request, as ASGI has it: `request.scope` with FastAPI and Starlette.
        error: what went wrong.

    Returns:
        An object for JSON.

    Raises:
        LookupError: the scope is not that of a request to an application that `Seawall` wraps, or the request is over.
    """
    exchange = scope.get(KEY)
    if not isinstance(exchange, Exchange):
        raise LookupError(  # noqa: TRY004 - the scope is of the right type, and holds nothing of ours
            "this request did not come through Seawall(app), or is over; wrap the application, and ask in time"
        )
    return exchange.body(error)
