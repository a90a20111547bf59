"""Retry and Fallback on streams: they act before the first item only, in both colours."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any

import pytest

from seawall import Fallback, FellBack, Recovered, Retried, Retry, Strategy
from seawall.testing import FakeClock, Recorder

Producer = Callable[[], Iterable[int]]


def flaky(failures: int, items: Iterable[int] = (1, 2, 3)) -> tuple[Producer, list[str]]:
    """Returns a producer that fails so many times before its first item, and a log of its openings."""
    log: list[str] = []

    def produce() -> Iterator[int]:
        log.append("opened")
        if len(log) <= failures:
            raise ConnectionError(len(log))
        yield from items

    return produce, log


def breaking(after: int) -> tuple[Producer, list[str]]:
    """Returns a producer that fails after so many items."""
    log: list[str] = []

    def produce() -> Iterator[int]:
        log.append("opened")
        yield from range(after)
        raise ConnectionError("midway")

    return produce, log


def consume(strategy: Strategy, produce: Producer, colour: str) -> list[int]:
    """Decorates the producer, as a generator or an async generator, and reads it to its end."""
    if colour == "sync":

        def stream() -> Iterator[int]:
            yield from produce()

        return list(strategy(stream)())

    async def astream() -> AsyncIterator[int]:
        for item in produce():
            yield item

    async def read() -> list[int]:
        return [item async for item in strategy(astream)()]

    return asyncio.run(read())


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """Both colours."""
    return str(request.param)


def test_a_stream_is_opened_again_after_a_failure_before_its_first_item(colour: str) -> None:
    """Two failed openings, then the whole stream once."""
    produce, log = flaky(2)
    with FakeClock() as clock, Recorder() as events:
        items = consume(Retry(on=ConnectionError, backoff=2, name=f"opening {colour}"), produce, colour)
    assert [1, 2, 3] == items
    assert 3 == len(log)
    assert [2.0, 2.0] == clock.slept
    assert [1, 2] == [event.attempt for event in events.of(Retried)]
    assert [3] == [event.attempts for event in events.of(Recovered)]


def test_a_stream_is_never_repeated_after_its_first_item(colour: str) -> None:
    """What was given out cannot be taken back: the failure is passed on."""
    produce, log = breaking(2)
    with FakeClock() as clock, pytest.raises(ConnectionError, match="midway"):
        consume(Retry(on=ConnectionError, name=f"no repeat {colour}"), produce, colour)
    assert 1 == len(log)
    assert [] == clock.slept


def test_an_empty_stream_is_no_failure(colour: str) -> None:
    """A stream that ends without an item has succeeded."""
    produce, log = flaky(0, ())
    assert [] == consume(Retry(on=ConnectionError, name=f"empty {colour}"), produce, colour)
    assert 1 == len(log)


def test_an_opening_that_keeps_failing_raises_its_last_failure(colour: str) -> None:
    """As for plain calls: the last failure itself."""
    produce, log = flaky(9)
    with FakeClock(), pytest.raises(ConnectionError, match="3"):
        consume(Retry(on=ConnectionError, name=f"keeps failing {colour}"), produce, colour)
    assert 3 == len(log)


@pytest.mark.parametrize(
    ("answer", "items"),
    [([7, 8], [7, 8]), ((), []), (5, [5]), ("text", ["text"]), ({"a": 1}, [{"a": 1}]), (None, [None])],
)
def test_a_stream_falls_back_before_its_first_item(colour: str, answer: object, items: list[object]) -> None:
    """An iterable is streamed; a text, a dictionary or anything else is the only item."""
    produce, _ = flaky(9)
    strategy = Fallback(answer, on=ConnectionError, name=f"answers {colour} {answer!r}")
    assert items == consume(strategy, produce, colour)


def test_a_stream_does_not_fall_back_after_its_first_item(colour: str) -> None:
    """Half of one answer and half of another would be neither."""
    produce, _ = breaking(1)
    with Recorder() as events, pytest.raises(ConnectionError, match="midway"):
        consume(Fallback([7], on=ConnectionError, name=f"too late {colour}"), produce, colour)
    assert [] == events.of(FellBack)


def test_a_fallback_stream_that_fails_before_its_first_item_hands_on(colour: str) -> None:
    """A generator as a source is opened like the stream itself."""
    produce, _ = flaky(9)
    spare, opened = flaky(9)
    strategy = Fallback(lambda: spare(), [4], on=ConnectionError, name=f"hands on {colour}")
    assert [4] == consume(strategy, produce, colour)
    assert 1 == len(opened)


def test_async_sources_serve_async_streams() -> None:
    """An async generator streams; an async function gives an iterable or one item."""

    async def items(failure: Exception) -> AsyncIterator[int]:
        yield 7
        yield 8

    async def one() -> int:
        return 9

    produce, _ = flaky(9)
    assert [7, 8] == consume(Fallback(items, on=ConnectionError, name="async items"), produce, "async")
    assert [9] == consume(Fallback(one, on=ConnectionError, name="async item"), produce, "async")


def test_a_generator_is_asked_again_with_the_same_arguments() -> None:
    """Each opening is a call with the arguments of the first."""
    seen: list[Any] = []

    @Retry(on=ValueError, backoff=0)
    def stream(*args: int, **kwargs: int) -> Iterator[int]:
        seen.append((args, kwargs))
        if len(seen) < 3:
            raise ValueError
        yield 1

    assert [1] == list(stream(1, two=2))
    assert [((1,), {"two": 2})] * 3 == seen


def test_send_reaches_the_opening_that_succeeded() -> None:
    """What is sent, thrown and returned passes through, after a retried opening too."""
    openings: list[int] = []

    @Retry(on=ConnectionError, backoff=0)
    def talk() -> Generator[int, str, str]:
        openings.append(1)
        if len(openings) == 1:
            raise ConnectionError
        return (yield 1)

    talking = talk()
    assert 1 == next(talking)
    with pytest.raises(StopIteration) as end:
        talking.send("hello")
    assert "hello" == end.value.value
