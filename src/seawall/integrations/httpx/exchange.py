"""One request on its way through a pipeline: what is sent on with it, and whether it may be sent again."""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from copy import copy
from typing import Any, Final

from seawall._core.context import NOTHING, current, surround
from seawall._core.correlation import correlation_id
from seawall._core.deadline import remaining, scope
from seawall._core.errors import CallTimeoutError, SeawallError
from seawall.integrations.httpx.bodies import ERROR_TEXT, FIRST_BYTE, WHOLE
from seawall.integrations.httpx.bounds import Bounds
from seawall.integrations.httpx.library import library_of
from seawall.integrations.httpx.rejections import as_clients_own
from seawall.integrations.httpx.repeats import Repeats
from seawall.integrations.httpx.verdict import (
    TOO_MANY,
    UNPROCESSED,
    StatusError,
    fails,
    never_sent,
    note_verdict,
    timed_out,
)

READ_AT_ONCE: Final[ContextVar[bool]] = ContextVar("seawall_read_at_once", default=False)
"""Whether the client that sends the request at hand will read the whole response before it gives it to its caller."""

_DEADLINE: Final = "X-Request-Timeout"
_CORRELATION: Final = "X-Correlation-Id"


class Exchange:
    """A request, its attempts, and the responses that are not the caller's yet."""

    __slots__ = (
        "_at_once",
        "_bounds",
        "_given",
        "_held",
        "_outer",
        "_repeats",
        "_sent_on",
        "_timeouts",
        "_token",
        "library",
        "name",
        "request",
    )

    def __init__(self, request: Any, name: str) -> None:
        self.request = request
        self.name = name
        self.library = library_of(type(request))
        self._repeats = Repeats(request, self.library)
        self._held: list[_Held] = []
        self._given: list[Any] = []
        self._sent_on: list[str] = []
        self._timeouts: dict[str, Any] | None = None  # the caller's own, while ours are in their place
        self._bounds: Bounds | None = None
        self._at_once = READ_AT_ONCE.get()

    def __enter__(self) -> Exchange:
        ambient = current() or NOTHING
        self._outer = ambient.repeatable
        surround(ambient._replace(repeatable=self._repeats.allowed))
        self._token = READ_AT_ONCE.set(False)  # that was said of this request alone
        correlation = correlation_id()
        if correlation is not None and _CORRELATION not in self.request.headers:
            self.request.headers[_CORRELATION] = correlation
            self._sent_on.append(_CORRELATION)
        return self

    def __exit__(self, *exc: object) -> None:
        READ_AT_ONCE.reset(self._token)
        surround((current() or NOTHING)._replace(repeatable=self._outer))
        for header in self._sent_on:
            if header in self.request.headers:  # a hook may have taken it out
                del self.request.headers[header]
        if self._timeouts is not None:
            self.request.extensions["timeout"] = self._timeouts

    def begin(self) -> None:
        """Starts an attempt: the time that is left goes with it, unless the caller has said something else."""
        self._repeats.begin()
        left = remaining()
        if left is None or left == math.inf:
            return
        if _DEADLINE not in self._sent_on:
            if _DEADLINE in self.request.headers:
                return
            self._sent_on.append(_DEADLINE)
        self.request.headers[_DEADLINE] = f"{left:.3f}"

    def bound(self) -> None:
        """Shortens the client's own time-outs to the time that is left: nothing else can cut a sync call short."""
        surrounding = scope()
        if surrounding is None or surrounding.remaining() == math.inf:
            return
        if self._timeouts is None:
            self._timeouts = dict(self.request.extensions.get("timeout", {}))
        self.request.extensions["timeout"] = self._bounds = Bounds(self._timeouts, surrounding)

    def unbound(self) -> Bounds | None:
        """Gives a response that goes on after us the client's own time-outs back; its connection has kept ours.

        Returns what still bounds its beginning.
        """
        bounds, self._bounds = self._bounds, None
        return None if bounds is None else bounds.let_go()

    def check_time(self) -> None:
        """Raises where a sync call has used up its time."""
        surrounding = scope()
        if surrounding is not None and surrounding.remaining() <= 0:
            raise CallTimeoutError(self.name, surrounding.limit, True)

    def failed(self, error: Exception) -> None:
        """Takes note of an attempt that brought no response. Raises where it was our time that the client kept to."""
        if never_sent(error):
            self._repeats.never_sent()
        note_verdict(error)
        if self._timeouts is not None and timed_out(error):
            self.check_time()

    def interesting(self, response: Any) -> int:
        """Returns how many bytes of a response's body belong to the protected call: all, some, or the first."""
        if response.status_code == 101 or self.request.method == "CONNECT":
            return 0  # a tunnel, which may well be silent
        if self._at_once:
            return WHOLE
        return ERROR_TEXT if fails(response.status_code) else FIRST_BYTE

    def answered(self, response: Any) -> Any:
        """Takes note of a response. Returns it, or raises a StatusError in its place where it is a failure."""
        status = response.status_code
        if status == TOO_MANY:
            self._repeats.refused()
        held = _Held(response, _whose())
        self._held.append(held)
        if not fails(status):
            return response
        host = self.request.url.netloc.decode("ascii")
        held.error = error = StatusError(status, host, response.headers.get("Retry-After"))
        note_verdict(error)
        try:
            raise error
        finally:
            del error, held  # no cycle of failure, traceback and frame

    def replaced(self) -> list[Any]:
        """Returns the responses that the attempt at hand replaces, to be closed: those of its task, not a rival's."""
        whose = _whose()
        gone = [held.response for held in self._held if held.whose == whose]
        self._held = [held for held in self._held if held.whose != whose]
        return gone

    def leftovers(self) -> list[Any]:
        """Returns the responses that the caller will not have, to be closed."""
        held, self._held = self._held, []
        return [each.response for each in held]

    def given(self) -> list[Any]:
        """Returns the response that was to be the caller's, if there is one."""
        return self._given

    def settle(self, response: Any) -> Any:
        """Returns what the pipeline gave, as the caller's response. Raises TypeError where it is none."""
        if not isinstance(response, self.library.Response):
            raise TypeError(
                f"{self.name!r} gave {response!r} for a request; what a Fallback inside a protected client gives must "
                f"be a {self.library.__name__}.Response. Put one that gives something else around the calling function"
            )
        if not any(response is held.response for held in self._held):
            response = _own(response)
        return self._give(response)

    def instead_of(self, error: Exception) -> Any:
        """Returns the response behind a StatusError. Raises any other error, seawall's as the library's own.

        To be called where the error is being handled.
        """
        if isinstance(error, StatusError):
            for held in self._held:
                if held.error is error:
                    return self._give(held.response)
        own = as_clients_own(error, self.request) if isinstance(error, SeawallError) else error
        own.__dict__[UNPROCESSED] = not self._repeats.doubts and own.__dict__.get(UNPROCESSED, True)
        try:
            if own is error:
                raise
            raise own from error.__cause__
        finally:
            del error, own  # no cycle of failure, traceback and frame

    def _give(self, response: Any) -> Any:
        self._held = [held for held in self._held if held.response is not response]
        self._given = [response]
        response.extensions[UNPROCESSED] = not self._repeats.doubts and response.extensions.get(UNPROCESSED, True)
        return response


class _Held:
    """A response that was received, as what the pipeline saw it, and whose attempt it came from."""

    __slots__ = ("error", "response", "whose")

    def __init__(self, response: Any, whose: object) -> None:
        self.response = response
        self.whose = whose
        self.error: StatusError | None = None


def _whose() -> object:
    """Returns what tells attempts that follow one another from attempts beside each other: the task."""
    loop = asyncio._get_running_loop()
    return None if loop is None else id(asyncio.current_task(loop))


def _own(response: Any) -> Any:
    """Returns a copy of a response that was not received, since a Fallback may give the same one to many callers."""
    try:
        response.content  # noqa: B018 - raises where it is still to be read
    except Exception:
        return response
    own = copy(response)
    own.extensions = dict(response.extensions)
    return own
