"""Answering with errors: verdict, format and journal together, for one wrapped application."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from seawall._core.arguments import Rng
from seawall._core.clock import Clock, DefaultClock
from seawall.web.asgi import Headers, Message, header, reply
from seawall.web.journal import Journal
from seawall.web.problem import Problem
from seawall.web.rendering import PROBLEM_JSON, asks_for_problem, body_of
from seawall.web.retry_hint import hint
from seawall.web.verdict import Verdicts

OwnErrors = Callable[[int, str], bool]
"""Says of a status and a content type (empty where there is none) whether such an error is the application's own."""

_NOT_KEPT = frozenset(
    b"content-type content-length content-encoding content-language content-disposition content-md5 "
    b"transfer-encoding etag last-modified digest content-digest repr-digest trailer".split()
)
"""Headers that speak of a body, which go where the body goes."""


class Answering:
    """What the errors of one application are answered with."""

    __slots__ = ("_clock", "_details", "_rng", "journal", "own_errors", "verdicts")

    def __init__(
        self,
        journal: Journal,
        verdicts: Verdicts,
        own_errors: OwnErrors | None,
        details: bool,
        clock: Clock | DefaultClock,
        rng: Rng,
    ) -> None:
        self.journal = journal
        self.verdicts = verdicts
        self.own_errors = own_errors
        self._details = details
        self._clock = clock
        self._rng = rng

    def messages(
        self,
        prefix: str,
        problem: Problem,
        correlation_id: str,
        error: BaseException | None,
        accept: bytes | None,
        head: bool = False,
    ) -> tuple[Message, Message]:
        """Returns the messages of a response that says what went wrong.

        Args:
            prefix: see `reply`.
            problem: what to say.
            correlation_id: of the request.
            error: what to show outside production.
            accept: the request's Accept header.
            head: whether it was a HEAD request, which gets the headers alone.
        """
        status, headers = problem.status, [pair for pair in problem.headers if pair[0].lower() not in _NOT_KEPT]
        if status < 400:  # raised to redirect, say: no error
            return reply(
                prefix, status, headers if status in (204, 304) else [*headers, (b"content-length", b"0")], b""
            )
        body = json.dumps(self.body(problem, correlation_id, error, accept)).encode("ascii")
        self._complete(headers, problem)
        headers += [
            (b"content-type", PROBLEM_JSON.encode() if asks_for_problem(accept) else b"application/json"),
            (b"content-length", str(len(body)).encode("ascii")),
        ]
        return reply(prefix, status, headers, b"" if head else body)

    def body(
        self, problem: Problem, correlation_id: str, error: BaseException | None, accept: bytes | None
    ) -> dict[str, Any]:
        """Returns the body of a response that says what went wrong; arguments as in `messages`."""
        shown = error if self._details and not problem.deliberate else None
        return body_of(problem, correlation_id, self._clock.wall(), shown, asks_for_problem(accept))

    def _complete(self, headers: Headers, problem: Problem) -> None:
        hinted = problem.status in (429, 503) or problem.retry_after is not None
        if hinted and header(headers, b"retry-after") is None:
            headers.append((b"retry-after", hint(problem.retry_after, self._rng)))
        if header(headers, b"cache-control") is None:
            headers.append((b"cache-control", b"no-store"))
        varied = header(headers, b"vary")
        if varied is None:
            headers.append((b"vary", b"accept"))
        elif b"accept" not in (name.strip() for name in varied.lower().split(b",")) and varied.strip() != b"*":
            headers[:] = [pair for pair in headers if pair[0].lower() != b"vary"]
            headers.append((b"vary", varied + b", accept"))
