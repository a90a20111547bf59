"""Listeners to strategies: what they hear, what becomes of their errors, and how they stop."""

import logging
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from seawall import (
    BudgetRefused,
    BulkheadFullError,
    CallEnded,
    CallOverran,
    CallRejected,
    CallTimedOut,
    CircuitBreaker,
    CircuitChanged,
    Event,
    FellBack,
    Hedged,
    Pipeline,
    Recovered,
    Retried,
    Retry,
    RetryStopped,
    listen,
)
from seawall.testing import FakeClock, Recorder


def failing(times: int) -> Callable[[], str]:
    """Returns a function that fails so many times, then answers."""
    failures = iter(range(times))

    def work() -> str:
        if next(failures, None) is not None:
            raise OSError("down")
        return "up"

    return work


def test_the_events_of_a_retry_in_order() -> None:
    """Each event with all its fields."""
    with FakeClock(), Recorder() as events:
        Retry(on=OSError, backoff=2, name="told")(failing(2))()
        with pytest.raises(OSError, match="down"):
            Retry(on=OSError, backoff=2, max_attempts=2, name="told again")(failing(9))()
    first, second, recovered, third, stopped = events.events
    failure = first.failure  # type: ignore[attr-defined]
    assert Retried("told", 1, 2.0, failure, None) == first
    assert "'told': attempt 1 failed with OSError: down; next in 2 s" == str(first)
    assert ("told", 2) == (second.name, second.attempt)  # type: ignore[attr-defined]
    assert Recovered("told", 3) == recovered
    assert "'told': succeeded at attempt 3" == str(recovered)
    assert isinstance(third, Retried)
    assert RetryStopped("told again", 2, "attempts", 2.0, stopped.failure, None) == stopped  # type: ignore[attr-defined]
    assert "'told again': gave up after attempt 2 and 2 s (attempts): OSError: down" == str(stopped)


def test_a_strategy_tells_its_own_listeners_only() -> None:
    """And each listener only of the classes that it named."""
    heard: list[Event] = []
    with FakeClock():
        mine, other = (Retry(on=OSError, backoff=1, name=f"own listener {number}") for number in range(2))
        mine.listen(heard.append, Recovered)
        mine(failing(1))()
        other(failing(1))()
    assert [Recovered("own listener 0", 2)] == heard


def test_a_listener_that_is_removed_hears_no_more() -> None:
    """Removing twice is removing once; of two equal ones, one."""
    heard: list[Event] = []
    with FakeClock():
        retry = Retry(on=OSError, backoff=1, name="removed")
        removers = [retry.listen(heard.append, Recovered) for _ in range(2)]
        retry(failing(1))()
        assert 2 == len(heard)
        removers[0]()
        removers[0]()
        retry(failing(1))()
        assert 3 == len(heard)
        removers[1]()
        retry(failing(1))()
        assert 3 == len(heard)


def test_a_listener_may_remove_itself_while_it_is_told() -> None:
    """The others are told all the same."""
    heard: list[str] = []
    with FakeClock():
        retry = Retry(on=OSError, backoff=1, name="removes itself")
        remove = retry.listen(lambda event: (heard.append("first"), remove()), Recovered)
        retry.listen(lambda event: heard.append("second"), Recovered)
        for _ in range(2):
            retry(failing(1))()
    assert ["first", "second", "second"] == heard


def test_an_error_of_a_listener_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It goes no further: the call, and the other listeners, are not disturbed."""
    heard: list[Event] = []

    def faulty(event: Event) -> None:
        raise ZeroDivisionError("listener")

    with FakeClock(), caplog.at_level(logging.ERROR, "seawall"):
        retry = Retry(on=OSError, backoff=1, name="faulty listener")
        retry.listen(faulty)
        retry.listen(heard.append)
        for _ in range(3):
            assert "up" == retry(failing(1))()
    assert 6 == len(heard)
    (record,) = caplog.records
    assert "its further errors are not logged" in record.message
    assert "ZeroDivisionError" in str(record.exc_text)


def test_another_faulty_listener_is_logged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each listener, also where a former one is gone and its place in memory has been reused."""
    logger, logged = logging.getLogger("seawall"), []

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                logged.append(record.levelno)

    monkeypatch.setattr(logger, "propagate", False)
    counter = Counter()
    logger.addHandler(counter)
    try:
        breaker = CircuitBreaker(failures=1, name="faulty listeners")
        for _ in range(5):
            breaker.listen(_faulty_listener(), CircuitChanged)
            breaker.acquire().failure(OSError())
            breaker.hub.listeners.clear()
            breaker.reset()
    finally:
        logger.removeHandler(counter)
    assert 5 == len(logged)


def _faulty_listener() -> Callable[[Event], object]:
    return lambda event: 1 / 0


def test_a_listener_may_use_the_strategy_that_tells_it() -> None:
    """Events are told after every lock is given back."""
    seen: list[str] = []
    breaker = CircuitBreaker(failures=1, name="used by listener")

    def look(event: CircuitChanged) -> None:
        seen.append(breaker.snapshot().state)
        if event.new == "open":
            breaker.reset()

    breaker.listen(look, CircuitChanged)
    breaker.acquire().failure(OSError())
    assert "closed" == breaker.state
    assert ["open", "closed"] == seen


