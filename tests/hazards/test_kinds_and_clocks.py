"""Async callables of every make are async, and only monotonic time is looked at."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    Timeout,
)
from seawall.testing import FakeClock

NUMBERS = count()


class Calls:
    """Counts the calls of one async callable, which fails the first time."""

    def __init__(self) -> None:
        self.made = 0

    async def answer(self, value: str) -> str:
        """Fails once, then returns what it was given."""
        self.made += 1
        await asyncio.sleep(0)
        if self.made == 1:
            raise ConnectionError
        return value


class AsyncObject(Calls):
    async def __call__(self, value: str) -> str:
        """Makes the object itself an async callable."""
        return await self.answer(value)


class Holder(Calls):
    @classmethod
    async def by_class(cls, calls: Calls, value: str) -> str:
        """Is an async class method."""
        return await calls.answer(value)

    @staticmethod
    async def by_static(calls: Calls, value: str) -> str:
        """Is an async static method."""
        return await calls.answer(value)


def as_object() -> tuple[Calls, Callable[..., Any]]:
    """Gives an object with an async __call__."""
    made = AsyncObject()
    return made, made


def as_method() -> tuple[Calls, Callable[..., Any]]:
    """Gives a bound async method."""
    calls = Calls()
    return calls, calls.answer


def as_partial() -> tuple[Calls, Callable[..., Any]]:
    """Gives a partial of a method."""
    calls = Calls()
    return calls, functools.partial(calls.answer)


def as_partial_of_object() -> tuple[Calls, Callable[..., Any]]:
    """Gives a partial of a partial of an object with an async __call__."""
    made = AsyncObject()
    return made, functools.partial(functools.partial(made))


def as_classmethod() -> tuple[Calls, Callable[..., Any]]:
    """Gives an async class method, bound to its class, in a partial."""
    calls = Calls()
    return calls, functools.partial(Holder.by_class, calls)


def as_staticmethod() -> tuple[Calls, Callable[..., Any]]:
    """Gives an async static method in a partial."""
    calls = Calls()
    return calls, functools.partial(Holder.by_static, calls)


def as_function() -> tuple[Calls, Callable[..., Any]]:
    """Gives an async function."""
    calls = Calls()

    async def function(value: str) -> str:
        return await calls.answer(value)

    return calls, function


MAKES = [as_object, as_method, as_partial, as_partial_of_object, as_classmethod, as_staticmethod, as_function]


def retry() -> Retry:
    """Makes a Retry that does not wait."""
    return Retry(on=ConnectionError, backoff=0.0, name=f"kinds-{next(NUMBERS)}")


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "pipeline"])
def test_an_async_callable_of_any_make_is_retried(make: Callable[[], Any], alone: bool) -> None:
    """The decorated is a coroutine function, and the failure inside the await is what is retried."""
    calls, callable_ = make()
    protect = retry() if alone else Pipeline(f"kinds-{next(NUMBERS)}", retry(), Timeout(5.0))
    decorated = protect(callable_)
    assert inspect.iscoroutinefunction(decorated)
    assert "answer" == asyncio.run(decorated("answer"))
    assert 2 == calls.made


@pytest.mark.parametrize("make", MAKES)
def test_an_async_callable_of_any_make_goes_through_acall(make: Callable[[], Any]) -> None:
    """`acall` takes them undecorated."""
    calls, callable_ = make()
    pipeline = Pipeline(f"kinds-{next(NUMBERS)}", retry(), Timeout(5.0))
    assert "answer" == asyncio.run(pipeline.acall(callable_, "answer"))
    assert 2 == calls.made


@pytest.mark.parametrize(
    "strategy",
    [
        lambda: Retry(on=ConnectionError),
        lambda: CircuitBreaker(failures=1),
        lambda: CircuitBreaker(failure_rate=0.5, window=10.0),
        lambda: Timeout(5.0),
        lambda: Bulkhead(1),
        lambda: RateLimit(10),
        lambda: Fallback(None, on=ConnectionError),
        lambda: Hedge(),
    ],
)
@pytest.mark.parametrize("make", [as_object, as_partial_of_object, as_method])
def test_what_any_strategy_makes_of_an_async_callable_is_async(
    make: Callable[[], Any], strategy: Callable[[], Any]
) -> None:
    """No strategy alone takes an async callable for a sync one."""
    protect = strategy()
    protect.call_it(f"kinds-{next(NUMBERS)}")
    assert inspect.iscoroutinefunction(protect(make()[1]))


def test_decorated_methods_stay_methods_of_their_instance() -> None:
    """Async, class and static methods decorated in the class body are called on the right object."""
    protect = retry()

    class Service:
        """A service with protected methods."""

        def __init__(self) -> None:
            self.made = 0

        @protect
        async def own(self) -> object:
            """Fails once."""
            self.made += 1
            if self.made == 1:
                raise ConnectionError
            return self

        @protect
        @classmethod
        async def of_class(cls) -> object:
            """Gives the class."""
            return cls

        @protect
        @staticmethod
        async def of_none() -> object:
            """Gives nothing."""
            return None

    async def main() -> list[object]:
        return [await service.own(), await service.of_class(), await service.of_none()]

    service = Service()
    assert [service, Service, None] == asyncio.run(main())
    assert all(map(inspect.iscoroutinefunction, (service.own, service.of_class, service.of_none)))


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Runs a test on fake time."""
    with FakeClock(start=1000.0) as clock:
        yield clock


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, -1e9, 1e9])
def test_a_jumping_wall_clock_changes_nothing_for_a_breaker(clock: FakeClock, jump: float) -> None:
    """Hours on the wall clock neither end a break nor lengthen it, nor empty a window."""
    breaker = CircuitBreaker(failures=3, window=20.0, open_for=10.0)
    for _ in range(2):
        breaker.acquire().failure()
        clock.set_wall(clock.wall() + jump)
    assert 2 == breaker.snapshot().failures
    breaker.acquire().failure()
    clock.set_wall(clock.wall() + jump)
    clock.advance(9.5)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert 0.5 == caught.value.retry_after
    clock.advance(0.5)
    clock.set_wall(clock.wall() - jump)
    breaker.acquire().success()
    assert "closed" == breaker.state


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_window", "gcra"])
def test_a_jumping_wall_clock_changes_nothing_for_a_rate_limit(clock: FakeClock, algorithm: Any, jump: float) -> None:
    """Hours on the wall clock give no token and take none."""
    limit = RateLimit(1, per=10.0, algorithm=algorithm)
    limit.acquire()
    clock.set_wall(clock.wall() + jump)
    with pytest.raises(RateLimitedError) as caught:
        limit.acquire()
    assert 10.0 == caught.value.retry_after
    clock.advance(10.0)
    limit.acquire()


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_jumping_wall_clock_changes_nothing_for_retries_and_timeouts(
    clock: FakeClock, colour: str, jump: float
) -> None:
    """Delays, elapsed time, waits for a slot and time-outs are the same whatever the wall clock does."""
    slots = Bulkhead(1, max_waiting=1, max_wait=5.0)
    pipeline = Pipeline(
        f"wall-{next(NUMBERS)}",
        Fallback("fallback", on=ConnectionError),
        Retry(on=ConnectionError, max_attempts=4, backoff=lambda number: 3.0, max_elapsed=7.0),
        slots,
        Timeout(2.0),
    )
    begun: list[float] = []

    def fail() -> None:
        begun.append(clock.now())
        clock.set_wall(clock.wall() + jump)
        raise ConnectionError

    async def afail() -> None:
        fail()

    answer = pipeline.call(fail) if colour == "sync" else asyncio.run(pipeline.acall(afail))
    assert "fallback" == answer
    assert [1000.0, 1003.0, 1006.0] == begun
