"""The numbered behaviour case of time-outs: whose expiry, whose cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seawall import CallOverran, CallTimedOut, CallTimeoutError, Retry, Timeout, remaining
from seawall.testing import Recorder
from tests.both import Async, Colour, Held, Lasts, Sync, Threads, every, pipeline, run_in

asynchronous, synchronous = run_in(Async), run_in(Sync, Threads)


@asynchronous
def test_core_32_its_own_expiry_is_our_error(colour: Async) -> None:
    """A call that lasts longer is cut short at the limit, and raises our error, which is a TimeoutError too."""
    fn = colour.script(Lasts(2.0, "late"))
    with Recorder(CallTimedOut) as events, pytest.raises(CallTimeoutError) as caught:
        colour.call(Timeout(0.5), fn)
    assert isinstance(caught.value, TimeoutError)
    assert (0.5, False, 0.5) == (caught.value.limit, caught.value.by_deadline, colour.clock.now())
    assert [0.5] == [event.limit for event in events.of(CallTimedOut)]


@asynchronous
@pytest.mark.parametrize("pending", [False, True], ids=["alone", "pending"])
@pytest.mark.parametrize(("limit", "uptime"), [(0.1, 100.3), (1.1, 3000.9)])
def test_core_32_it_expires_whatever_the_uptime(colour: Async, limit: float, uptime: float, pending: bool) -> None:
    """An event loop counts from when the machine was started; a time-out under a fake clock ends all the same.

    Also where a timer of the application's was set before the first one of ours.
    """
    fn = colour.script(Lasts(10.0, "late"))

    async def call() -> Any:
        loop = asyncio.get_running_loop()
        loop.time = lambda: uptime
        if pending:
            loop.call_later(60.0, int)
        return await Timeout(limit)(fn)()

    with pytest.raises(CallTimeoutError):
        colour.end(colour.runner.get_loop().create_task(call()))
    assert pytest.approx(limit) == colour.clock.now()


@synchronous
def test_core_32_a_late_sync_result_is_returned(colour: Sync) -> None:
    """A sync call cannot be cut short: it sees its limit, its late result is returned, and an event says so."""
    seen = []
    fn = colour.script(lambda: seen.append(remaining()), Lasts(2.0, "late"))
    timeout = Timeout(0.5)
    colour.call(timeout, fn)
    assert [0.5] == seen
    with Recorder(CallOverran) as events:
        assert "late" == colour.call(timeout, fn)
    assert [(0.5, 2.0)] == [(event.limit, event.took) for event in events.of(CallOverran)]


@every
@pytest.mark.parametrize("lasting", [0.0, 0.25])
def test_core_32_the_callees_own_time_out_passes_untouched(colour: Colour, lasting: float) -> None:
    """A TimeoutError that the callee raises is passed on: the very object, without a cause, and with no event."""
    own = TimeoutError("the callee's")
    with Recorder(CallTimedOut, CallOverran) as events, pytest.raises(TimeoutError) as caught:
        colour.call(Timeout(0.5), colour.script(Lasts(lasting, own)))
    assert own is caught.value
    assert None is caught.value.__cause__
    assert [] == events.events


@asynchronous
def test_core_32_an_inner_asyncio_timeout_passes_untouched(colour: Async) -> None:
    """The callee's `asyncio.timeout`, which cancels the same task, ends in its own TimeoutError."""

    async def fn() -> None:
        async with asyncio.timeout(0.25):
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError) as caught:
        colour.call(Timeout(0.5), fn)
    assert not isinstance(caught.value, CallTimeoutError)
    assert 0.25 == colour.clock.now()


@asynchronous
def test_core_32_a_cancel_at_the_tick_of_completion_wins(colour: Async) -> None:
    """The call's answer is in, and the caller cancels before the task has seen it: CancelledError."""
    held = Held("fine")
    fn = colour.script(held)
    flight = colour.start(Timeout(5), fn)
    colour.until(lambda: fn.calls == 1)
    held.let_go()
    assert flight.cancel("token")
    with pytest.raises(asyncio.CancelledError) as caught:
        colour.end(flight)
    assert ("token",) == caught.value.args


