"""From an exception to the problem that its caller is told of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from seawall._core.errors import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    RateLimitedError,
    RejectedError,
)
from seawall.durable.errors import (
    CommitUnknownError,
    InProgressError,
    KeyMismatchError,
    LeaseLostError,
    OutcomeUnknownError,
)
from seawall.durable.store import StoreError
from seawall.web import foreign
from seawall.web.errors import ServiceError, check_code, check_status
from seawall.web.problem import (
    CIRCUIT_OPEN,
    COMMIT_UNKNOWN,
    DISCONNECTED,
    EXTERNAL,
    IN_PROGRESS,
    INTERNAL,
    INVALID,
    KEY_REUSED,
    OUTCOME_UNKNOWN,
    OVERLOADED,
    RATE_LIMITED,
    TIMED_OUT,
    UNAVAILABLE,
    Problem,
    of_status,
)
from seawall.web.validation import details_of

StatusMap: TypeAlias = Mapping[type[Exception], int | tuple[int, str] | tuple[int, str, str]]
"""Exception class -> status; or status and code; or status, code and a public message."""

Judge: TypeAlias = Callable[[Any], Problem]


def _always(problem: Problem) -> Judge:
    return lambda error: problem


def _rejected(problem: Problem) -> Judge:
    return lambda error: replace(problem, retry_after=error.retry_after)


def pairs_of(headers: Mapping[str, str] | None) -> tuple[tuple[bytes, bytes], ...]:
    """Returns headers as ASGI has them."""
    return tuple((key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in (headers or {}).items())


def _own(error: ServiceError) -> Problem:
    headers = pairs_of(error.headers)
    if error.status == 401 and all(key != b"www-authenticate" for key, _ in headers):
        headers = (*headers, (b"www-authenticate", b"Bearer"))
    return Problem(error.status, error.code, error.message, error.details, headers, error.retry_after, deliberate=True)


def _http_exception(error: Any) -> Problem:
    """The framework's own: its author chose the status, and the text where it is one."""
    status = int(error.status_code)
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of a response")
    known = of_status(status, message=error.detail if isinstance(error.detail, str) else None)
    return replace(known, headers=pairs_of(error.headers), deliberate=True)


def _invalid(error: Any) -> Problem:
    return replace(INVALID, details=details_of(error.errors()), deliberate=True)


def _status_error(error: Any) -> Problem:
    """An answer of another service: if that failed, it is away; if it blames us, the mistake is ours."""
    status = error.response.status_code
    return EXTERNAL if status >= 500 or status in (408, 429) else INTERNAL


_DEFAULTS: Final[dict[type[Any], Judge]] = {
    ServiceError: _own,
    CircuitOpenError: _rejected(CIRCUIT_OPEN),
    CircuitIsolatedError: _rejected(CIRCUIT_OPEN),
    BulkheadFullError: _rejected(OVERLOADED),
    RateLimitedError: _rejected(RATE_LIMITED),
    DeadlineExceededError: _always(TIMED_OUT),
    InProgressError: _rejected(IN_PROGRESS),
    RejectedError: _rejected(UNAVAILABLE),
    KeyMismatchError: _always(KEY_REUSED),
    OutcomeUnknownError: _always(OUTCOME_UNKNOWN),
    CommitUnknownError: _always(COMMIT_UNKNOWN),
    LeaseLostError: _always(UNAVAILABLE),
    StoreError: _always(UNAVAILABLE),
    CallTimeoutError: _always(TIMED_OUT),
    TimeoutError: _always(TIMED_OUT),
    ConnectionError: _always(EXTERNAL),
    Exception: _always(INTERNAL),
}

_FOREIGN: Final[tuple[tuple[tuple[tuple[str, str], ...], Judge], ...]] = (
    (foreign.HTTP_EXCEPTION, _http_exception),
    (foreign.REQUEST_INVALID, _invalid),
    (foreign.SOCKET_REQUEST_INVALID, _invalid),
    (foreign.CLIENT_GONE, _always(DISCONNECTED)),
    (foreign.TRANSPORT_ERROR, _always(EXTERNAL)),
    (foreign.STATUS_ERROR, _status_error),
)


class Verdicts:
    """Which exception is answered with what: the user's map first, class by class along the exception's bases.

    Of an exception group the most severe leaf counts: an unexpected failure, then 5xx, then time-outs, then the rest.
    """

    def __init__(self, status_map: StatusMap | None) -> None:
        self._users = _checked(status_map or {})
        self._known: WeakKeyDictionary[type[Any], Judge] = WeakKeyDictionary()

    @property
    def classes(self) -> tuple[type[Exception], ...]:
        """The classes of the user's map."""
        return tuple(self._users)

    def on(self, error: BaseException) -> Problem:
        """Returns what the caller is told of `error`. Never raises."""
        try:
            judge = self._judge(type(error))
            if isinstance(error, BaseExceptionGroup) and judge is _DEFAULTS[Exception]:
                problems = [self.on(leaf) for leaf in _leaves(error)]
                return max(problems, key=lambda problem: problem.severity)
            return judge(error)
        except Exception:  # an exception that cannot be read is answered all the same
            return INTERNAL

    def _judge(self, kind: type[Any]) -> Judge:
        judge = self._known.get(kind)
        if judge is None:
            judge = self._known[kind] = self._find(kind)
        return judge

    def _find(self, kind: type[Any]) -> Judge:
        for each in kind.__mro__:
            judge = self._users.get(each) or _DEFAULTS.get(each)
            if judge is not None:
                return judge
            for places, judge in _FOREIGN:
                if foreign.is_one(each, *places):
                    return judge
        return _DEFAULTS[Exception]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            yield error


def _checked(status_map: StatusMap) -> dict[type[Exception], Judge]:
    """Returns the user's map as judges. Raises where an entry is none."""
    if not isinstance(status_map, Mapping):
        raise TypeError(f"status_map={status_map!r} is no mapping; use {{MyError: (409, 'MY_CODE')}}")
    judges: dict[type[Exception], Judge] = {}
    for kind, answer in status_map.items():
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(
                f"status_map has the key {kind!r}, which is no exception class; use classes such as MyError"
            )
        parts = answer if isinstance(answer, tuple) else (answer,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"status_map[{kind.__name__}]={answer!r}; use a status, or (409, 'MY_CODE', 'message')")
        status = check_status(f"status_map[{kind.__name__}]", parts[0])
        code = check_code(f"status_map[{kind.__name__}]", parts[1]) if len(parts) > 1 else None
        message = parts[2] if len(parts) > 2 else None
        if message is not None and not isinstance(message, str):
            raise TypeError(f"status_map[{kind.__name__}] has the message {message!r}; use a text")
        judges[kind] = _mapped(of_status(status, code=code, message=message))
    return judges


def _mapped(problem: Problem) -> Judge:
    """A user's mapping: a hint of when to try again is taken from the exception, where it has one."""
    return lambda error: replace(problem, retry_after=getattr(error, "retry_after", None))
