"""One request on its way through a pipeline: what is sent on with it, and whether it may be sent again."""

from __future__ import annotations

from typing import Any, Final

from seawall._core.context import NOTHING, current, surround
from seawall._core.correlation import correlation_id
from seawall._core.deadline import remaining, scope
from seawall._core.errors import CallTimeoutError, SeawallError
from seawall.integrations.httpx.bodies import ERROR_TEXT, FIRST_BYTE, WHOLE, sendable_again
from seawall.integrations.httpx.library import library_of
from seawall.integrations.httpx.rejections import as_clients_own
from seawall.integrations.httpx.verdict import (
    TOO_MANY,
    UNPROCESSED,
    StatusError,
    fails,
    never_sent,
    note_verdict,
    timed_out,
)

WANTED: Final = "seawall.whole"
"""The extension in which a protected client says of a request whether it will read the whole response at once."""

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})
_KEY: Final = "Idempotency-Key"
_DEADLINE: Final = "X-Request-Timeout"
_CORRELATION: Final = "X-Correlation-Id"


class Exchange:
    """A request, its attempts, and the responses that are not the caller's yet.

    A request may be made again where its method is idempotent (RFC 9110, section 9.2.2), where it carries an
    `Idempotency-Key`, or where every attempt so far proved that it was not processed; and only where its body can be
    sent again, or was not touched.
    """

    __slots__ = ("_doubts", "_held", "_outer", "_sent_on", "_timeouts", "_touched", "library", "name", "request")

    def __init__(self, request: Any, name: str) -> None:
        self.request = request
        self.name = name
        self.library = library_of(type(request))
        self._doubts = 0  # attempts of which it is not known that they were not processed
        self._touched = False  # whether the body may have been read
        self._held: list[tuple[StatusError | None, Any]] = []  # what was answered, and as what the pipeline saw it
        self._sent_on: list[str] = []
        self._timeouts: Any = None

    def __enter__(self) -> Exchange:
        ambient = current() or NOTHING
        self._outer = ambient.repeatable
        surround(ambient._replace(repeatable=self.repeatable))
        correlation = correlation_id()
        if correlation is not None and _CORRELATION not in self.request.headers:
            self.request.headers[_CORRELATION] = correlation
            self._sent_on.append(_CORRELATION)
        return self

    def __exit__(self, *exc: object) -> None:
        surround((current() or NOTHING)._replace(repeatable=self._outer))
        for header in self._sent_on:
            if header in self.request.headers:  # a hook may have taken it out
                del self.request.headers[header]
        if self._timeouts is not None:
            self.request.extensions["timeout"] = self._timeouts

    def repeatable(self, failure: Exception | None) -> bool:
        """Whether the request may be made once more: after a failure, or, asked with None, beside itself."""
        if (failure is None or self._touched) and not sendable_again(self.request):
            return False
        if self.request.method in _REPEATABLE or _KEY in self.request.headers:
            return True
        return failure is not None and self._doubts == 0

    def begin(self) -> None:
        """Starts an attempt: the time that is left goes with it, unless the caller has said something else."""
        self._doubts += 1
        left = remaining()
        if left is None:
            return
        if _DEADLINE not in self._sent_on:
            if _DEADLINE in self.request.headers:
                return
            self._sent_on.append(_DEADLINE)
        self.request.headers[_DEADLINE] = f"{left:.3f}"

    def bound(self) -> None:
        """Shortens the client's own time-outs to the time that is left: nothing else can cut a sync call short."""
        surrounding = scope()
        if surrounding is None:
            return
        if self._timeouts is None:
            self._timeouts = self.request.extensions.get("timeout", {})
        left = surrounding.remaining()
        limits = {kind: self._timeouts.get(kind) for kind in ("connect", "read", "write", "pool")}
        capped = {kind: left if limit is None else min(limit, left) for kind, limit in limits.items()}
        self.request.extensions["timeout"] = capped

    def check_time(self) -> None:
        """Raises where a sync call has used up its time."""
        surrounding = scope()
        if surrounding is not None and surrounding.remaining() <= 0:
            raise CallTimeoutError(self.name, surrounding.limit, True)

    def failed(self, error: Exception) -> None:
        """Takes note of an attempt that brought no response. Raises where it was our time that the client kept to."""
        if never_sent(error):
            self._doubts -= 1
        else:
            self._touched = True
        note_verdict(error)
        if self._timeouts is not None and timed_out(error):
            self.check_time()

    def interesting(self, response: Any) -> int:
        """Returns how many bytes of a response's body belong to the protected call: all, some, or the first."""
        if response.status_code == 101 or self.request.method == "CONNECT":
            return 0  # a tunnel, which may well be silent
        if self.request.extensions.get(WANTED):
            return WHOLE
        return ERROR_TEXT if fails(response.status_code) else FIRST_BYTE

    def answered(self, response: Any) -> Any:
        """Takes note of a response. Returns it, or raises a StatusError in its place where it is a failure."""
        self._touched = True
        status = response.status_code
        if status == TOO_MANY:
            self._doubts -= 1
        if not fails(status):
            self._held.append((None, response))
            return response
        host = self.request.url.netloc.decode("ascii")
        error = StatusError(status, host, response.headers.get("Retry-After"))
        note_verdict(error)
        self._held.append((error, response))
        raise error

    def discarded(self) -> list[Any]:
        """Returns the responses that nobody will have, to be closed."""
        held, self._held = self._held, []
        return [response for _, response in held]

    def settle(self, response: Any) -> Any:
        """Returns what the pipeline gave, as the caller's response. Raises TypeError where it is none."""
        if not isinstance(response, self.library.Response):
            raise TypeError(
                f"{self.name!r} gave {response!r} for a request; what a Fallback inside a protected client gives must "
                f"be a {self.library.__name__}.Response. Put one that gives something else around the calling function"
            )
        return self._handed_over(response)

    def instead_of(self, error: Exception) -> Any:
        """Returns the response behind a StatusError. Raises any other error, seawall's as the library's own.

        To be called where the error is being handled.
        """
        if isinstance(error, StatusError):
            for held, response in self._held:
                if held is error:
                    return self._handed_over(response)
        own = as_clients_own(error, self.request) if isinstance(error, SeawallError) else error
        own.__dict__[UNPROCESSED] = self._doubts == 0
        try:
            if own is error:
                raise
            raise own from error.__cause__
        finally:
            del error, own  # no cycle of failure, traceback and frame

    def _handed_over(self, response: Any) -> Any:
        self._held = [each for each in self._held if each[1] is not response]
        response.extensions[UNPROCESSED] = self._doubts == 0
        return response
