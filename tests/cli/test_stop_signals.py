"""Signals that stop a command: they cancel its task, whenever they come, and leave the program as it was."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from seawall.cli.signals import Signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Heed both signals before a test, and put back what was there after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


async def cancelled(signals: Signals, *numbers: int) -> int:
    """Send signals while a task waits, and return how often it was cancelled."""
    task = asyncio.current_task()
    assert task is not None
    signals.cancel(task)
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.call_soon(send, number)
    times = 0
    while True:
        try:
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            times += 1
            task.uncancel()
        except TimeoutError:
            return times


def test_a_signal_cancels_the_task() -> None:
    """The first one decides the exit code."""
    with Signals() as signals:
        assert 1 <= asyncio.run(cancelled(signals, signal.SIGTERM, signal.SIGINT)) <= 2

    assert 143 == signals.exit_code


def test_without_a_signal_nothing_is_cancelled() -> None:
    """And the exit code is that of success."""
    with Signals() as signals:
        assert 0 == asyncio.run(cancelled(signals))

    assert 0 == signals.exit_code


def test_one_that_came_before_the_task_cancels_it_too() -> None:
    """As a Ctrl-C while the event loop starts."""
    with Signals() as signals:
        send(signal.SIGINT)
        assert 1 == asyncio.run(cancelled(signals))

    assert 130 == signals.exit_code


def test_one_that_comes_after_the_loop_does_not_disturb_what_is_shown() -> None:
    """A second Ctrl-C while the figures are printed is heeded already."""
    with Signals() as signals:
        asyncio.run(cancelled(signals, signal.SIGINT))
        send(signal.SIGINT)

    assert 130 == signals.exit_code


def test_the_handlers_are_put_back() -> None:
    """After the block, Ctrl-C is what it was; one that was ignored is ignored all the time."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Signals() as signals:
        send(signal.SIGTERM)

    assert (0, signal.SIG_IGN) == (signals.exit_code, signal.getsignal(signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
