"""Nested retries multiplied where a failure crossed a border, or was swallowed, between the inner and the outer one."""

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from seawall import Pipeline, Retry, Timeout, deadline
from tests.both import NUMBERS


def alone() -> Any:
    """A Retry of three attempts, as a decorator."""
    return Retry(on=ConnectionError, backoff=0, name=f"bordering {next(NUMBERS)}")


def linked() -> Any:
    """One in a pipeline."""
    return Pipeline(f"bordering pipeline {next(NUMBERS)}", Retry(on=ConnectionError, backoff=0), Timeout(5))


forms = pytest.mark.parametrize(("outer", "inner"), [(o, i) for o in (alone, linked) for i in (alone, linked)])
inners = pytest.mark.parametrize("inner", [alone, linked])


class Down:
    """A function that always fails, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.__qualname__ = f"down {next(NUMBERS)}"

    def __call__(self) -> None:
        """Fails."""
        self.calls += 1
        raise ConnectionError("down")


class AsyncDown(Down):
    """The same as an async function."""

    async def __call__(self) -> None:  # type: ignore[override]
        """Fails."""
        super().__call__()


def fails(run: Callable[[], object]) -> None:
    """Runs it, in real time since a fake clock outruns threads; it fails."""
    with pytest.raises(ConnectionError, match="down"):
        run()


@forms
@pytest.mark.parametrize("entries", [2, 4])
def test_an_inner_retry_entered_many_times(outer: Any, inner: Any, entries: int) -> None:
    """Of all its entries, failures swallowed in between, the inner Retry makes two retries more, and not two each."""
    down = Down()
    protected = inner()(down)

    def work() -> None:
        for _ in range(entries - 1):
            with suppress(ConnectionError):
                protected()
        protected()

    outside = outer()(work)
    for rounds in (1, 2):  # the next call has retries of its own
        fails(outside)
        assert rounds * (3 * entries + 2) == down.calls


@forms
def test_an_async_inner_retry_entered_many_times(outer: Any, inner: Any) -> None:
    """Likewise where both are async."""
    down = AsyncDown()
    protected = inner()(down)

    async def work() -> None:
        for _ in range(2):
            with suppress(ConnectionError):
                await protected()
        await protected()

    outside = outer()(work)

    async def main() -> None:
        for rounds in (1, 2):
            with pytest.raises(ConnectionError):
                await outside()
            assert rounds * 11 == down.calls
        raise ConnectionError("down")

    fails(lambda: asyncio.run(main()))


@forms
def test_an_inner_retry_in_an_event_loop_of_its_own(outer: Any, inner: Any) -> None:
    """A sync outer Retry, and `asyncio.run` below it."""
    down = AsyncDown()
    protected = inner()(down)
    outside = outer()(lambda: asyncio.run(protected()))
    for calls in (5, 10):
        fails(outside)
        assert calls == down.calls


@forms
def test_an_inner_retry_in_a_copied_context(outer: Any, inner: Any) -> None:
    """What it leaves in the copy is lost, so the failure has to bring it."""
    down = Down()
    protected = inner()(down)
    outside = outer()(lambda: contextvars.copy_context().run(protected))
    for calls in (5, 10):
        fails(outside)
        assert calls == down.calls


@pytest.mark.parametrize("outer", [alone, linked])
def test_a_loop_of_attempts_in_a_thread(outer: Any) -> None:
    """The loop form, below an async outer Retry."""
    down, retry = Down(), alone()

    def loop() -> None:
        for attempt in retry.attempts():
            with attempt:
                down()

    async def work() -> None:
        await asyncio.to_thread(loop)

    outside = outer()(work)
    for calls in (5, 10):
        fails(lambda: asyncio.run(outside()))
        assert calls == down.calls


@forms
@pytest.mark.parametrize("where", ["outside", "within"])
def test_an_inner_retry_below_a_deadline_in_a_thread(outer: Any, inner: Any, where: str) -> None:
    """A context that is not empty, since a deadline is in it, changes nothing."""
    down = Down()
    protected = inner()(down)

    async def work() -> None:
        if where == "within":
            with deadline(500):
                await asyncio.to_thread(protected)
        else:
            await asyncio.to_thread(protected)

    outside = outer()(work)

    async def main() -> None:
        with deadline(1000):
            await outside()

    for calls in (5, 10):
        fails(lambda: asyncio.run(main()))
        assert calls == down.calls


@inners
def test_below_a_deadline_a_retry_alone_has_all_its_attempts(inner: Any) -> None:
    """Call after call, in one context, with nothing around it but the deadline."""
    down = Down()
    protected = inner()(down)

    def run() -> None:
        with deadline(1000):
            for calls in (3, 6, 9):
                with pytest.raises(ConnectionError):
                    protected()
                assert calls == down.calls
        raise ConnectionError("down")

    fails(run)
