"""Rejections and time-outs of seawall are the client's own errors as well."""

import copy
import pickle
from contextlib import ExitStack
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    Fallback,
    RateLimit,
    RateLimitedError,
    RejectedError,
    Retried,
    Retry,
    SeawallError,
    Timeout,
    deadline,
)
from seawall.integrations.httpx import transient, unprocessed
from seawall.testing import Recorder
from tests.both import NUMBERS
from tests.breakers import trip
from tests.integrations.httpx.driver import Client, Wire, retry
from tests.integrations.httpx.server import answer, reset, stall

KINDS: dict[str, type[SeawallError]] = {
    "open": CircuitOpenError,
    "isolated": CircuitIsolatedError,
    "full": BulkheadFullError,
    "rate": RateLimitedError,
    "deadline": DeadlineExceededError,
    "time-out": CallTimeoutError,
}


def refused(wire: Wire, kind: str, client: Client | None = None) -> Any:
    """Makes a call that ends so, and returns the error. Its strategy is named after it."""
    name = f"{kind} {next(NUMBERS)}"
    breaker = CircuitBreaker(failures=1, open_for=60, name=f"breaker {name}")
    bulkhead, limit = Bulkhead(1, name=f"bulkhead {name}"), RateLimit(1, per=60, name=f"limit {name}")
    timeout = Timeout(0.05, name=f"timeout {name}")
    guards = {"open": breaker, "isolated": breaker, "full": bulkhead, "rate": limit, "time-out": timeout}
    client = wire.client(guards.get(kind, retry(1)))
    wire.server.play("/", stall() if kind == "time-out" else answer())
    with ExitStack() as stack:
        if kind == "open":
            trip(breaker)
        if kind == "isolated":
            stack.enter_context(breaker.isolate())
        if kind == "full":
            stack.enter_context(bulkhead.guard())
        if kind == "rate":
            limit.acquire()
        if kind == "deadline":
            stack.enter_context(deadline(0))
        with pytest.raises(wire.lib.TransportError) as caught:
            client.get("/", params={"q": "1"})
    assert (1 if kind == "time-out" else 0) == wire.server.hits()
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_ours_and_the_clients(wire: Wire, kind: str) -> None:
    """A TransportError, a TimeoutException where it is one of time; nothing more precise."""
    error = refused(wire, kind)
    assert isinstance(error, KINDS[kind])
    assert isinstance(error, wire.lib.RequestError)
    assert isinstance(error, wire.lib.HTTPError)
    timely = kind in ("deadline", "time-out")
    assert (timely, timely) == (isinstance(error, wire.lib.TimeoutException), isinstance(error, TimeoutError))
    precise = ["ConnectError", "NetworkError", "ConnectTimeout", "ReadTimeout", "PoolTimeout", "ProtocolError"]
    assert not isinstance(error, tuple(getattr(wire.lib, name) for name in precise))
    assert isinstance(error, RejectedError) == (kind != "time-out")
    assert isinstance(error, CallTimeoutError) == (kind == "time-out")
    assert (KINDS[kind].__name__, KINDS[kind].__module__) == (type(error).__name__, type(error).__module__)


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_says(wire: Wire, kind: str) -> None:
    """Request, name, text, retry_after, and that the server saw nothing of a rejected one."""
    error = refused(wire, kind)
    assert ("GET", f"{wire.server.root}/?q=1") == (error.request.method, str(error.request.url))
    assert kind in error.name or kind == "deadline"
    text = KINDS[kind].__str__(error)
    assert (text, True) == (str(error), repr(error.name) in text)
    assert (kind != "time-out") == unprocessed(error)
    if kind in ("open", "rate"):
        assert 0 < error.retry_after <= 60
    elif kind != "time-out":
        assert error.retry_after is None
    else:
        assert (0.05, False) == (error.limit, error.by_deadline)
    assert isinstance(error.__cause__, ConnectionError) == (kind == "open")
    assert error.__traceback__ is not None


@pytest.mark.parametrize("kind", KINDS)
def test_each_can_be_pickled_and_copied(wire: Wire, kind: str) -> None:
    """Both classes survive, and what it says; only the request stays behind."""
    error = refused(wire, kind)
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(error), error.args, str(error), error.name) == (type(twin), twin.args, str(twin), twin.name)
        assert isinstance(twin, wire.lib.TransportError)
        assert isinstance(twin, KINDS[kind])
        assert (["a note"], unprocessed(error)) == (twin.__notes__, unprocessed(twin))
        if kind == "time-out":
            assert (error.limit, error.by_deadline) == (twin.limit, twin.by_deadline)
        with pytest.raises(RuntimeError, match="request property has not been set"):
            _ = twin.request


