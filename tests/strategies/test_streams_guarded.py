"""Guards on streams: who counts what and holds what for how long; and sync generators keep their whole protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallOverran,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    Fallback,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    Strategy,
    Timeout,
    remaining,
)
from seawall.testing import FakeClock, Recorder


def counts(breaker: CircuitBreaker) -> tuple[int, int]:
    """Calls and failures in the breaker's window."""
    snapshot = breaker.snapshot()
    return snapshot.calls, snapshot.failures


def windowed(name: str) -> CircuitBreaker:
    """A breaker that counts and hardly opens."""
    return CircuitBreaker(failures=50, window_calls=100, name=name)


def counted(count: int, error: Exception | None = None) -> Iterator[int]:
    """Gives so many items, then fails where told to."""
    yield from range(count)
    if error is not None:
        raise error


async def acounted(count: int, error: Exception | None = None) -> AsyncIterator[int]:
    """Gives so many items, then fails where told to."""
    for item in range(count):
        yield item
    if error is not None:
        raise error


def read(strategy: Strategy, colour: str, count: int, error: Exception | None = None, most: int = 99) -> None:
    """Reads up to `most` items of a guarded stream and closes it; failures are the stream's own matter."""
    expected = KeyError if error is None else type(error)
    if colour == "sync":
        with closing(strategy(counted)(count, error)) as items:  # type: ignore[type-var]
            try:
                for _, _ in zip(range(most), items, strict=False):
                    pass
            except expected:
                pass
        return

    async def aread() -> None:
        async with aclosing(strategy(acounted)(count, error)) as items:  # type: ignore[type-var]
            try:
                for _ in range(most):
                    await anext(items)
            except (StopAsyncIteration, expected):
                pass

    asyncio.run(aread())


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


@pytest.mark.parametrize(
    ("case", "count", "error", "most", "expected"),
    [
        ("read to its end", 3, None, 99, (1, 0)),
        ("empty", 0, None, 99, (1, 0)),
        ("stopped after an item", 3, None, 1, (1, 0)),
        ("producer fails midway", 2, ConnectionError(), 99, (1, 1)),
        ("producer fails at once", 0, ConnectionError(), 99, (1, 1)),
        ("producer answers with an error", 1, KeyError(), 99, (1, 0)),
        ("never begun", 3, None, 0, (0, 0)),
    ],
)
def test_what_a_breaker_counts_of_a_stream(
    colour: str, case: str, count: int, error: Exception | None, most: int, expected: tuple[int, int]
) -> None:
    """Failure on the producer's error; success at the end or after an item; nothing where it never began."""
    breaker = CircuitBreaker(failures=50, window_calls=100, on=ConnectionError, name=f"{case} {colour}")
    read(breaker, colour, count, error, most)
    assert expected == counts(breaker)


