"""What type checkers must make of the public face. Never run: mypy (strict) and pyright read it.

Each `assert_type` pins an inferred type; each `type: ignore` is a misuse, and fails the check when it stops being one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, assert_type

from seawall import (
    Backoff,
    Bulkhead,
    CallRejected,
    CircuitBreaker,
    CircuitChanged,
    CircuitOpenError,
    Clock,
    Event,
    Explanation,
    Fallback,
    Finding,
    Hedge,
    Outcome,
    Pipeline,
    RateLimit,
    RejectedError,
    Retried,
    Retry,
    RetryBudget,
    Strategy,
    Timeout,
    WorkerPool,
    deadline,
    listen,
    remaining,
)
from seawall.testing import Crash, CrashReport, CrashRunner, FakeClock, Recorder

rates = Pipeline(
    "rates",
    Fallback(Decimal(1), on=(RejectedError, ConnectionError)),
    Retry(on=ConnectionError, max_attempts=4, backoff=Backoff.exponential(2.0, cap=30.0)),
    Bulkhead(20, max_waiting=40, max_wait=timedelta(seconds=30)),
    CircuitBreaker(failures=5, open_for=60.0),
    Timeout(10),
)
breaker = CircuitBreaker(name="bank", failures=3)
retry = Retry(on=lambda error: isinstance(error, OSError), budget=RetryBudget(0.2))


# ------------------------------------------------------------------------------------------ decorated callables


@rates
def rate(source: str, target: str = "USD") -> Decimal:
    """A function."""
    return Decimal(len(source + target))


@rates
async def arate(source: str, *, target: str) -> Decimal:
    """An async function."""
    return Decimal(len(source + target))


@breaker
def lines(path: str) -> Iterator[str]:
    """A generator."""
    yield path


@retry
def talk(start: int) -> Generator[int, str, bytes]:
    """A generator that is talked to."""
    return (yield start).encode()


@Timeout(1)
async def alines(path: str) -> AsyncIterator[str]:
    """An async generator."""
    yield path


class Bank:
    """Methods of each kind, decorated above and below."""

    @breaker
    def balance(self, account: int) -> Decimal:
        """A method."""
        return Decimal(account)

    @rates
    async def abalance(self, account: int) -> Decimal:
        """An async method."""
        return Decimal(account)

    @staticmethod
    @breaker
    def currency(code: str) -> str:
        """A static method."""
        return code

    @classmethod
    @breaker
    def opened(cls, name: str) -> "Bank":
        """A class method."""
        return cls()

    @breaker
    def history(self, days: int) -> Iterator[int]:
        """A generator method."""
        yield days


class Doubler:
    """A callable object."""

    def __call__(self, number: int) -> int:
        """Doubles."""
        return number * 2


class AsyncDoubler:
    """An async callable object."""

    async def __call__(self, number: int) -> int:
        """Doubles."""
        return number * 2


def decorated(bank: Bank) -> None:
    """Decoration keeps parameters and results."""
    assert_type(rate("EUR"), Decimal)
    assert_type(rate("EUR", target="INR"), Decimal)
    assert_type(lines("x"), Iterator[str])
    assert_type(talk(1), Generator[int, str, bytes])
    assert_type(alines("x"), AsyncIterator[str])
    assert_type(bank.balance(1), Decimal)
    assert_type(bank.balance(account=1), Decimal)
    assert_type(Bank.currency("EUR"), str)
    assert_type(Bank.opened("x"), Bank)
    assert_type(bank.history(3), Iterator[int])
    assert_type(rates(Doubler())(2), int)
    assert_type(rates(partial(rate, "EUR"))(), Decimal)
    assert_type(rates(bank.balance)(1), Decimal)
    assert_type(rates(len)("x"), int)


async def adecorated(bank: Bank) -> None:
    """Decorated async functions are awaited as before."""
    assert_type(await arate("EUR", target="INR"), Decimal)
    assert_type(await bank.abalance(1), Decimal)
    assert_type(await rates(AsyncDoubler())(2), int)
    assert_type(await rates(partial(arate, "EUR"))(target="INR"), Decimal)
    coroutine: Coroutine[Any, Any, Decimal] = arate("EUR", target="INR")
    assert_type(await coroutine, Decimal)
    assert_type([line async for line in alines("x")], list[str])


def decorated_wrongly(bank: Bank) -> None:
    """Each line is an error for the type checker."""
    rate()  # type: ignore[call-arg]
    rate(1)  # type: ignore[arg-type]
    rate("EUR", source="EUR")  # type: ignore[misc]
    arate("EUR", "INR")  # type: ignore[call-arg, unused-coroutine]
    bank.balance("1")  # type: ignore[arg-type]
    bank.balance(1, 2)  # type: ignore[call-arg]
    lines(1)  # type: ignore[arg-type]
    rates(5)  # type: ignore[arg-type]
    breaker(None)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- calls through pipelines


def plain_rate(source: str, target: str = "USD") -> Decimal:
    """A function that is not decorated."""
    return Decimal(len(source + target))


async def plain_arate(source: str, *, target: str) -> Decimal:
    """An async function that is not decorated."""
    return Decimal(len(source + target))


def promised(source: str) -> Awaitable[Decimal]:
    """A function that returns an awaitable."""
    return plain_arate(source, target="USD")


async def calls() -> None:
    """`call` and `acall` check arguments and give the result's type; outcomes carry it."""
    assert_type(rates.call(plain_rate, "EUR", target="INR"), Decimal)
    assert_type(await rates.acall(plain_arate, "EUR", target="INR"), Decimal)
    assert_type(rates.call(Doubler(), 2), int)
    assert_type(await rates.acall(AsyncDoubler(), 2), int)
    outcome = rates.call_outcome(plain_rate, "EUR")
    assert_type(outcome, Outcome[Decimal])
    assert_type(outcome.value, Decimal)
    assert_type(outcome.served_by, str)
    assert_type(outcome.attempts, int)
    assert_type(outcome.duration, float)
    assert_type(await rates.acall_outcome(plain_arate, "EUR", target="INR"), Outcome[Decimal])


