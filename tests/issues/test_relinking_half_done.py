"""Relinking: refusals came too late, shrunk bulkheads counted their debts as waiters, replacements lost themselves."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallRejected,
    CircuitBreaker,
    CircuitChanged,
    CircuitOpenError,
    Fallback,
    Hedge,
    Pipeline,
    RateLimit,
    RateLimitedError,
    Retry,
    Timeout,
    deadline,
)
from seawall.testing import Recorder
from tests.both import NUMBERS


def five() -> int:
    """A plain function."""
    return 5


def items() -> Iterator[int]:
    """A generator."""
    yield 5


def counted(*strategies: Any) -> Pipeline:
    """Returns a pipeline with a name of its own."""
    return Pipeline(f"half done {next(NUMBERS)}", *strategies)


def refuses_a_hedge(pipeline: Pipeline) -> None:
    """Relinking to a hedge is refused, and nothing has changed."""
    before, slots = pipeline.strategies, pipeline.get(Bulkhead)
    names = [strategy.name for strategy in before]
    with pytest.raises(TypeError, match="serves async functions only"):
        pipeline.relink(Bulkhead(7, max_waiting=3), Hedge(), Timeout(5))
    assert before == pipeline.strategies
    assert names == [strategy.name for strategy in pipeline.strategies]
    with slots.guard(), pytest.raises(BulkheadFullError):
        slots.acquire()
    assert (1, 0, 0) == (slots.snapshot().max_concurrent, slots.snapshot().running, slots.snapshot().waiting)
    assert 5 == pipeline.call(five)


@pytest.mark.parametrize("fn", [five, items])
def test_what_cannot_serve_decorated_functions_is_refused_before_anything_changes(fn: Any) -> None:
    """Strategies, names, sizes and queues are what they were; the functions work on."""
    pipeline = counted(Bulkhead(1), Timeout(5))
    protected = pipeline(fn)
    refuses_a_hedge(pipeline)
    assert 5 == (protected() if fn is five else next(protected()))


def test_what_cannot_serve_called_functions_is_refused() -> None:
    """A call through the pipeline is a use of its kind."""
    pipeline = counted(Bulkhead(1), Timeout(5))
    pipeline.call(five)
    refuses_a_hedge(pipeline)


def test_what_cannot_serve_functions_called_below_a_deadline_is_refused() -> None:
    """Also where every call so far had surroundings."""
    pipeline = counted(Bulkhead(1), Timeout(5))
    with deadline(60):
        pipeline.call(five)
    refuses_a_hedge(pipeline)


@pytest.mark.parametrize("act", ["relink", "listen"])
def test_what_is_in_use_is_not_forgotten_by_linking_anew(act: str) -> None:
    """A decorated function that was not called since the last relinking, or since somebody listens, is in use still."""
    pipeline = counted(Bulkhead(1), Timeout(5))
    pipeline(five)
    if act == "relink":
        pipeline.relink(Bulkhead(1), Timeout(5))
    else:
        pipeline.listen(lambda event: None)
    refuses_a_hedge(pipeline)


def test_a_fallback_of_another_kind_is_refused() -> None:
    """An async source cannot answer for a plain function."""

    async def stale() -> int:
        return 4

    pipeline = counted(Bulkhead(1), Timeout(5))
    before, protected = pipeline.strategies, pipeline(five)
    with pytest.raises(TypeError, match="cannot answer for a plain function"):
        pipeline.relink(Fallback(stale, on=OSError), Bulkhead(1), Timeout(5))
    assert (before, 5) == (pipeline.strategies, protected())


def test_a_kind_that_is_not_in_use_hinders_nothing() -> None:
    """A pipeline of async functions may be given a hedge."""

    async def afive() -> int:
        return 5

    pipeline = counted(Timeout(5))
    protected = pipeline(afive)
    pipeline.relink(Hedge(60), Timeout(5))
    assert 5 == asyncio.run(protected())


def counts(pipeline: Pipeline) -> tuple[int, int, int]:
    """Returns size, running and waiting calls."""
    snapshot = pipeline.get(Bulkhead).snapshot()
    return snapshot.max_concurrent, snapshot.running, snapshot.waiting


def test_a_bulkhead_that_shrinks_under_load_has_no_waiters_of_its_own() -> None:
    """Slots that are owed are running calls, and leave the queue's room to real waiters."""
    with pytest.warns(UserWarning, match="time unbounded"):
        pipeline = counted(Bulkhead(4, max_waiting=1), Timeout(5))
    permits = [pipeline.get(Bulkhead).acquire() for _ in range(4)]
    pipeline.relink(Bulkhead(1, max_waiting=1), Timeout(5))
    assert (1, 4, 0) == counts(pipeline)
    got = threading.Event()

    def wait_for_a_slot() -> None:
        pipeline.call(got.set)

    waiter = threading.Thread(target=wait_for_a_slot, daemon=True)
    waiter.start()
    assert any(counts(pipeline)[2] or threading.Event().wait(0.001) for _ in range(1000))
    assert (1, 4, 1) == counts(pipeline)
    with pytest.raises(BulkheadFullError):
        pipeline.call(five)
    for left in (3, 2, 1):
        permits.pop().release()
        assert (1, left, 1) == counts(pipeline)
        assert not got.is_set()
    permits.pop().release()
    waiter.join(5)
    assert got.is_set()
    assert (1, 0, 0) == counts(pipeline)


