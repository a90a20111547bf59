"""What a response or an error says: about the server, and about whether it has processed the request."""

from __future__ import annotations

from typing import Any, Final

from seawall._core.errors import CallTimeoutError, RejectedError
from seawall._core.outcome import RELEASE, VERDICT, says_nothing
from seawall.integrations.httpx.library import classes

TOO_MANY: Final = 429
REQUEST_TIMEOUT: Final = 408
UNPROCESSED: Final = "seawall.unprocessed"
"""Where a response (in its extensions) and an error (as an attribute) say what `unprocessed` reads."""

_network = classes(("NetworkError", "RemoteProtocolError", "ProxyError"))
_timeouts = classes(("TimeoutException",))
_pool_full = classes(("PoolTimeout",))
_never_sent = classes(("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"))


class StatusError(Exception):
    """A response whose status says that the server failed, or wants to be left alone: 5xx, 408 and 429.

    Strategies inside a protected client see it as a failure; the client's caller gets the response itself.
    The default of `CircuitBreaker(on=...)` counts 429 nowhere: a server that says so is alive.

    Attributes:
        status: the status code.
        host: who answered, with the port where it is not the usual one.
        retry_after: the text of the `Retry-After` header, which a `Retry` honours; None where there is none.
    """

    def __init__(self, status: int, host: str, retry_after: str | None = None) -> None:
        super().__init__(status, host, retry_after)
        self.status = status
        self.host = host
        self.retry_after = retry_after

    def __str__(self) -> str:
        hint = f" (Retry-After: {self.retry_after[:40]})" if self.retry_after is not None else ""
        return f"status {self.status} from {self.host}{hint}"


def fails(status: int) -> bool:
    """Whether a status is a failure: 5xx, 408 and 429."""
    return status >= 500 or status in (REQUEST_TIMEOUT, TOO_MANY)


def network(error: BaseException) -> bool:
    """Whether no answer came since the network failed: refused, reset, cut short, or not understood; for `on=`.

    A time-out is not among them, nor is a full connection pool.
    """
    if isinstance(error, _network()):
        return True
    return isinstance(error, ConnectionError) and not isinstance(error, RejectedError)


def timed_out(error: BaseException) -> bool:
    """Whether a call took too long: the client's own time-outs, and a `Timeout` further in; for `on=`.

    Not among them are waiting for the client's own connection pool, and a call cut by a deadline further out.
    """
    if isinstance(error, CallTimeoutError):
        return not error.by_deadline
    if says_nothing(error):
        return False
    return isinstance(error, (*_timeouts(), TimeoutError)) and not isinstance(error, _pool_full())


def transient(error: BaseException) -> bool:
    """Whether it may pass: network failures, time-outs, 5xx, 408, 429, a full connection pool; for `Retry(on=...)`.

    Whether the request may be repeated is a second question, which the protected client answers by itself.
    """
    return isinstance(error, (StatusError, *_pool_full())) or network(error) or timed_out(error)


def note_verdict(error: Exception) -> None:
    """Notes on an error whether it counts for a breaker that was not told: mistakes of ours and 429 count nowhere."""
    counts = error.status != TOO_MANY if isinstance(error, StatusError) else network(error) or timed_out(error)
    if not counts:
        error.__dict__[VERDICT] = RELEASE


def never_sent(error: BaseException) -> bool:
    """Whether an attempt that ended so has sent nothing: there was no connection to send it on."""
    return isinstance(error, (ConnectionRefusedError, RejectedError, *_never_sent()))


def unprocessed(result: Any) -> bool:
    """Whether it is sure that the server did not process a request: only then may another one be asked instead.

    Sure are a rejection by seawall, a connection that did not come about, and 429. Everything else, time-outs above
    all, leaves the outcome unknown: ask the same server again, under the same key. For what a protected client returned
    or raised, every attempt of that call is taken into account.

    Args:
        result: a response, or an exception; also the error of `raise_for_status()`.
    """
    if isinstance(result, BaseException):
        known = result.__dict__.get(UNPROCESSED)
        if known is None:
            response = getattr(result, "response", None)
            return unprocessed(response) if response is not None else never_sent(result)
    else:
        known = result.extensions.get(UNPROCESSED)
        if known is None:
            return bool(result.status_code == TOO_MANY)
    return bool(known)