async def calls_wrongly() -> None:
    """Each line is an error for the type checker."""
    rates.call(plain_rate)  # type: ignore[call-arg]
    rates.call(plain_rate, 5)  # type: ignore[arg-type]
    rates.call(plain_rate, "EUR", to="INR")  # type: ignore[call-arg]
    await rates.acall(plain_rate, "EUR")  # type: ignore[arg-type]
    await rates.acall(promised, "EUR")  # type: ignore[arg-type]
    await rates.acall(plain_arate, "EUR", "INR")  # type: ignore[call-arg]
    rates.call_outcome(plain_rate, b"EUR")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ pipelines and their strategies


def parts() -> None:
    """A pipeline gives its strategies by class."""
    assert_type(rates.get(CircuitBreaker), CircuitBreaker)
    assert_type(rates.get(Bulkhead), Bulkhead)
    assert_type(rates.get(CircuitBreaker).state, str)
    assert_type(rates.strategies, tuple[Strategy, ...])
    assert_type(rates.explain(), Explanation)
    assert_type(rates.explain().findings, tuple[Finding, ...])
    assert_type(rates.explain().worst_attempts, int)
    assert_type(rates.explain().worst_duration, float)
    assert_type(breaker.snapshot().failure_rate, float | None)
    assert_type(rates.get(Bulkhead).snapshot().running, int)
    rates.get(int)  # type: ignore[type-var]
    Pipeline("wrong", 5)  # type: ignore[arg-type]
    Pipeline("nested", rates)  # type: ignore[arg-type]
    Pipeline(name="by name")  # type: ignore[call-arg]


def heard(event: CircuitChanged) -> None:
    """A listener to one class of event."""
    assert_type(event.open_for, float | None)


def listening() -> None:
    """Listening returns the function that stops it."""
    assert_type(breaker.listen(heard, CircuitChanged), Callable[[], None])
    assert_type(rates.listen(print), Callable[[], None])
    assert_type(listen(print, Retried, CallRejected), Callable[[], None])
    rates.listen(print, int)  # type: ignore[arg-type]
    breaker.listen("heard")  # type: ignore[arg-type]


async def guards() -> None:
    """Guards are used with `with` and `async with`, permits by hand."""
    with breaker.guard():
        pass
    async with breaker.guard():
        pass
    async with Bulkhead(1).guard(), RateLimit(1).guard(), Timeout(1).guard():
        pass
    with breaker.isolate() as hold:
        assert_type(hold.close(), None)
    permit = breaker.acquire()
    permit.failure(OSError())
    permit.failure("text")  # type: ignore[arg-type]
    (await Bulkhead(1).aacquire()).release()
    with retry.guard():  # type: ignore[attr-defined]
        pass