def test_a_bulkhead_that_grows_while_it_owes_pays_its_debts_first() -> None:
    """Up and down under load: what runs is always right, and in the end all slots are there, no more and no less."""
    pipeline = counted(Bulkhead(3), Timeout(5))
    permits = [pipeline.get(Bulkhead).acquire() for _ in range(3)]
    for size in (1, 2, 1, 4, 2):
        pipeline.relink(Bulkhead(size), Timeout(5))
        assert (size, 3, 0) == counts(pipeline)
    for left in (2, 1, 0):
        permits.pop().release()
        assert (2, left, 0) == counts(pipeline)
    permits = [pipeline.get(Bulkhead).acquire() for _ in range(2)]
    with pytest.raises(BulkheadFullError):
        pipeline.get(Bulkhead).acquire()
    for permit in permits:
        permit.release()


def fail(pipeline: Pipeline) -> None:
    """Makes a call that fails."""

    def down() -> None:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        pipeline.call(down)


def full(pipeline: Pipeline) -> str:
    """Returns the name in the error of a full bulkhead."""
    with pipeline.get(Bulkhead).guard(), pytest.raises(BulkheadFullError) as caught:
        pipeline.call(five)
    return caught.value.name


def test_a_replacement_keeps_its_own_name_in_errors_and_events() -> None:
    """Errors of the state that it took over are in its name, which is the one to look for."""
    pipeline = counted(Bulkhead(1), CircuitBreaker(failures=9), Timeout(5))
    new = Bulkhead(1, name=f"own slots {next(NUMBERS)}"), CircuitBreaker(failures=1, name=f"own {next(NUMBERS)}")
    pipeline.relink(*new, Timeout(5))
    with Recorder() as events:
        assert new[0].name == full(pipeline)
        fail(pipeline)
        with pytest.raises(CircuitOpenError, match=repr(new[1].name)):
            pipeline.call(five)
    assert [new[0].name] == [event.name for event in events.of(CallRejected)][:1]
    assert [new[1].name] == [event.name for event in events.of(CircuitChanged)]


def test_of_three_generations_the_last_gives_its_name() -> None:
    """Also where state is handed on twice."""
    pipeline = counted(Bulkhead(1), CircuitBreaker(failures=1, open_for=3600), Timeout(5))
    for _ in range(3):
        slots = Bulkhead(1, name=f"generation {next(NUMBERS)}")
        circuit = CircuitBreaker(failures=1, open_for=3600, name=f"generation {next(NUMBERS)}")
        pipeline.relink(slots, circuit, Timeout(5))
        assert slots.name == full(pipeline)
    fail(pipeline)
    with pytest.raises(CircuitOpenError) as caught:
        pipeline.call(five)
    assert circuit.name == caught.value.name


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_replacement_keeps_its_own_listeners(when: str) -> None:
    """Those from before it was linked, and from after, beside those of the old one, each told once; until removed."""
    old, new = CircuitBreaker(failures=9), CircuitBreaker(failures=1)
    heard_old, heard_new = Recorder(), Recorder()
    pipeline = counted(old, Timeout(5))
    old.listen(heard_old, CircuitChanged)
    stop = new.listen(heard_new, CircuitChanged) if when == "before" else None
    pipeline.relink(new, Timeout(5))
    if stop is None:
        stop = new.listen(heard_new, CircuitChanged)
    fail(pipeline)
    assert (1, 1) == (len(heard_old.events), len(heard_new.events))
    stop()
    new.reset()
    assert (2, 1) == (len(heard_old.events), len(heard_new.events))


def test_every_kind_of_replacement_keeps_its_name() -> None:
    """Those that take over no state of the old one too."""
    pipeline = counted(Retry(on=OSError), RateLimit(1, per=3600), Timeout(5))
    pipeline.call(five)
    new = RateLimit(1, per=3600, name=f"own rate {next(NUMBERS)}")
    pipeline.relink(Retry(on=OSError), new, Timeout(5))
    with pytest.raises(RateLimitedError) as caught:
        pipeline.call(five)
    assert new.name == caught.value.name
