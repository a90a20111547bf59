"""Nothing grows, nothing is kept alive by a cycle, and a forked child can go on."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from types import TracebackType
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RejectedError,
    Retry,
    RetryBudget,
    Timeout,
)

NUMBERS = count()


def name() -> str:
    """Gives a name that nothing else has."""
    return f"leak-{next(NUMBERS)}"


def depth(traceback: TracebackType | None) -> int:
    """Counts the frames of a traceback."""
    frames = 0
    while traceback is not None:
        frames, traceback = frames + 1, traceback.tb_next
    return frames


def refusing(kind: str) -> Callable[[], object]:
    """Makes a sync call that is refused by one strategy."""
    match kind:
        case "open":
            breaker = CircuitBreaker(failures=1, name=name())
            with pytest.raises(ConnectionError):
                breaker(_fail)()
            return breaker(_fail)
        case "half-open":
            breaker = CircuitBreaker(failures=1, open_for=lambda attempt: 1e-9, probe_lease=1000.0, name=name())
            with pytest.raises(ConnectionError):
                breaker(_fail)()
            breaker.acquire()
            return breaker(_fail)
        case "isolated":
            breaker = CircuitBreaker(failures=1, name=name())
            breaker.isolate()
            return breaker(_fail)
        case "bulkhead":
            bulkhead = Bulkhead(1, name=name())
            _HELD.append(bulkhead.acquire())
            return bulkhead(_fail)
        case _:
            limit = RateLimit(1, per=1e6, name=name())
            limit.acquire()
            return limit(_fail)


_HELD: list[object] = []
KINDS = ["open", "half-open", "isolated", "bulkhead", "rate limit"]


def _fail() -> object:
    raise ConnectionError("the dependency")


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_rejections_leave_nothing_behind(kind: str) -> None:
    """Every rejection is a fresh object of the same shallow traceback, its cause does not grow, none stays alive."""
    call = refusing(kind)
    shapes = set()
    instances = set()

    def once() -> None:
        try:
            call()
        except RejectedError as error:
            cause = error.__cause__
            shapes.add((depth(error.__traceback__), cause and depth(cause.__traceback__), error.__context__ is None))
            instances.add(id(error))
            error.mark = "not seen before" if not hasattr(error, "mark") else pytest.fail("reused")  # type: ignore[attr-defined]

    for _ in range(10):
        once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        once()
    gc.collect()
    assert abs(len(gc.get_objects()) - before) < 50
    assert 1 == len({shape[:2] for shape in shapes})


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_cached_exception_gets_one_note_and_not_a_thousand(colour: str) -> None:
    """An exception instance that is raised again and again carries the note of its last call alone."""
    cached = ConnectionError("cached")
    cached.add_note("the user's own")
    retry = Retry(on=ConnectionError, max_attempts=2, backoff=0.0, name=name())

    def body() -> None:
        raise cached.with_traceback(None)

    async def abody() -> None:
        body()

    async def main() -> None:
        for _ in range(1000):
            with pytest.raises(ConnectionError):
                await aprotected()

    protected, aprotected = retry(body), retry(abody)
    if colour == "async":
        asyncio.run(main())
    else:
        for _ in range(1000):
            with pytest.raises(ConnectionError):
                protected()
    assert 2 == len(cached.__notes__)
    assert "the user's own" == cached.__notes__[0]


class Argument:
    """Something that a weak reference can watch."""


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Switches the cyclic collector off, and the log."""
    logger = logging.getLogger("seawall")
    logger.setLevel(logging.CRITICAL)  # pytest keeps every log record, and with it the failure that it tells of
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    logger.setLevel(logging.NOTSET)


def failing_strategies() -> dict[str, Callable[[], Any]]:
    """Gives what a failing call may go through."""
    on = ConnectionError
    return {
        "retry": lambda: Retry(on=on, max_attempts=3, backoff=0.0),
        "retry, once": lambda: Retry(on=on, max_attempts=1),
        "retry, budget refused": lambda: Retry(on=on, budget=RetryBudget(0.0, 0)),
        "retry on result": lambda: Retry(on=on, on_result=lambda result: result is None, backoff=0.0),
        "retry within retry": lambda: Pipeline(
            name(), Retry(on=on, backoff=0.0), Retry(on=on, backoff=0.0, name=name()), Timeout(5.0)
        ),
        "fallback answers": lambda: Fallback("answer", on=on),
        "fallback fails": lambda: Fallback(_fail, on=on),
        "fallbacks fail": lambda: Fallback(_fail, _fail, on=on),
        "fallback and retry": lambda: Pipeline(name(), Fallback(_fail, on=on), Retry(on=on, backoff=0.0), Timeout(5.0)),
        "breaker": lambda: CircuitBreaker(failures=50),
        "all": lambda: Pipeline(
            name(),
            Fallback(_fail, on=on),
            Retry(on=on, backoff=0.0, budget=RetryBudget()),
            RateLimit(1000),
            Bulkhead(5, max_waiting=5, max_wait=1.0),
            CircuitBreaker(failure_rate=1.0, window=60.0),
            Timeout(5.0),
        ),
    }