def test_a_stream_cancelled_before_its_first_item_is_released() -> None:
    """The dependency has said nothing yet."""
    breaker = windowed("cancelled opening")

    @breaker
    async def stream() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 1

    async def main() -> None:
        task = asyncio.ensure_future(anext(stream()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert (0, 0) == counts(breaker)


def test_a_streaming_probe_closes_the_circuit_when_it_ends(colour: str) -> None:
    """Half-open, the stream is the probe until its end; meanwhile others are rejected."""
    with FakeClock() as clock:
        breaker = CircuitBreaker(failures=1, open_for=5, name=f"streaming probe {colour}")
        read(breaker, colour, 0, ConnectionError())
        assert "open" == breaker.state
        clock.advance(5)
        items = breaker(counted)(2)
        assert 0 == next(items)
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
        assert [1] == list(items)
        assert "closed" == breaker.state


def test_a_bulkhead_is_held_until_the_stream_is_closed(colour: str) -> None:
    """Between items too, and given back at the end, on an error, and when closed early."""
    bulkhead = Bulkhead(1, name=f"held {colour}")

    def full() -> bool:
        try:
            bulkhead.acquire().release()
        except BulkheadFullError:
            return True
        return False

    async def main() -> list[bool]:
        seen = []
        stream = bulkhead(acounted)(2)
        await anext(stream)
        seen.append(full())
        await stream.aclose()  # type: ignore[attr-defined]
        seen.append(full())
        return seen

    if colour == "async":
        assert [True, False] == asyncio.run(main())
    else:
        items = bulkhead(counted)(2)
        seen = [full()]
        next(items)
        seen.append(full())
        items.close()  # type: ignore[attr-defined]
        assert [False, True, False] == [*seen, full()]
    read(bulkhead, colour, 2, ConnectionError())
    assert 0 == bulkhead.snapshot().running


def test_a_rate_limit_counts_a_stream_once(colour: str) -> None:
    """The stream is one call, however many items it has."""
    with FakeClock():
        limit = RateLimit(1, name=f"once {colour}")
        read(limit, colour, 5)
        with pytest.raises(RateLimitedError):
            limit.acquire()


def test_a_timeout_runs_only_while_the_producer_runs() -> None:
    """A slow consumer does not use up the time; each item has the whole limit again."""

    @Timeout(1, name="slow consumer")
    async def stream() -> AsyncIterator[int]:
        for item in range(3):
            await asyncio.sleep(0.9)
            yield item

    async def main() -> list[int]:
        seen = []
        async for item in stream():
            await asyncio.sleep(10)
            seen.append(item)
        return seen

    with FakeClock() as clock:
        clock_end = asyncio.run(_driven(clock, main))
        assert [0, 1, 2] == clock_end
        assert 32.7 == pytest.approx(clock.now())


def test_a_timeout_ends_an_item_that_takes_too_long() -> None:
    """The second item is late: the first was given, then `CallTimeoutError`, and the producer is closed."""
    closed = []

    @Timeout(1, name="slow item")
    async def stream() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(5)
            yield 2
        finally:
            closed.append(True)

    async def main() -> list[int]:
        items = stream()
        seen = [await anext(items)]
        with pytest.raises(CallTimeoutError) as caught:
            await anext(items)
        assert ("slow item", 1.0, False) == (caught.value.name, caught.value.limit, caught.value.by_deadline)
        return seen

    with FakeClock() as clock:
        assert [1] == asyncio.run(_driven(clock, main))
        assert 1.0 == clock.now()
    assert [True] == closed


async def _driven(clock: FakeClock, main: Callable[[], Any]) -> Any:
    """Runs `main` on virtual time from its first moment on."""
    clock.drive(asyncio.get_running_loop())
    return await main()


def test_a_sync_stream_sees_the_time_left_while_it_runs() -> None:
    """The producer sees the whole limit for each item; the consumer sees none; a late item is an overrun."""
    with FakeClock() as clock, Recorder() as events:

        @Timeout(2, name="sync stream")
        def stream() -> Iterator[float | None]:
            yield remaining()
            clock.advance(3)
            yield remaining()

        items = stream()
        assert 2.0 == next(items)
        assert None is remaining()
        clock.advance(60)
        assert 0.0 == next(items)
        assert None is remaining()
        assert [("sync stream", 2.0, 3.0)] == [(e.name, e.limit, e.took) for e in events.of(CallOverran)]


EVERY_STRATEGY: dict[str, Callable[[str], Strategy]] = {
    "retry": lambda name: Retry(on=ConnectionError, name=name),
    "breaker": lambda name: CircuitBreaker(failures=3, name=name),
    "timeout": lambda name: Timeout(5, name=name),
    "bulkhead": lambda name: Bulkhead(1, name=name),
    "limit": lambda name: RateLimit(10, name=name),
    "fallback": lambda name: Fallback(0, on=ConnectionError, name=name),
}


def talk() -> Generator[Any, Any, str]:
    """Answers what is sent, catches what is thrown, and returns a value."""
    heard: list[object] = []
    while len(heard) < 3:
        try:
            heard.append((yield len(heard)))
        except KeyError as error:
            heard.append(repr(error))
    return f"heard {heard}"


@pytest.mark.parametrize("kind", [*EVERY_STRATEGY, "pipeline"])
def test_send_throw_and_return_pass_through(kind: str) -> None:
    """A sync generator keeps its whole protocol below every strategy, and below all of them."""
    made = [make(f"talk {kind} {key}") for key, make in EVERY_STRATEGY.items() if kind in (key, "pipeline")]
    order = ("fallback", "retry", "ratelimit", "bulkhead", "breaker", "timeout")
    talking = Pipeline(f"talk {kind}", *sorted(made, key=lambda s: order.index(s.word)), Timeout(3))(talk)()
    assert 0 == next(talking)
    assert 1 == talking.send("a")
    assert 2 == talking.throw(KeyError("b"))
    with pytest.raises(StopIteration) as end:
        next(talking)
    assert """heard ['a', "KeyError('b')", None]""" == end.value.value


@pytest.mark.parametrize("kind", EVERY_STRATEGY)
def test_what_is_thrown_in_and_not_caught_comes_out(kind: str) -> None:
    """An exception that the producer does not catch passes through, the same object."""
    items = EVERY_STRATEGY[kind](f"thrown {kind}")(counted)(3)
    next(items)
    thrown = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        items.throw(thrown)  # type: ignore[attr-defined]
    assert thrown is caught.value


@pytest.mark.parametrize("kind", EVERY_STRATEGY)
def test_closing_early_closes_the_producer(kind: str) -> None:
    """In both colours the producer's `finally` has run when the close returns."""
    closed = []

    def stream() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("sync")

    async def astream() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("async")

    async def main() -> None:
        items = strategy(astream)()
        assert 1 == await anext(items)
        await items.aclose()  # type: ignore[attr-defined]
        assert ["sync", "async"] == closed

    strategy = EVERY_STRATEGY[kind](f"closed {kind}")
    items = strategy(stream)()
    assert 1 == next(items)
    items.close()  # type: ignore[attr-defined]
    assert ["sync"] == closed
    asyncio.run(main())