def test_everybody_may_be_listened_to() -> None:
    """`listen` hears every strategy in the process, those made later included."""
    heard: list[Event] = []
    stop = listen(heard.append, Recovered)
    with FakeClock():
        Retry(on=OSError, backoff=1, name="anybody")(failing(1))()
        stop()
        Retry(on=OSError, backoff=1, name="anybody later")(failing(1))()
    assert [Recovered("anybody", 2)] == heard


@pytest.mark.parametrize("listener", [None, 5, "text"])
def test_a_listener_must_be_callable(listener: Any) -> None:
    """It is refused where it is given, not when something happens."""
    with pytest.raises(TypeError, match=f"listener={listener!r} cannot be called; use a function of one event"):
        listen(listener)


def test_a_listener_must_not_be_async() -> None:
    """Nobody would await it."""

    async def hear(event: Event) -> None:
        """Hears."""

    message = "listener=.*hear.* is an async function; use a plain function of one event"
    for listener_of in (listen, CircuitBreaker(failures=1, name="async listener").listen, Pipeline("unheard").listen):
        with pytest.raises(TypeError, match=message):
            listener_of(hear)


@pytest.mark.parametrize("kind", [int, "Retried", Retried("x", 1, 1.0, None), None])
def test_only_event_classes_can_be_asked_for(kind: Any) -> None:
    """A misspelt class would never be heard of."""
    with pytest.raises(TypeError, match="is no event class; use classes such as CircuitChanged or Retried"):
        listen(print, kind)


def test_asking_for_event_itself_hears_of_everything_that_happens() -> None:
    """A base class stands for those below it."""
    heard: list[Event] = []
    with FakeClock():
        retry = Retry(on=OSError, backoff=1, name="base class")
        retry.listen(heard.append, Event)
        retry(failing(1))()
    assert [Retried, Recovered] == [type(event) for event in heard]


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (Retried("n", 1, 0.5, None, 7), logging.INFO, "'n': attempt 1 returned 7; next in 0.5 s"),
        (
            RetryStopped("n", 3, "nested", 1.5, KeyError(1)),
            logging.WARNING,
            "'n': gave up after attempt 3 and 1.5 s (nested): KeyError: 1",
        ),
        (
            RetryStopped("n", 3, "attempts", 1.5, None, 7),
            logging.WARNING,
            "'n': gave up after attempt 3 and 1.5 s (attempts): returned 7",
        ),
        (Recovered("n", 2), logging.INFO, "'n': succeeded at attempt 2"),
        (CircuitChanged("n", "open", "half_open"), logging.INFO, "'n': circuit open -> half_open"),
        (CircuitChanged("n", "closed", "isolated"), logging.WARNING, "'n': circuit closed -> isolated"),
        (
            CircuitChanged("n", "closed", "open", OSError("down"), 30.0),
            logging.WARNING,
            "'n': circuit closed -> open for 30 s after OSError: down",
        ),
        (
            CallRejected("n", BulkheadFullError("n")),
            logging.DEBUG,
            "'n': rejected a call: BulkheadFullError: 'n' is full",
        ),
        (CallTimedOut("n", 2.0), logging.WARNING, "'n': cut short at its limit of 2 s"),
        (CallOverran("n", 2.0, 3.0), logging.WARNING, "'n': took 3 s, over its limit of 2 s"),
        (FellBack("n", "cache", KeyError(1)), logging.WARNING, "'n': cache answered after KeyError: 1"),
        (Hedged("n", 2, "slow"), logging.DEBUG, "'n': attempt 2 started beside the others (slow)"),
        (BudgetRefused("n", "b"), logging.WARNING, "'n': 'b' refused a retry"),
        (CallEnded("n", 1.0, "success", None), logging.NOTSET, "'n': CallEnded"),
    ],
)
def test_events_are_frozen_and_readable(event: Event, level: int, text: str) -> None:
    """Level and text as they appear in the log; nothing can be changed."""
    assert (level, text) == (event.level, str(event))
    for name in type(event).__match_args__:  # type: ignore[attr-defined]
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            setattr(event, name, "changed")


@pytest.mark.parametrize(
    "event",
    [
        Retried("n", 1, 0.5, OSError("x" * 9999)),
        Retried("n", 1, 0.5, None, "x" * 9999),
        RetryStopped("n", 1, "attempts", 0.5, OSError("x" * 9999)),
        CircuitChanged("n", "closed", "open", OSError("x" * 9999), 30.0),
        CallRejected("n", OSError("x" * 9999)),
        FellBack("n", "cache", OSError("x" * 9999)),
    ],
)
def test_a_long_failure_is_cut(event: Event) -> None:
    """A failure or result takes at most 200 characters of a line, and says that it was cut."""
    (shown,) = re.findall(r"(?:OSError: |')x+\.\.\.", str(event))
    assert 200 == len(shown)


def test_events_are_logged_with_themselves(caplog: pytest.LogCaptureFixture) -> None:
    """Logger `seawall`, the event's level and text, and the event as an attribute of the record."""
    with FakeClock(), caplog.at_level(logging.INFO, "seawall"):
        Retry(on=OSError, backoff=2, name="logged")(failing(1))()
    assert [
        ("seawall", logging.INFO, "'logged': attempt 1 failed with OSError: down; next in 2 s"),
        ("seawall", logging.INFO, "'logged': succeeded at attempt 2"),
    ] == [(record.name, record.levelno, record.message) for record in caplog.records]
    assert Recovered("logged", 2) == caplog.records[1].seawall_event  # type: ignore[attr-defined]