@asynchronous
@pytest.mark.parametrize("first", ["caller", "timeout"])
def test_core_32_a_cancel_at_the_tick_of_expiry_wins(colour: Async, first: str) -> None:
    """The caller cancels in the very tick in which the time is up, just before or just after: CancelledError."""
    fn = colour.script(Lasts(10.0))
    task: list[Any] = []

    async def scenario() -> Any:
        loop = asyncio.get_running_loop()
        colour.clock.drive(loop)
        if first == "caller":
            loop.call_later(0.5, lambda: task[0].cancel("token"))
        task.append(colour.start(Timeout(0.5), fn))
        await asyncio.sleep(0)
        if first == "timeout":
            loop.call_later(0.5, lambda: task[0].cancel("token"))
        await asyncio.wait(task)

    colour.runner.run(scenario())
    assert 0.5 == colour.clock.now()
    assert task[0].cancelled()


@every
def test_core_32_delays_are_not_timed(colour: Colour) -> None:
    """A time-out of 50 ms inside a retry with delays of 100 ms: all three attempts are made."""
    calls = pipeline(Retry(on=ConnectionError, backoff=0.1), Timeout(0.05))
    fn = colour.script(ConnectionError)
    with Recorder(CallTimedOut, CallOverran) as events, pytest.raises(ConnectionError):
        colour.call(calls, fn)
    assert pytest.approx([0.0, 0.1, 0.2]) == fn.started
    assert [] == events.events


@asynchronous
def test_core_32_every_attempt_has_its_own_time(colour: Async) -> None:
    """The same, with attempts that hang: each is cut short after 50 ms, three are made."""
    calls = pipeline(Retry(on=CallTimeoutError, backoff=0.1), Timeout(0.05))
    fn = colour.script(Lasts(10.0))
    with pytest.raises(CallTimeoutError):
        colour.call(calls, fn)
    assert pytest.approx([0.0, 0.15, 0.3]) == fn.started
    assert pytest.approx(0.35) == colour.clock.now()


@asynchronous
@pytest.mark.parametrize(("outer", "inner"), [(1.0, 0.5), (0.5, 1.0)])
def test_core_32_of_nested_timeouts_the_shorter_one_fires(colour: Async, outer: float, inner: float) -> None:
    """Of two time-outs around one call only the one that ends first fires, once."""
    outside, inside = Timeout(outer), Timeout(inner)
    outside.call_it(f"outside {id(outside)}")
    fn = colour.script(Lasts(10.0))
    with Recorder(CallTimedOut) as events, pytest.raises(CallTimeoutError) as caught:
        colour.call(outside, inside(fn))
    shorter = min(outside, inside, key=lambda timeout: timeout.seconds)
    assert (shorter.name, 0.5, 0.5) == (caught.value.name, caught.value.limit, colour.clock.now())
    assert [shorter.name] == [event.name for event in events.events]


@asynchronous
def test_core_32_an_inner_timeout_leaves_the_outer_its_time(colour: Async) -> None:
    """After the inner time-out has fired, the outer call goes on and may still end well."""

    async def fn() -> str:
        try:
            await inside()
        except CallTimeoutError:
            await asyncio.sleep(0.25)
        return "fine"

    inside = Timeout(0.5)(colour.script(Lasts(10.0)))
    assert "fine" == colour.call(Timeout(1.0), fn)
    assert 0.75 == colour.clock.now()


@synchronous
def test_core_32_of_nested_sync_timeouts_the_inner_one_overruns(colour: Sync) -> None:
    """A sync call that outlasts the inner limit alone makes one event, the inner one's."""
    calls = pipeline(Timeout(1.0), Timeout(0.5))
    with Recorder(CallOverran) as events:
        assert "late" == colour.call(calls, colour.script(Lasts(0.75, "late")))
    assert [0.5] == [event.limit for event in events.of(CallOverran)]
