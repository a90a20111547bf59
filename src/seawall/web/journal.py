"""The log of errors: each failure once, with what is needed to find it again, and without secrets."""

from __future__ import annotations

import logging
import traceback
from typing import Any, Final

from seawall._core.errors import RejectedError
from seawall._core.events import Hub
from seawall._core.masking import mask_secrets
from seawall.web.asgi import Scope
from seawall.web.events import ErrorAnswered
from seawall.web.problem import Problem
from seawall.web.wording import one_line, told

LOGGER: Final = logging.getLogger("seawall.web")


def _write_traceback(record: logging.LogRecord) -> bool:
    """Writes the traceback of a record down, masked, where every formatter of logging looks for it."""
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        record.exc_text = mask_secrets("".join(traceback.format_exception(record.exc_info[1]))).rstrip()
    return True


LOGGER.addFilter(_write_traceback)


def route_of(scope: Scope) -> str:
    """Returns the pattern of the route that a framework has found; empty where there is none."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else ""


class Journal:
    """Writes errors to the log and tells listeners of them. `name` is the web application's."""

    __slots__ = ("hub",)

    def __init__(self, name: str) -> None:
        self.hub = Hub(name)

    def error(
        self, scope: Scope, correlation_id: str, problem: Problem, error: BaseException | None, how: str = ""
    ) -> None:
        """Takes note of an error, once.

        Args:
            scope: of the request.
            correlation_id: of the request.
            problem: what the caller was told, or would have been.
            error: the exception; None where the application answered by itself.
            how: a word on what came of it, where it was not answered.
        """
        method, route = scope.get("method", "WEBSOCKET"), route_of(scope)
        level = _level(problem)
        if LOGGER.isEnabledFor(level):
            self._log(level, method, route or scope["path"], correlation_id, problem, error, how)
        self.hub.tell(ErrorAnswered(self.hub.name, problem.status, problem.code, method, route, correlation_id, error))

    def _log(
        self, level: int, method: str, where: str, correlation_id: str, problem: Problem, error: Any, how: str
    ) -> None:
        said = f"{one_line(method, 20)} {one_line(where, 200)} -> {problem.status} {problem.code} [{correlation_id}]"
        if how:
            said += f" {how}"
        if error is not None and not problem.deliberate:
            said += f": {told(error)}"
        with_traceback = problem.status >= 500 and error is not None and not isinstance(error, RejectedError)
        LOGGER.log(level, "%s", said, exc_info=error if with_traceback else None)

    def gone(self, scope: Scope, correlation_id: str) -> None:
        """Takes note of a client that did not wait for its answer: no error of anybody's."""
        where = route_of(scope) or scope["path"]
        LOGGER.info("%s: the client went away [%s]", one_line(where, 200), correlation_id)


def _level(problem: Problem) -> int:
    if problem.status == 500:
        return logging.ERROR
    return logging.WARNING if problem.status > 500 or problem.status == 408 else logging.INFO
