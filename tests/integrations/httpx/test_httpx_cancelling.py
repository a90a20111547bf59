"""Async calls cancelled at every step: nothing stays open, taken or counted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from seawall import Bulkhead, CircuitBreaker, Hedge, Pipeline, Strategy, Timeout
from tests.integrations.httpx.driver import Wire, at_rest, counted, counter, retry, unbounded, until
from tests.integrations.httpx.server import answer, half, head, stall

LONG = b"x" * 300_000
STEPS = 36


def watched(wire: Wire) -> Any:
    """Returns a transport around the library's own that counts responses whose streams are open."""

    class Stream(wire.lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, transport: Any, inner: Any) -> None:
            self._transport, self._inner, self._open = transport, inner, True

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._inner:
                yield chunk

        async def aclose(self) -> None:
            self._transport.open -= self._open
            self._open = False
            await self._inner.aclose()

    class Watched(wire.lib.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inner, self.open, self.given = wire.transport(), 0, 0

        async def handle_async_request(self, request: Any) -> Any:
            response = await self._inner.handle_async_request(request)
            self.open += 1
            self.given += 1
            response.stream = Stream(self, response.stream)
            return response

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Watched()


async def cancelled_after(steps: int, work: Any) -> None:
    """Runs something and cancels it after so many steps of the event loop; beyond STEPS after so many milliseconds."""
    task = asyncio.ensure_future(work)
    if steps > STEPS:
        await asyncio.sleep((steps - STEPS) / 1000)
    else:
        for _ in range(steps):
            await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await at_rest()


PIPELINES: dict[str, Callable[[Bulkhead, CircuitBreaker], list[Strategy]]] = {
    "all": lambda bulkhead, breaker: [retry(3, backoff=0.001), bulkhead, breaker, Timeout(20)],
    "hedge": lambda bulkhead, breaker: [Hedge(0.001, max_extra=2), bulkhead, breaker],
    "hedge at once": lambda bulkhead, breaker: [retry(2), Hedge(0), bulkhead, breaker, Timeout(20)],
}
ANSWERS = {
    "good": answer(),
    "failing": answer(503, LONG),
    "half": half(LONG, length=10**6),
    "stall": stall(),
    "body": stall(head() + b"half"),
}


ROUNDS = [
    ("all", "good", "whole"),
    ("all", "failing", "stream"),
    ("all", "half", "stream"),
    ("all", "body", "whole"),
    ("all", "stall", "stream"),
    ("hedge", "good", "stream"),
    ("hedge", "stall", "whole"),
    ("hedge", "half", "whole"),
    ("hedge at once", "failing", "stream"),
]


@pytest.mark.parametrize(("guards", "ending", "form"), ROUNDS)
def test_a_call_cancelled_at_every_step(awire: Wire, guards: str, ending: str, form: str) -> None:
    """No task, no open response, no slot is left; what did not end is counted by nobody."""
    awire.server.play("/", ANSWERS[ending])
    bulkhead, breaker, transport = Bulkhead(9), counter(), watched(awire)
    client = awire.client(unbounded(*PIPELINES[guards](bulkhead, breaker)), transport=transport)

    async def call() -> None:
        with suppress(awire.lib.TransportError):
            if form == "stream":
                async with client.own.stream("GET", "/") as response:
                    await response.aread()
            else:
                await client.own.get("/")

    async def main() -> None:
        for steps in range(STEPS + 5):
            await cancelled_after(steps, call())
            assert (steps, 0, 0) == (steps, transport.open, bulkhead.snapshot().running)
        assert 200 == (await client.own.get("/good")).status_code

    awire.run(main())
    calls, failures = counted(breaker)
    if ending in ("good", "stall", "body"):
        assert 0 == failures
    if ending == "stall" or ending == "body":
        assert calls <= awire.server.hits("/good")
    assert 0 == transport.open
    assert transport.given >= 1


def test_a_cancelled_call_leaves_its_place_in_the_pool(awire: Wire) -> None:
    """With one connection in all, the next call gets it."""
    if awire.loses:
        pytest.skip("httpcore 1 loses connections itself")
    awire.server.play("/", stall(head() + b"half"))
    limits, timeout = awire.lib.Limits(max_connections=1), awire.lib.Timeout(5, pool=2)
    client = awire.client(retry(2), Timeout(20), limits=limits, timeout=timeout)

    async def main() -> None:
        for steps in range(STEPS + 5):
            await cancelled_after(steps, client.own.get("/"))
            assert 0 == client.busy()
        assert 200 == (await client.own.get("/good")).status_code

    awire.run(main())


def test_a_cancellation_is_not_ours(awire: Wire) -> None:
    """The caller's CancelledError, with the caller's words; nothing is retried or hedged."""
    awire.server.play("/", stall())
    client = awire.client(retry(3, on=lambda error: True), counter())

    async def main() -> str:
        task = asyncio.ensure_future(client.own.get("/"))
        await until(awire.server.hits)
        task.cancel("enough")
        try:
            await task
        except asyncio.CancelledError as error:
            return str(error.args[0])
        return "nothing"

    assert ("enough", 1) == (awire.run(main()), awire.server.hits())


def test_a_cancelled_wait_between_attempts(awire: Wire) -> None:
    """The response of the failed attempt is closed."""
    awire.server.play("/", answer(503, LONG))
    transport = watched(awire)
    client = awire.client(unbounded(retry(3, backoff=10)), transport=transport)

    async def main() -> None:
        async def call() -> None:
            async with client.own.stream("GET", "/"):
                raise AssertionError("there was an answer")

        task = asyncio.ensure_future(call())
        await until(lambda: transport.open)
        await asyncio.sleep(0.02)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    awire.run(main())
    assert (1, 0) == (transport.given, transport.open)


def test_every_response_is_closed_though_closing_is_cancelled(awire: Wire) -> None:
    """Three attempts at once have failed; while the first of the two that nobody wants is closed, the caller leaves."""
    closing: list[int] = []

    class Long(awire.lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, number: int) -> None:
            self.number = number

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield LONG

        async def aclose(self) -> None:
            closing.append(self.number)
            await asyncio.sleep(0.01)

    class Fails(awire.lib.AsyncBaseTransport):  # type: ignore[misc]
        made = 0

        async def handle_async_request(self, request: Any) -> Any:
            self.made += 1
            number = self.made
            await asyncio.sleep(0.02)
            return awire.lib.Response(503, stream=Long(number))

    client = awire.client(unbounded(Hedge(0, max_extra=2)), transport=Fails())

    async def main() -> None:
        async def call() -> None:
            async with client.own.stream("GET", "/"):
                pass

        task = asyncio.ensure_future(call())
        await until(lambda: closing)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    awire.run(main())
    assert {1, 2, 3} == set(closing)


def test_a_cancelled_probe_is_given_again(awire: Wire) -> None:
    """A half-open breaker does not wait for it."""
    breaker = CircuitBreaker(failures=1, open_for=1e-9)
    client = awire.client(breaker)
    awire.server.play("/", answer(503), stall(), answer())
    assert 503 == client.get("/").status_code

    async def main() -> None:
        task = asyncio.ensure_future(client.own.get("/"))
        await until(lambda: awire.server.hits() == 2)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    awire.run(main())
    assert (200, "closed") == (client.get("/").status_code, breaker.state)


def test_interrupting_a_sync_call(swire: Wire) -> None:
    """KeyboardInterrupt within an attempt: nothing is retried, counted or left open."""
    breaker, bulkhead = counter(), Bulkhead(1)
    closed: list[int] = []

    class Stream(swire.lib.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield b"one"
            raise KeyboardInterrupt

        def close(self) -> None:
            closed.append(1)

    class Interrupted(swire.lib.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return swire.lib.Response(200, stream=Stream())

    guard: Pipeline = unbounded(retry(3, on=lambda error: True), bulkhead, breaker)
    client = swire.client(guard, transport=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        client.get("/")
    assert ((0, 0), 0, [1]) == (counted(breaker), bulkhead.snapshot().running, closed[:1])
