"""No lock is held while a user's code runs: calls overlap, and callbacks may call back."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from seawall import (
    Backoff,
    Bulkhead,
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RejectedError,
    Retry,
    RetryBudget,
    Strategy,
    Timeout,
)
from seawall.testing import FakeClock

NUMBERS = count()
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "breaker in a row": lambda: CircuitBreaker(failures=3),
    "breaker, window": lambda: CircuitBreaker(failure_rate=0.5, window=30.0),
    "breaker, judged results": lambda: CircuitBreaker(failures=3, on_result=lambda result: result is None),
    "breaker, slow calls": lambda: CircuitBreaker(slow_after=60.0, slow_rate=0.5, window_calls=20),
    "bulkhead": lambda: Bulkhead(10),
    "rate limit": lambda: RateLimit(1000, algorithm="sliding_window"),
    "retry": lambda: Retry(on=ConnectionError, budget=RetryBudget()),
    "fallback": lambda: Fallback(None, on=ConnectionError),
    "timeout": lambda: Timeout(30.0),
}


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Runs a test on fake time."""
    with FakeClock() as clock:
        yield clock


def promptly(work: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Runs `work` on a thread; fails, instead of hanging, where it deadlocks."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed to the test
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "deadlock"
    if errors:
        raise errors[0]
    return results[0]


@pytest.mark.parametrize("kind", STRATEGIES)
def test_ten_calls_in_threads_overlap(kind: str) -> None:
    """Ten calls that each wait for the nine others all end: none is kept out by another."""
    together = threading.Barrier(10)
    strategy = STRATEGIES[kind]()
    strategy.call_it(f"overlap-{next(NUMBERS)}")
    protected = strategy(lambda: together.wait(10))
    ended: list[int] = []
    threads = [threading.Thread(target=lambda: ended.append(protected()), daemon=True) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert list(range(10)) == sorted(ended)


@pytest.mark.parametrize("kind", [*STRATEGIES, "hedge"])
def test_ten_calls_in_tasks_overlap(kind: str) -> None:
    """Ten async calls that each wait for the nine others all end."""
    strategy = Hedge(30.0) if kind == "hedge" else STRATEGIES[kind]()
    strategy.call_it(f"overlap-{next(NUMBERS)}")

    async def main() -> int:
        entered, everybody = count(1), asyncio.Event()

        async def call() -> int:
            if next(entered) == 10:
                everybody.set()
            await everybody.wait()
            return 1

        protected = strategy(call)
        return sum(await asyncio.wait_for(asyncio.gather(*(protected() for _ in range(10))), 10))

    assert 10 == asyncio.run(main())


def everything_one_may_ask(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Uses a breaker in every way."""
    assert breaker.state
    assert breaker.snapshot().name
    try:
        breaker.acquire().release()
    except RejectedError:
        pass
    try:
        breaker.acquire().failure(ConnectionError("from a callback"))
    except RejectedError:
        pass
    with breaker.isolate():
        assert "isolated" == breaker.state


def test_a_listener_may_call_back_into_its_breaker(clock: FakeClock) -> None:
    """A listener to every event of a breaker uses that breaker, at each of its transitions."""
    breaker = CircuitBreaker(failures=2, open_for=1.0, name=f"reentrant-{next(NUMBERS)}")
    heard: list[str] = []
    inside = []

    def listener(event: object) -> None:
        heard.append(type(event).__name__)
        if not inside:
            inside.append(None)
            everything_one_may_ask(breaker, clock)
            inside.clear()

    def work() -> None:
        for _ in range(3):
            for _ in range(2):
                breaker.acquire().failure(ConnectionError())
            clock.advance(1.0)
            breaker.acquire().success()
            breaker.isolate()
            breaker.reset()

    breaker.listen(listener)
    promptly(work)
    assert {"CallRejected", "CircuitChanged"} == set(heard)
    assert [] == inside, "the listener failed"


def test_a_listener_to_rejections_may_call_back_into_its_breaker(clock: FakeClock) -> None:
    """A listener to rejections that resets the breaker lets the next call pass."""
    breaker = CircuitBreaker(failures=1, name=f"reentrant-{next(NUMBERS)}")
    breaker.listen(lambda event: breaker.reset(), CallRejected)

    def work() -> str:
        breaker.acquire().failure()
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
        return breaker.state

    assert "closed" == promptly(work)


@pytest.mark.parametrize("place", ["open_for", "on", "ignore", "on_result", "rng"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_breakers_callbacks_may_call_back_into_it(clock: FakeClock, place: str, colour: str) -> None:
    """Each function that was given to a breaker may use that breaker, also on the way to half-open and back."""
    asked: list[str] = []
    inside: list[None] = []

    def look(answer: Any) -> Callable[..., Any]:
        def callback(*args: object) -> Any:
            asked.append(place)
            if not inside:
                inside.append(None)
                everything_one_may_ask(breaker, clock)
                breaker.reset()
                inside.clear()
            return answer

        return callback

    extra = {
        "open_for": {"open_for": look(1.0)},
        "on": {"on": look(True)},
        "ignore": {"ignore": look(False)},
        "on_result": {"on_result": look(True)},
        "rng": {"open_for_jitter": 0.5, "rng": look(0.5)},
    }[place]
    figures: dict[str, Any] = {"failures": 1, "open_for": 1.0, **extra}
    breaker = CircuitBreaker(**figures, name=f"reentrant-{next(NUMBERS)}")

    def body() -> None:
        if place != "on_result":
            raise ConnectionError

    async def abody() -> None:
        body()

    def work() -> None:
        for _ in range(4):
            try:
                if colour == "sync":
                    breaker(body)()
                else:
                    asyncio.run(breaker(abody)())
            except (ConnectionError, CircuitOpenError):
                pass
            clock.advance(1.0)

    promptly(work)
    assert place in asked


@pytest.mark.parametrize("place", ["backoff", "rng", "on", "on_result", "fallback", "fallback on"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_callbacks_of_a_pipeline_may_call_the_pipeline(clock: FakeClock, place: str, colour: str) -> None:
    """Each function given to a Retry or a Fallback may make a call through the very same pipeline."""
    answers: list[object] = []
    inside: list[None] = []

    def look(answer: Any) -> Callable[..., Any]:
        def callback(*args: object) -> Any:
            if not inside:
                inside.append(None)
                answers.append(pipeline.call(lambda: "inner"))
                inside.clear()
            return answer

        return callback

    def pick(here: str, answer: Any, other: Any) -> Any:
        return look(answer) if place == here else other

    jittered = Backoff.exponential(0.1, jitter="full")
    pipeline = Pipeline(
        f"reentrant-{next(NUMBERS)}",
        Fallback(pick("fallback", "last", "last"), on=pick("fallback on", True, ConnectionError)),
        Retry(
            on=pick("on", True, ConnectionError),
            on_result=pick("on_result", False, None),
            backoff=pick("backoff", 0.1, jittered),
            rng=pick("rng", 0.5, lambda: 0.5),
            budget=RetryBudget(min_concurrent=10),
        ),
        RateLimit(1000),
        Bulkhead(2, max_waiting=1, max_wait=1.0),
        CircuitBreaker(failure_rate=0.9, window=60.0, min_calls=50),
        Timeout(1.0),
    )

    def body() -> str:
        if place == "on_result":
            return "last"
        raise ConnectionError

    async def abody() -> str:
        return body()

    def work() -> object:
        return pipeline.call(body) if colour == "sync" else asyncio.run(pipeline.acall(abody))

    assert "last" == promptly(work)
    assert {"inner"} == set(answers)


@pytest.mark.parametrize("strategy", [Bulkhead(1, name="refusing bulkhead"), RateLimit(1, name="refusing limit")])
def test_a_listener_may_use_the_strategy_that_refused(clock: FakeClock, strategy: Any) -> None:
    """A listener to a rejection takes part in the contest itself, and is refused without a deadlock."""
    refused: list[BaseException] = []

    def listener(event: CallRejected) -> None:
        if not refused:
            refused.append(event.error)
            with pytest.raises(type(event.error)):
                strategy.acquire()

    strategy.listen(listener, CallRejected)

    def work() -> None:
        held = strategy.acquire()
        with pytest.raises(Exception, match="refusing"):
            strategy.acquire()
        held.release()

    promptly(work)
    assert 1 == len(refused)
