"""What happened, as frozen records, and who is told.

A listener is a plain function of one event. It is called inline, by the thread or task in which the thing happened,
after every lock has been given back; it must not block. What it raises is logged once and goes no further.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

Refusal = TypeVar("Refusal", bound=BaseException)
LOGGER = logging.getLogger("seawall")
LOGGER.addHandler(logging.NullHandler())


class Event:
    """Something that a strategy did. `name` is the strategy's (for `CallEnded` the pipeline's)."""

    __slots__ = ()
    level: ClassVar[int] = logging.INFO
    name: str

    def __str__(self) -> str:
        return f"{self.name!r}: {type(self).__name__}"


@dataclass(frozen=True, slots=True)
class _Record(Event):
    """Every event but the one that is made for each call."""

    name: str


def brief(thing: object) -> str:
    """Returns an exception as its class and text, anything else as its repr; at most 200 characters."""
    text = f"{type(thing).__name__}: {thing}" if isinstance(thing, BaseException) else repr(thing)
    return text if len(text) <= 200 else f"{text[:197]}..."


@dataclass(frozen=True, slots=True)
class Retried(_Record):
    """An attempt failed and another one follows after `delay` seconds. `result` is set where a result failed."""

    attempt: int
    delay: float
    failure: BaseException | None
    result: Any = None

    def __str__(self) -> str:
        reason = f"returned {brief(self.result)}" if self.failure is None else f"failed with {brief(self.failure)}"
        return f"{self.name!r}: attempt {self.attempt} {reason}; next in {self.delay:.3g} s"


@dataclass(frozen=True, slots=True)
class RetryStopped(_Record):
    """A failure that would have been retried is passed on.

    `reason` is one of attempts, elapsed, deadline, budget, retry_after, nested, backoff, unsafe (the call has
    effects, and the failure does not prove that there were none).
    """

    level: ClassVar[int] = logging.WARNING
    attempts: int
    reason: str
    elapsed: float
    failure: BaseException | None
    result: Any = None

    def __str__(self) -> str:
        last = f"returned {brief(self.result)}" if self.failure is None else brief(self.failure)
        return f"{self.name!r}: gave up after attempt {self.attempts} and {self.elapsed:.3g} s ({self.reason}): {last}"


@dataclass(frozen=True, slots=True)
class Recovered(_Record):
    """A call succeeded after at least one retry."""

    attempts: int

    def __str__(self) -> str:
        return f"{self.name!r}: succeeded at attempt {self.attempts}"


@dataclass(frozen=True, slots=True)
class CircuitChanged(_Record):
    """A circuit breaker changed its state. `open_for` is set when it opened."""

    old: str
    new: str
    failure: BaseException | None = None
    open_for: float | None = None

    @property
    def level(self) -> int:  # type: ignore[override]
        return logging.INFO if self.new in ("closed", "half_open") else logging.WARNING

    def __str__(self) -> str:
        rest = "" if self.open_for is None else f" for {self.open_for:.3g} s after {brief(self.failure)}"
        return f"{self.name!r}: circuit {self.old} -> {self.new}{rest}"


@dataclass(frozen=True, slots=True)
class CallRejected(_Record):
    """A call was not let through. Made only while somebody listens."""

    level: ClassVar[int] = logging.DEBUG
    error: BaseException

    def __str__(self) -> str:
        return f"{self.name!r}: rejected a call: {brief(self.error)}"


@dataclass(frozen=True, slots=True)
class CallTimedOut(_Record):
    """A call was cut short at `limit` seconds."""

    level: ClassVar[int] = logging.WARNING
    limit: float

    def __str__(self) -> str:
        return f"{self.name!r}: cut short at its limit of {self.limit:.3g} s"


@dataclass(frozen=True, slots=True)
class CallOverran(_Record):
    """A call that cannot be cut short (sync) ended after its limit; its result was passed on."""

    level: ClassVar[int] = logging.WARNING
    limit: float
    took: float

    def __str__(self) -> str:
        return f"{self.name!r}: took {self.took:.3g} s, over its limit of {self.limit:.3g} s"


@dataclass(frozen=True, slots=True)
class FellBack(_Record):
    """A fallback answered in place of the call."""

    level: ClassVar[int] = logging.WARNING
    served_by: str
    failure: BaseException

    def __str__(self) -> str:
        return f"{self.name!r}: {self.served_by} answered after {brief(self.failure)}"


@dataclass(frozen=True, slots=True)
class Hedged(_Record):
    """Another attempt was started beside those in flight; `reason` is slow or failed."""

    level: ClassVar[int] = logging.DEBUG
    attempt: int
    reason: str

    def __str__(self) -> str:
        return f"{self.name!r}: attempt {self.attempt} started beside the others ({self.reason})"


@dataclass(frozen=True, slots=True)
class BudgetRefused(_Record):
    """A retry or hedge was not made because its budget is used up."""

    level: ClassVar[int] = logging.WARNING
    budget: str

    def __str__(self) -> str:
        return f"{self.name!r}: {self.budget!r} refused a retry"


class _CallEnded(NamedTuple):
    name: str
    duration: float
    outcome: str
    error: BaseException | None


class CallEnded(_CallEnded, Event):
    """A call through a pipeline ended. Made only for listeners that ask for it, since it is every call.

    `outcome` is success, failure, rejected or cancelled, judged by the exception that leaves the pipeline. It is a
    named tuple because a frozen dataclass takes twice as long to make.
    """

    __slots__ = ()
    level: ClassVar[int] = logging.NOTSET


Listener: TypeAlias = Callable[[Any], object]


class Subscription:
    """A listener, and the events that it asks for; none named: all of them except `CallEnded`."""

    __slots__ = ("_faulty", "listener", "types")

    def __init__(self, listener: Listener, types: tuple[type[Event], ...]) -> None:
        if not callable(listener):
            raise TypeError(f"listener={listener!r} cannot be called; use a function of one event")
        if inspect.iscoroutinefunction(listener):
            raise TypeError(f"listener={listener!r} is an async function; use a plain function of one event")
        for kind in types:
            if not (isinstance(kind, type) and issubclass(kind, Event)):
                raise TypeError(f"{kind!r} is no event class; use classes such as CircuitChanged or Retried")
        self.listener = listener
        self.types: tuple[type[Event], ...] = types or (_Record,)
        self._faulty = False

    def log_fault(self, event: Event) -> None:
        """Logs, the first time, that the listener raised."""
        if not self._faulty:
            self._faulty = True
            LOGGER.exception("listener %r raised on %s; its further errors are not logged", self.listener, event)


EVERYWHERE: list[Subscription] = []
"""Those who listen to all strategies, kept in this one list so that its truth can be tested."""


class Hub:
    """A strategy's name, and those who listen to it."""

    __slots__ = ("listeners", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.listeners: list[Subscription] = []

    def tell(self, event: Event) -> None:
        """Logs the event and tells those who listen. Never raises; must be called without a lock held."""
        if LOGGER.isEnabledFor(event.level):
            LOGGER.log(event.level, "%s", event, extra={"seawall_event": event})
        for subscription in (*self.listeners, *EVERYWHERE):
            if isinstance(event, subscription.types):
                try:
                    subscription.listener(event)
                except Exception:
                    subscription.log_fault(event)

    def refuse(self, error: Refusal) -> Refusal:
        """Tells of a rejection, where anybody listens, and returns it to be raised."""
        if self.listeners or EVERYWHERE:
            self.tell(CallRejected(self.name, error))
        return error

    def listen(self, listener: Listener, types: tuple[type[Event], ...]) -> Callable[[], None]:
        """Adds a listener; returns the function that removes it."""
        return add(self.listeners, listener, types)


def add(listeners: list[Subscription], listener: Listener, types: tuple[type[Event], ...]) -> Callable[[], None]:
    """Adds a listener to a list; returns the function that removes it again."""
    subscription = Subscription(listener, types)
    listeners.append(subscription)

    def remove() -> None:
        subscription.types = ()  # wherever it has been handed on to
        if subscription in listeners:
            listeners.remove(subscription)

    return remove
