"""A listener to every call that has a shorter way for successes: taken while it is the only one; nothing is lost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from seawall import CallEnded, Pipeline, Timeout
from seawall._core.meter import Noting, Shortcut
from seawall.observe import Metrics
from seawall.testing import FakeClock
from tests.both import pipeline


class Short(Shortcut):
    """Keeps the seconds of successes, and the events that it was told of; wants events while `wordy`."""

    def __init__(self) -> None:
        self.wordy = False
        self.seconds: list[float] = []
        self.events: list[CallEnded] = []

    def __call__(self, event: CallEnded, /) -> None:
        """Keep an event."""
        self.events.append(event)

    def shortcut(self, name: str, tell: Noting) -> Noting:
        """Return what keeps seconds."""

        def succeeded(seconds: float) -> None:
            if self.wordy:
                tell(seconds)
            else:
                self.seconds.append(seconds)

        return succeeded


def plain() -> Pipeline:
    """Return a pipeline that does nothing to speak of."""
    return pipeline(Timeout(60.0))


def nothing() -> None:
    """Succeed."""


def fail() -> None:
    """Fail."""
    raise ConnectionError("gone")


def test_successes_go_the_short_way_and_all_else_is_told_by_events() -> None:
    """Functions and streams of both colours, each with its seconds; failures and cancellations as ever."""
    short, guarded = Short(), plain()
    with FakeClock() as clock:
        guarded.listen(short, CallEnded)

        @guarded
        def items() -> Iterator[int]:
            clock.advance(3.0)
            yield 1

        @guarded
        async def aitems() -> AsyncIterator[int]:
            clock.advance(4.0)
            yield 1

        async def work() -> None:
            clock.advance(2.0)

        async def endless() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            await guarded.acall(work)
            assert [1] == [item async for item in aitems()]
            cancelled = asyncio.create_task(guarded.acall(endless))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled

        guarded.call(clock.advance, 1.0)
        assert [1] == list(items())
        with pytest.raises(ConnectionError):
            guarded.call(fail)
        asyncio.run(main())
    assert [1.0, 3.0, 2.0, 4.0] == short.seconds
    assert ["failure", "cancelled"] == [event.outcome for event in short.events]


def test_it_may_ask_for_the_event_after_all() -> None:
    """Then it is told as any listener is."""
    short, guarded = Short(), plain()
    with FakeClock() as clock:
        guarded.listen(short, CallEnded)
        short.wordy = True
        guarded.call(clock.advance, 1.5)
    assert ([CallEnded(guarded.name, 1.5, "success", None)], []) == (short.events, short.seconds)


def test_with_others_it_is_told_by_events_as_they_are() -> None:
    """From the moment when another one listens, until it does not any more."""
    short, guarded, heard = Short(), plain(), list[CallEnded]()
    guarded.listen(short, CallEnded)
    guarded.call(nothing)
    remove = guarded.listen(heard.append, CallEnded)
    guarded.call(nothing)
    remove()
    guarded.call(nothing)
    assert (2, 1, 1) == (len(short.seconds), len(short.events), len(heard))


def test_what_only_looks_like_a_shorter_way_is_none() -> None:
    """A mock has an attribute of every name; it is told of every call."""
    listener, guarded = Mock(), plain()
    guarded.listen(listener, CallEnded)
    guarded.call(nothing)
    assert ["success"] == [call.args[0].outcome for call in listener.call_args_list]


@pytest.mark.parametrize("company", [False, True])
def test_metrics_count_the_same_alone_and_in_company(company: bool) -> None:
    """Ten thousand calls by eight threads while somebody reads: every one, once."""
    guarded, done = plain(), threading.Event()
    if company:
        guarded.listen(lambda event: None, CallEnded)

    def count(metrics: Metrics) -> dict[tuple[str, ...], float]:
        found = metrics.figures()["seawall.pipeline.duration"]
        return {key[1:]: sum(each[:-1]) for key, each in found.items() if key[0] == guarded.name}

    def work() -> None:
        for number in range(1250):
            if number % 50 == 0:
                with pytest.raises(ConnectionError):
                    guarded.call(fail)
            guarded.call(nothing)

    def read(metrics: Metrics) -> list[float]:
        seen = []
        while not done.is_set():
            seen.append(count(metrics).get(("success", ""), 0))
        return seen

    with Metrics() as metrics, ThreadPoolExecutor(9) as threads:
        guarded.call(nothing)
        reading = threads.submit(read, metrics)
        for worker in [threads.submit(work) for _ in range(8)]:
            worker.result()
        done.set()
        seen = reading.result()
    assert {("success", ""): 10_001, ("failure", "ConnectionError"): 200} == count(metrics)
    assert seen == sorted(seen)