async def loops() -> None:
    """The loop form of a Retry, in both colours."""
    for attempt in retry.attempts():
        with attempt as this:
            assert_type(this.number, int)
    async for attempt in retry.attempts():
        with attempt:
            assert_type(attempt.number, int)


async def times() -> None:
    """Deadlines say how much time is left."""
    with deadline(2) as limit:
        assert_type(limit, deadline)
        assert_type(limit.remaining(), float)
        assert_type(remaining(), float | None)
    async with deadline(timedelta(seconds=1)):
        pass
    deadline("2")  # type: ignore[arg-type]


async def pools() -> None:
    """Worker pools keep parameters and results."""
    pool = WorkerPool("critical", 10, 20)
    assert_type(await pool.run(plain_rate, "EUR", target="INR"), Decimal)
    assert_type(pool.submit(len, "x"), Future[int])
    await pool.run(plain_rate, 5)  # type: ignore[arg-type]
    pool.submit(plain_rate)  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------------------- constructors


def constructors(clock: Clock) -> None:
    """Durations are numbers or timedeltas; matchers are classes, tuples or predicates."""
    Retry(on=OSError, backoff=1, max_elapsed=timedelta(minutes=5), clock=clock, rng=lambda: 0.5)
    Retry(on=(OSError, ValueError), backoff=Backoff.listed(1, 5.0, timedelta(seconds=15)), max_elapsed=None)
    Retry(on=lambda error: True, backoff=lambda number: 2.0**number, on_result=lambda result: result is None)
    CircuitBreaker(failure_rate=0.5, window=30, open_for=lambda attempt: 1.0 * attempt)
    CircuitBreaker(failures=5, ignore=KeyError, clock=FakeClock())
    Fallback(None, print, lambda: 5, on=CircuitOpenError)
    Hedge("p95", budget=RetryBudget())
    RateLimit(10, per=timedelta(minutes=1), algorithm="gcra")
    assert_type(Backoff.linear(1), Backoff)


def constructors_wrongly() -> None:
    """Each line is an error for the type checker."""
    Retry()  # type: ignore[call-arg]
    Retry(OSError)  # type: ignore[call-arg]
    Retry(on=OSError, max_attempts="3")  # type: ignore[arg-type]
    Retry(on=OSError, attempts=3)  # type: ignore[call-arg]
    Retry(on=5)  # type: ignore[arg-type]
    Retry(on=OSError, budget=0.2)  # type: ignore[arg-type]
    CircuitBreaker(5)  # type: ignore[call-arg]
    CircuitBreaker(failures=2.5)  # type: ignore[arg-type]
    CircuitBreaker(failures=5, window="30")  # type: ignore[arg-type]
    Timeout()  # type: ignore[call-arg]
    Timeout("10")  # type: ignore[arg-type]
    Timeout(None)  # type: ignore[arg-type]
    Bulkhead(1.5)  # type: ignore[arg-type]
    Bulkhead(1, 2)  # type: ignore[call-arg]
    RateLimit(1, algorithm="leaky")  # type: ignore[arg-type]
    Fallback(5)  # type: ignore[call-arg]
    Hedge(0.05, max_extra="1")  # type: ignore[arg-type]
    Backoff.fixed(1, jitter="some")  # type: ignore[arg-type]
    RetryBudget("0.2")  # type: ignore[arg-type]
    WorkerPool("critical")  # type: ignore[call-arg]


def testing() -> None:
    """What tests use."""
    with FakeClock() as clock, Recorder(Retried) as events:
        assert_type(clock, FakeClock)
        assert_type(clock.now(), float)
        assert_type(events.of(Retried), list[Retried])
        assert_type(events.events, list[Event])
        events.of(int)  # type: ignore[type-var]
    runner = CrashRunner(["python", "x.py"])
    assert_type(runner.record(), tuple[Crash, ...])
    assert_type(runner.run(before=lambda: None, check=lambda crash: None), CrashReport)
    clock.now = 5  # type: ignore[assignment, method-assign]
