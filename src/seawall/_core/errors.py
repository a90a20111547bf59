"""Every error that seawall raises.

    SeawallError
    ├── RejectedError                 the call was not run: seawall refused it
    │   ├── CircuitOpenError          the dependency failed too often
    │   ├── CircuitIsolatedError      an operator holds the circuit open
    │   ├── BulkheadFullError         no slot, and no room or time to wait for one
    │   ├── RateLimitedError          too many calls in too little time
    │   └── DeadlineExceededError     no time was left to start (also a TimeoutError)
    ├── CallTimeoutError              the call ran and was cut short (also a TimeoutError)
    ├── ScenarioError                 a storm could not be run (seawall.chaos)
    └── UnknownReferenceError         a text names no module or attribute (the command line)

An exception of the protected function itself is never wrapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar


class SeawallError(Exception):
    """The root of all errors raised by seawall.

    Attributes:
        repeatable: whether a `Retry` that lists it may repeat the call. False for errors that say that nobody knows
            whether the call took effect.
    """

    repeatable: ClassVar[bool] = True


class RejectedError(SeawallError):
    """The call was not run; the dependency has not been asked.

    Strategies treat it as neither success nor failure, and a `Retry` repeats it only where the class is listed.
    """

    reason = "rejected the call"

    if TYPE_CHECKING:  # at run time the base class keeps the arguments, in half the time

        def __init__(self, name: str, retry_after: float | None = None, /) -> None: ...

    @property
    def name(self) -> str:
        """The strategy that refused."""
        return str(self.args[0])

    @property
    def retry_after(self) -> float | None:
        """Seconds until a new try may be let through; None where that is not known."""
        return self.args[1] if len(self.args) > 1 else None

    def __str__(self) -> str:
        hint = "" if self.retry_after is None else f"; try again in {self.retry_after:.3g} s"
        return f"{self.name!r} {self.reason}{hint}"


class CircuitOpenError(RejectedError):
    """The circuit breaker is open, or half-open with every probe taken. The last failure is the `__cause__`."""

    reason = "is open"


class CircuitIsolatedError(RejectedError):
    """The circuit breaker is held open by hand (`CircuitBreaker.isolate`)."""

    reason = "is isolated by hand"


class BulkheadFullError(RejectedError):
    """No slot was free, and the queue was full or the wait too long."""

    reason = "is full"


class RateLimitedError(RejectedError):
    """The rate is used up for now; `retry_after` says when the next call fits."""

    reason = "is at its rate limit"


class DeadlineExceededError(RejectedError, TimeoutError):
    """The ambient deadline had passed, or would pass while waiting: the call was not started."""

    reason = "was not started: the deadline has passed"

    def __init__(self, name: str, retry_after: float | None = None, /) -> None:
        self.args = (name, retry_after)  # OSError, a base of TimeoutError, would read them as errno and text


class CallTimeoutError(SeawallError, TimeoutError):
    """The call ran longer than it may and was cut short. Whether it took effect is unknown.

    Attributes:
        name: the strategy whose limit ended the call.
        limit: that limit, in seconds.
        by_deadline: True where an ambient deadline ended it, which says nothing about the dependency's health.
    """

    def __init__(self, name: str, limit: float, by_deadline: bool = False) -> None:
        self.name = name
        self.limit = limit
        self.by_deadline = by_deadline
        self.args = (name, limit, by_deadline)  # OSError, a base of TimeoutError, keeps none of them

    def __str__(self) -> str:
        what = "the deadline left it" if self.by_deadline else "its limit is"
        return f"{self.name!r} did not end in time: {what} {self.limit:.3g} s"
