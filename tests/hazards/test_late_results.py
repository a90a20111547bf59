"""The outcome of a call counts for the state that admitted it, and for no other."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from seawall import CircuitBreaker, CircuitChanged, CircuitOpenError
from seawall.testing import FakeClock, Recorder

NUMBERS = count()
SHAPES: dict[str, dict[str, Any]] = {
    "in a row": {"failures": 1},
    "of the last": {"failures": 1, "window_calls": 4},
    "rate": {"failure_rate": 0.5, "window": 100.0, "min_calls": 1},
    "judged results": {"failures": 1, "on_result": lambda result: result == "bad"},
    "slow": {"failure_rate": 0.5, "slow_after": 50.0, "slow_rate": 1.0, "window_calls": 4, "min_calls": 1},
}
shapes = pytest.mark.parametrize("shape", SHAPES)


class Suspended:
    """A protected call that is under way until it is told how to end."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        async def body() -> str:
            return await self._end

        self._loop = asyncio.new_event_loop()
        self._end: asyncio.Future[str] = self._loop.create_future()
        self._task = self._loop.create_task(breaker(body)())
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()

    def end(self, error: BaseException | None = None) -> None:
        """Ends the call."""
        if error is None:
            self._end.set_result("answer")
        else:
            self._end.set_exception(error)
        try:
            self._loop.run_until_complete(asyncio.wait([self._task]))
        finally:
            self._loop.close()
        self._task.exception()


class InThread:
    """The same in a thread."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        begun = threading.Event()

        def body() -> str:
            begun.set()
            assert self._told.wait(10)
            if self._error is not None:
                raise self._error
            return "answer"

        def run() -> None:
            try:
                breaker(body)()
            except ConnectionError:
                pass

        self._told = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert begun.wait(10)

    def end(self, error: BaseException | None = None) -> None:
        """Ends the call."""
        self._error = error
        self._told.set()
        self._thread.join(10)


class Permitted:
    """The same with a bare permit."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._permit = breaker.acquire()

    def end(self, error: BaseException | None = None) -> None:
        """Ends the call."""
        if error is None:
            self._permit.success()
        else:
            self._permit.failure(error)


Begin = Callable[[CircuitBreaker], Any]
colours = pytest.mark.parametrize("begin", [Suspended, InThread, Permitted])


@pytest.fixture
def clock() -> FakeClock:
    """Gives a clock for the breakers alone."""
    return FakeClock()


def make(clock: FakeClock, shape: str) -> CircuitBreaker:
    """Makes a breaker that opens at the first failure, for 10 s."""
    return CircuitBreaker(**SHAPES[shape], open_for=10.0, clock=clock, name=f"late-{next(NUMBERS)}")


@colours
@shapes
def test_a_late_failure_while_open_neither_extends_the_break_nor_tells_again(
    clock: FakeClock, shape: str, begin: Begin
) -> None:
    """Five calls that began before the trip and fail 6 s later leave the end of the break where it was."""
    breaker = make(clock, shape)
    recorder = Recorder()
    breaker.listen(recorder, CircuitChanged)
    late = [begin(breaker) for _ in range(5)]
    breaker.acquire().failure(ConnectionError("first"))
    clock.advance(6.0)
    for call in late:
        call.end(ConnectionError("late"))
    assert 4.0 == breaker.snapshot().retry_after
    assert "ConnectionError('first')" == breaker.snapshot().last_failure
    assert ["open"] == [event.new for event in recorder.of(CircuitChanged)]
    clock.advance(4.0)
    breaker.acquire().success()
    assert "closed" == breaker.state


@colours
@shapes
def test_a_success_from_before_the_trip_does_not_close_a_half_open_circuit(
    clock: FakeClock, shape: str, begin: Begin
) -> None:
    """Successes of calls admitted while closed leave state and quota of the half-open circuit alone."""
    breaker = make(clock, shape)
    late = [begin(breaker) for _ in range(3)]
    breaker.acquire().failure()
    clock.advance(10.0)
    probe = breaker.acquire()
    for call in late:
        call.end()
    assert "half_open" == breaker.state
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    probe.success()
    assert "closed" == breaker.state
    assert 0 == breaker.snapshot().calls


@pytest.mark.parametrize("error", [None, ConnectionError("late")], ids=["success", "failure"])
@colours
@shapes
def test_a_probe_of_epoch_one_ending_in_epoch_two_changes_nothing(
    clock: FakeClock, shape: str, begin: Begin, error: BaseException | None
) -> None:
    """The result of a hung probe of the epoch before is dropped, whatever it is."""
    breaker = make(clock, shape)
    breaker.acquire().failure()
    clock.advance(10.0)
    old = begin(breaker)
    clock.advance(10.0)
    breaker.acquire().failure()
    clock.advance(10.0)
    probe = breaker.acquire()
    assert "half_open" == breaker.state
    old.end(error)
    assert "half_open" == breaker.state
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    probe.success()
    assert "closed" == breaker.state


@pytest.mark.parametrize("error", [None, ConnectionError("late")], ids=["success", "failure"])
@colours
@shapes
def test_a_probe_ending_after_the_circuit_closed_is_not_counted(
    clock: FakeClock, shape: str, begin: Begin, error: BaseException | None
) -> None:
    """A hung probe whose replacement closed the circuit neither counts nor trips it again."""
    breaker = make(clock, shape)
    breaker.acquire().failure()
    clock.advance(10.0)
    hung = begin(breaker)
    clock.advance(10.0)
    breaker.acquire().success()
    hung.end(error)
    assert "closed" == breaker.state
    assert (0, 0) == (breaker.snapshot().calls, breaker.snapshot().failures)


@pytest.mark.parametrize("error", [None, ConnectionError("late")], ids=["success", "failure"])
@pytest.mark.parametrize("meanwhile", ["reset", "isolate", "disabled", "metrics_only"])
@colours
@shapes
def test_a_call_from_before_an_operators_hand_changes_nothing(
    clock: FakeClock, shape: str, begin: Begin, meanwhile: str, error: BaseException | None
) -> None:
    """What began before a reset, an isolation or a change of mode counts nowhere afterwards."""
    breaker = make(clock, shape)
    late = begin(breaker)
    if meanwhile in ("reset", "isolate"):
        getattr(breaker, meanwhile)()
    else:
        breaker.mode = meanwhile  # type: ignore[assignment]
    before = breaker.snapshot()
    late.end(error)
    assert before == breaker.snapshot()


@pytest.mark.parametrize("verdict", ["success", "failure", "release"])
def test_only_the_first_end_of_a_permit_counts(clock: FakeClock, verdict: str) -> None:
    """A permit that was released cannot succeed, fail or free a second slot later."""
    breaker = make(clock, "in a row")
    breaker.acquire().failure()
    clock.advance(10.0)
    permit = breaker.acquire()
    permit.release()
    probe = breaker.acquire()
    getattr(permit, verdict)()
    assert "half_open" == breaker.state
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    probe.success()
    assert "closed" == breaker.state
