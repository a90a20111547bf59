"""Listeners to whole pipelines and to the process: `CallEnded`, snapshots, and names that are used twice."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import seawall
from seawall import (
    Bulkhead,
    BulkheadFullError,
    CallEnded,
    CallRejected,
    CircuitBreaker,
    CircuitChanged,
    Event,
    Fallback,
    FellBack,
    Pipeline,
    Retried,
    Retry,
    SeawallWarning,
    Timeout,
    WorkerPool,
    listen,
)
from seawall.testing import FakeClock, Recorder


def run(pipeline: Pipeline, error: BaseException | None, kind: str) -> None:
    """Makes one call of a kind that ends with an error, or well; it lasts 2 s."""
    clock: Any = pipeline._clock

    def work() -> int:
        clock.sleep(2)
        if error is not None:
            raise error
        return 5

    async def awork() -> int:
        return work()

    def stream() -> Iterator[int]:
        yield work()

    async def astream() -> AsyncIterator[int]:
        yield work()

    async def main() -> None:
        if kind == "async":
            await pipeline.acall(awork)
        else:
            assert [5] == [item async for item in pipeline(astream)()]

    calls: dict[str, Callable[[], Any]] = {
        "sync": lambda: pipeline.call(work),
        "stream": lambda: list(pipeline(stream)()),
        "async": lambda: asyncio.run(main()),
        "astream": lambda: asyncio.run(main()),
    }
    if error is None:
        calls[kind]()
        return
    with pytest.raises(type(error)) as caught:
        calls[kind]()
    assert error is caught.value


@pytest.mark.parametrize("kind", ["sync", "async", "stream", "astream"])
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (OSError(), "failure"),
        (BulkheadFullError("elsewhere"), "rejected"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_call_ended_is_made_for_every_call(kind: str, error: BaseException | None, outcome: str) -> None:
    """For a listener that asks: name, duration, outcome and error, for calls of every kind; not after it has left."""
    heard: list[Event] = []
    with FakeClock():
        pipeline = Pipeline(f"ended {kind} {outcome}", CircuitBreaker(failures=99), Timeout(9))
        run(pipeline, error, kind)
        stop = pipeline.listen(heard.append, CallEnded)
        run(pipeline, error, kind)
        stop()
        run(pipeline, error, kind)
    assert [CallEnded(pipeline.name, 2.0, outcome, error)] == heard


def test_call_ended_is_judged_by_what_leaves_the_pipeline() -> None:
    """A failure that a fallback answered is a success; retries are part of the one call."""
    heard: list[CallEnded] = []

    def work() -> int:
        raise OSError

    with FakeClock():
        pipeline = Pipeline("judged", Fallback(1, on=OSError), Retry(on=OSError, backoff=3), Timeout(9))
        pipeline.listen(heard.append, CallEnded)
        pipeline.call(work)
    assert [CallEnded("judged", 6.0, "success", None)] == heard


def test_nobody_hears_of_every_call_without_asking() -> None:
    """A listener without classes hears all other events."""
    heard: list[Event] = []
    with FakeClock(), Recorder() as everywhere:
        pipeline = Pipeline("not asked", Fallback(1, on=OSError), Retry(on=OSError, backoff=1), Timeout(9))
        pipeline.listen(heard.append)
        assert 1 == pipeline.call(_down)
    assert [Retried, Retried] == [type(event) for event in heard[:2]]
    assert [event for event in everywhere.events if event.name.startswith("not asked")] == heard
    assert FellBack is type(heard[-1])
    assert [] == [event for event in heard if isinstance(event, CallEnded)]


def test_listen_hears_of_the_calls_of_every_pipeline() -> None:
    """Those made before and after; those of the functions that they decorate too; until it stops."""
    heard: list[str] = []
    before = Pipeline("made before")
    decorated = before(abs)
    stop = listen(lambda event: heard.append(event.name), CallEnded)
    after = Pipeline("made after")
    assert [5, 6] == [decorated(-5), after.call(abs, -6)]
    stop()
    assert [5, 6] == [decorated(-5), after.call(abs, -6)]
    assert ["made before", "made after"] == heard


def test_call_ended_and_other_events_together() -> None:
    """One listener may ask for both."""
    heard: list[Event] = []
    pipeline = Pipeline("both kinds", CircuitBreaker(failures=1), Timeout(9))
    pipeline.listen(heard.append, CallEnded, CircuitChanged, CallRejected)
    with pytest.raises(OSError, match="down"):
        pipeline.call(_down)
    with pytest.raises(seawall.CircuitOpenError):
        pipeline.call(_down)
    assert [CircuitChanged, CallEnded, CallRejected, CallEnded] == [type(event) for event in heard]
    assert ["failure", "rejected"] == [event.outcome for event in heard if isinstance(event, CallEnded)]


def _down() -> None:
    raise OSError("down")


def test_two_listeners_each_hear_once() -> None:
    """And one that leaves does not take the other with it."""
    first: list[Event] = []
    second: list[Event] = []
    pipeline = Pipeline("two listeners")
    stop = pipeline.listen(first.append, CallEnded)
    pipeline.listen(second.append, CallEnded)
    pipeline.call(abs, 1)
    stop()
    pipeline.call(abs, 1)
    assert (1, 2) == (len(first), len(second))


def test_a_faulty_listener_does_not_disturb_the_call() -> None:
    """Its result arrives."""
    pipeline = Pipeline("faulty meter")
    pipeline.listen(lambda event: 1 / 0, CallEnded)
    assert 5 == pipeline.call(abs, -5)


def test_a_recorder_keeps_what_it_is_told_to() -> None:
    """Within its block, by class."""
    with Recorder(CallEnded) as events:
        Pipeline("recorded").call(abs, -5)
    Pipeline("recorded later").call(abs, -5)
    assert ["recorded"] == [event.name for event in events.of(CallEnded)]
    assert [] == events.of(Retried)


def test_a_snapshot_of_everything() -> None:
    """By listed name: pipelines with their strategies, named strategies, pools; looking changes nothing."""
    breaker = CircuitBreaker(failures=1, name="snapped breaker")
    pipeline = Pipeline("snapped", Bulkhead(2), breaker, Retry(on=OSError, name="snapped retry"), Timeout(1))
    pool = WorkerPool("snapped pool", 1)
    seen = {name: state for name, state in seawall.snapshot().items() if name.startswith("snapped")}
    assert {
        "snapped": pipeline.snapshot(),
        "snapped breaker": breaker.snapshot(),
        "snapped pool": pool.snapshot(),
    } == {name: seen[name] for name in ("snapped", "snapped breaker", "snapped pool")}
    assert {"snapped.bulkhead", "snapped breaker"} == set(pipeline.snapshot())
    for _ in range(1000):
        assert seen == {name: state for name, state in seawall.snapshot().items() if name.startswith("snapped")}
    assert list(seawall.snapshot()) == sorted(seawall.snapshot())


def test_a_name_used_twice_is_listed_with_a_number_and_a_warning() -> None:
    """Nothing is shared; the third is `#3`; a free number is used again; errors and events say the plain name."""
    first = Pipeline("twice", CircuitBreaker(failures=1, name="breaker of twice"), Timeout(1, name="time of twice"))
    with pytest.warns(SeawallWarning, match=r"the name 'twice' is in use already; this one is listed as 'twice#2'"):
        second = Pipeline("twice")
    with pytest.warns(SeawallWarning, match="listed as 'breaker of twice#2' and shares no state"):
        other = CircuitBreaker(failures=1, name="breaker of twice")
    with pytest.raises(OSError, match="down"):
        first.call(_down)
    assert "closed" == other.state
    with pytest.warns(SeawallWarning, match="'twice#3'"):
        third = Pipeline("twice")
    assert {"twice", "twice#2", "twice#3"} == {name for name in seawall.snapshot() if name.startswith("twice")}
    assert ["twice", "twice", "twice"] == [pipeline.name for pipeline in (first, second, third)]
    assert "breaker of twice" == other.name
    del second
    gc.collect()
    with pytest.warns(SeawallWarning, match="'twice#2'"):
        fourth = Pipeline("twice")
    assert "twice" == fourth.name


def test_a_name_is_free_again_when_nobody_holds_it() -> None:
    """The registry holds weakly."""
    for _ in range(3):
        pipeline = Pipeline("held weakly", Timeout(1))
        assert "held weakly" in seawall.snapshot()
        del pipeline
        gc.collect()
        assert "held weakly" not in seawall.snapshot()


def test_the_warning_points_at_the_users_line() -> None:
    """For pipelines, strategies and pools alike; a name that a decorator made up is no reason to warn."""
    keep = [Pipeline("pointed at"), Timeout(1, name="pointed at time-out"), WorkerPool("pointed at pool", 1)]
    makers: list[Callable[[], Any]] = [
        lambda: Pipeline("pointed at"),
        lambda: Timeout(1, name="pointed at time-out"),
        lambda: WorkerPool("pointed at pool", 1),
    ]
    keep += [Timeout(1)(_down), Retry(on=OSError)(_down), Timeout(1)(_down)]
    for make in makers:
        with pytest.warns(SeawallWarning, match="in use already") as caught:
            keep.append(make())
        assert [__file__] == [warning.filename for warning in caught]


def test_two_of_a_kind_in_one_pipeline_are_no_reason_to_warn() -> None:
    """Layered time-outs and two fallbacks are sound, and each has a name of its own."""
    pipeline = Pipeline("layered", Timeout(60), Retry(on=OSError, backoff=1), Timeout(5))
    outer, _, inner = pipeline.strategies
    assert outer.name != inner.name
    assert "layered.timeout" == outer.name