def test_an_error_is_raised_anew_each_time(wire: Wire) -> None:
    """Two rejections are two objects of one class."""
    one, two = refused(wire, "isolated"), refused(wire, "full")
    assert type(one) is not type(two)
    breaker = CircuitBreaker(failures=1)
    client = wire.client(breaker)
    errors = []
    with breaker.isolate():
        for _ in range(2):
            with pytest.raises(CircuitIsolatedError) as caught:
                client.get("/")
            errors.append(caught.value)
    assert (True, True) == (type(errors[0]) is type(errors[1]), errors[0] is not errors[1])


def test_notes_are_kept(wire: Wire) -> None:
    """Those of a Retry inside."""
    breaker = CircuitBreaker(failures=1)
    client = wire.client(retry(2, on=CircuitIsolatedError), breaker)
    with breaker.isolate(), pytest.raises(CircuitIsolatedError) as caught:
        client.get("/")
    assert any("gave up after attempt 2" in note for note in caught.value.__notes__)


def test_the_cause_of_a_time_out(wire: Wire) -> None:
    """What the client met, or the cancellation."""
    cause = refused(wire, "time-out").__cause__
    assert cause is not None
    assert "SeawallError" not in [kind.__name__ for kind in type(cause).__mro__] or wire.sync


def test_an_outer_retry_of_the_clients_errors_leaves_rejections_alone(wire: Wire) -> None:
    """A rejection is repeated only where its own class is listed, whatever else it is."""
    breaker = CircuitBreaker(failures=1)
    client = wire.client(breaker)
    matchers = [wire.lib.TransportError, wire.lib.HTTPError, transient, Exception]
    with breaker.isolate():
        for on in matchers:
            with Recorder(Retried) as events, pytest.raises(CircuitIsolatedError):
                called(wire, client, Retry(on=on, backoff=0))
            assert [] == events.events
        with Recorder(Retried) as events, pytest.raises(CircuitIsolatedError):
            called(wire, client, Retry(on=CircuitIsolatedError, backoff=0))
    assert 2 == len(events.events)


def called(wire: Wire, client: Client, strategy: Any, **how: Any) -> Any:
    """Calls a function that gets "/" and raises for its status, through a strategy."""

    def call() -> Any:
        return client.own.get("/", **how).raise_for_status()

    async def acall() -> Any:
        return (await client.own.get("/", **how)).raise_for_status()

    return strategy(call)() if wire.sync else wire.run(strategy(acall)())


@pytest.mark.parametrize("failing", ["reset", "status", "time-out"])
def test_nested_retries_add(wire: Wire, failing: str) -> None:
    """Three attempts around three are five, not nine."""
    wire.server.play("/", {"reset": reset(), "status": answer(503), "time-out": stall()}[failing])
    client = wire.client(retry(3), Timeout(0.04) if failing == "time-out" else Timeout(20))
    with pytest.raises(wire.lib.HTTPError):
        called(wire, client, Retry(on=wire.lib.HTTPError, max_attempts=3, backoff=0))
    assert 5 == wire.server.hits()


def test_a_fallback_around_the_caller(wire: Wire) -> None:
    """May answer with anything, for any of the errors."""
    breaker = CircuitBreaker(failures=1)
    client = wire.client(breaker)
    with breaker.isolate():
        assert "instead" == called(wire, client, Fallback("instead", on=wire.lib.TransportError))
    wire.server.play("/", answer(503))
    assert "instead" == called(wire, client, Fallback("instead", on=wire.lib.HTTPStatusError))


def test_a_breaker_around_the_caller_does_not_count_rejections(wire: Wire) -> None:
    """Also where they are a TransportError, which it counts."""
    inner, outer = CircuitBreaker(failures=1), CircuitBreaker(failures=1, on=wire.lib.TransportError)
    client = wire.client(inner)
    with inner.isolate(), pytest.raises(CircuitIsolatedError):
        called(wire, client, outer)
    assert ("closed", 0) == (outer.state, outer.snapshot().failures)


def test_an_error_that_passed_two_clients_can_be_pickled(wire: Wire) -> None:
    """The first one's rejection, raised by the second one's fallback."""
    breaker = CircuitBreaker(failures=1)
    backup = wire.client(breaker)

    async def ask() -> Any:
        return await backup.own.get("/backup")

    source = (lambda: backup.own.get("/backup")) if wire.sync else ask
    client = wire.client(Fallback(source, on=transient))
    wire.server.play("/", answer(503))
    with breaker.isolate(), pytest.raises(CircuitIsolatedError) as caught:
        client.get("/")
    assert isinstance(caught.value, wire.lib.TransportError)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert (str(caught.value), True) == (str(twin), isinstance(twin, wire.lib.TransportError))
