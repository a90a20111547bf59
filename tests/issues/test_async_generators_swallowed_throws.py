"""Protected async generators lost what their consumer threw or sent into them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Any

import pytest

from seawall import Bulkhead, CallEnded, CircuitBreaker, Fallback, Pipeline, RateLimit, Retry, Timeout, deadline
from seawall.testing import Recorder
from tests.both import NUMBERS


def five(name: str) -> Pipeline:
    """A pipeline of five."""
    return Pipeline(
        name,
        Retry(on=OSError, backoff=0),
        RateLimit(1000),
        Bulkhead(10),
        CircuitBreaker(failures=5),
        Timeout(5),
    )


def metered(make: Callable[[str], Pipeline]) -> Callable[[str], Pipeline]:
    """Somebody listens to every call."""

    def metered(name: str) -> Pipeline:
        pipeline = make(name)
        pipeline.listen(lambda event: None, CallEnded)
        return pipeline

    return metered


PROTECTORS: dict[str, Callable[[str], Any]] = {
    "retry": lambda name: Retry(on=OSError, name=name),
    "fallback": lambda name: Fallback([5], on=Exception, name=name),
    "ratelimit": lambda name: RateLimit(1000, name=name),
    "bulkhead": lambda name: Bulkhead(10, name=name),
    "breaker": lambda name: CircuitBreaker(failures=5, name=name),
    "timeout": lambda name: Timeout(5, name=name),
    "bare": Pipeline,
    "bare metered": metered(Pipeline),
    "five": five,
    "five metered": metered(five),
}
SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "alone": nullcontext,
    "deadline": lambda: deadline(60),
}


@pytest.fixture(params=PROTECTORS)
def protect(request: pytest.FixtureRequest) -> Any:
    """Each strategy alone, and pipelines."""
    return PROTECTORS[request.param](f"thrown into {next(NUMBERS)}")


@pytest.fixture(params=SURROUNDINGS)
def surroundings(request: pytest.FixtureRequest) -> Any:
    """Without a deadline and under one."""
    return SURROUNDINGS[request.param]


def test_a_transaction_sees_what_its_body_raises(protect: Any, surroundings: Any) -> None:
    """The body's very exception reaches the generator, which rolls back and passes it on."""
    log: list[object] = []
    bad = ValueError("body")

    @asynccontextmanager
    @protect  # type: ignore[untyped-decorator]
    async def tx() -> AsyncGenerator[str, None]:
        log.append("begin")
        try:
            yield "tx"
        except ValueError as error:
            log.append(error)
            raise
        else:
            log.append("commit")

    async def main() -> None:
        with surroundings():
            async with tx() as given:
                log.append(given)
            with pytest.raises(ValueError, match="body") as caught:
                async with tx():
                    raise bad
            assert bad is caught.value

    asyncio.run(main())
    assert ["begin", "tx", "commit", "begin", bad] == log


def test_a_generator_may_swallow_what_is_thrown_in(protect: Any, surroundings: Any) -> None:
    """It goes on, with another item or to its end."""

    @protect  # type: ignore[untyped-decorator]
    async def items() -> AsyncGenerator[str, None]:
        for _ in range(2):
            try:
                yield "next"
            except KeyError as error:
                yield f"caught {error.args[0]}"

    async def main() -> list[str]:
        with surroundings():
            async with aclosing(items()) as stream:
                seen = [await anext(stream), await stream.athrow(KeyError(1)), await anext(stream)]
                seen.append(await stream.athrow(KeyError(2)))
                with pytest.raises(StopAsyncIteration):
                    await anext(stream)
                return seen

    assert ["next", "caught 1", "next", "caught 2"] == asyncio.run(main())


def test_what_is_sent_arrives(protect: Any, surroundings: Any) -> None:
    """Values, None among them, each at its own item."""

    @protect  # type: ignore[untyped-decorator]
    async def echo() -> AsyncGenerator[object, object]:
        sent: object = "first"
        while sent != "end":
            sent = yield sent

    async def main() -> list[object]:
        with surroundings():
            async with aclosing(echo()) as stream:
                seen = [await anext(stream)]
                for value in (1, None, 0, "text"):
                    seen.append(await stream.asend(value))
                with pytest.raises(StopAsyncIteration):
                    await stream.asend("end")
                return seen

    assert ["first", 1, None, 0, "text"] == asyncio.run(main())


def test_closing_closes(protect: Any, surroundings: Any) -> None:
    """`aclose` runs the generator's `finally` before it returns, also one that awaits."""
    log: list[str] = []

    @protect  # type: ignore[untyped-decorator]
    async def items() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except GeneratorExit:
            log.append("exit")
            raise
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    async def main() -> None:
        with surroundings():
            stream = items()
            await anext(stream)
            await stream.aclose()
            log.append("after")

    asyncio.run(main())
    assert ["exit", "closed", "after"] == log


def test_a_listener_hears_how_the_transaction_ended() -> None:
    """What was thrown in and came out is the call's failure, as with a plain generator."""
    pipeline = five(f"heard of {next(NUMBERS)}")
    recorder = Recorder()
    pipeline.listen(recorder, CallEnded)

    @asynccontextmanager
    @pipeline
    async def tx() -> AsyncGenerator[None, None]:
        yield

    async def main() -> None:
        async with tx():
            pass
        with pytest.raises(ValueError, match="body"):
            async with tx():
                raise ValueError("body")

    asyncio.run(main())
    assert ["success", "failure"] == [event.outcome for event in recorder.of(CallEnded)]