@pytest.mark.parametrize("colour", ["sync", "async", "stream", "astream"])
@pytest.mark.parametrize("kind", failing_strategies())
@pytest.mark.usefixtures("without_gc")
def test_a_failed_calls_arguments_are_freed_without_the_collector(kind: str, colour: str) -> None:
    """Once the failure has been handled, no cycle through it keeps the arguments alive."""
    strategy = failing_strategies()[kind]()
    if not isinstance(strategy, Pipeline):
        strategy.call_it(name())

    def call(argument: Argument) -> None:
        raise ConnectionError

    async def acall(argument: Argument) -> None:
        raise ConnectionError

    def stream(argument: Argument) -> Iterator[int]:
        raise ConnectionError
        yield 1

    async def astream(argument: Argument) -> Any:
        raise ConnectionError
        yield 1

    def through() -> weakref.ref[Argument]:
        argument = Argument()
        watched = weakref.ref(argument)
        try:
            if colour == "sync":
                strategy(call)(argument)
            elif colour == "stream":
                next(iter(strategy(stream)(argument)), None)
            else:
                coroutine = strategy(acall)(argument) if colour == "async" else anext(strategy(astream)(argument))
                _drive(coroutine)
        except (ConnectionError, StopAsyncIteration):
            pass
        return watched

    assert through()() is None


def _drive(awaitable: Any) -> None:
    """Awaits in a task; handles the failure there, since run_until_complete keeps it in a cycle of its own."""

    async def main() -> None:
        try:
            await awaitable
        except (ConnectionError, StopAsyncIteration, CallTimeoutError):
            pass

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("kind", ["time-out", "time-out block", "hedge", "half-open", "open", "bulkhead", "rate limit"])
@pytest.mark.usefixtures("without_gc")
def test_a_cut_or_refused_calls_arguments_are_freed_without_the_collector(kind: str) -> None:
    """The same for the errors that are our own, and for a hedged call of which every attempt failed."""

    async def hang(argument: Argument) -> None:
        await asyncio.Event().wait()

    async def fail(argument: Argument) -> None:
        raise ConnectionError

    async def block(argument: Argument) -> None:
        async with timeout.guard():
            await hang(argument)

    timeout = Timeout(0.002, name=name())
    hedge = Hedge(0.001, name=name())
    refused = refusing(kind) if kind in KINDS else _fail

    def through() -> weakref.ref[Argument]:
        argument = Argument()
        watched = weakref.ref(argument)
        try:
            match kind:
                case "time-out":
                    _drive(timeout(hang)(argument))
                case "time-out block":
                    _drive(block(argument))
                case "hedge":
                    _drive(hedge(fail)(argument))
                case _:
                    _take_along(refused, argument)
        except (CallTimeoutError, ConnectionError, RejectedError):
            pass
        return watched

    assert through()() is None


def _take_along(call: Callable[[], object], argument: Argument) -> None:
    """Makes a call with an argument in its frame."""
    call()


def in_child(work: Callable[[], bool], seconds: int = 5) -> int:
    """Forks; runs `work` in the child under an alarm; returns how the child ended: 0 is well."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def everything() -> Pipeline:
    """Makes a pipeline with everything in it."""
    return Pipeline(
        name(),
        Fallback("fallback", on=CircuitOpenError),
        Retry(on=ConnectionError, max_attempts=2, backoff=0.0, budget=RetryBudget(min_concurrent=100)),
        RateLimit(1e6),
        Bulkhead(8, max_waiting=8, max_wait=5.0),
        CircuitBreaker(failure_rate=1.0, window=60.0, min_calls=1_000_000),
        Timeout(5.0),
    )


def use(pipeline: Pipeline) -> bool:
    """Makes calls of both colours; says whether they and the counts were right."""
    calls = []

    def call() -> str:
        calls.append(None)
        if len(calls) % 2:
            raise ConnectionError
        return "answer"

    async def acall() -> str:
        await asyncio.sleep(0)
        return call()

    pipeline.get(CircuitBreaker).snapshot()  # takes in what another thread had left to be counted at the fork
    before = pipeline.get(CircuitBreaker).snapshot()
    right = ["answer", "answer", "answer"] == [
        pipeline.call(call),
        pipeline.call(call),
        asyncio.run(pipeline.acall(acall)),
    ]
    after = pipeline.get(CircuitBreaker).snapshot()
    return right and (6, 3) == (after.calls - before.calls, after.failures - before.failures)


def test_wrapped_calls_survive_a_fork() -> None:
    """A child of a quiet parent makes calls of both colours, and counts them."""
    pipeline = everything()
    assert use(pipeline)
    assert 0 == in_child(lambda: use(pipeline))
    assert use(pipeline)


def test_a_forked_child_starts_with_a_free_bulkhead() -> None:
    """The calls that hold the parent's slots are not made in the child."""
    bulkhead = Bulkhead(1, name=name())
    with bulkhead.guard():
        assert 0 == in_child(lambda: 0 == bulkhead.snapshot().running and 5 == bulkhead(lambda: 5)())
        assert 1 == bulkhead.snapshot().running


def test_wrapped_calls_survive_a_fork_while_other_threads_are_making_calls() -> None:
    """Whatever the parent's threads were doing at the fork, also within a lock, the child goes on."""
    pipeline = everything()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            pipeline.call(lambda: None)
            pipeline.get(CircuitBreaker).snapshot()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        ends = []
        end_by = time.monotonic() + 2.0
        while time.monotonic() < end_by and len(ends) < 60 and not any(ends):
            ends.append(in_child(lambda: use(pipeline), seconds=1))
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        sys.setswitchinterval(usual)
    assert {0} == set(ends)
