"""The errors: their tree, texts and attributes, pickling and copying, causes and notes."""

import asyncio
import copy
import pickle
import traceback
from typing import Any

import pytest

from seawall import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitIsolatedError,
    CircuitOpenError,
    DeadlineExceededError,
    Fallback,
    Pipeline,
    RateLimitedError,
    RejectedError,
    Retry,
    SeawallError,
    Timeout,
)
from seawall.testing import FakeClock

ERRORS: list[SeawallError] = [
    *(
        kind("rates", retry_after)
        for kind in (
            RejectedError,
            CircuitOpenError,
            CircuitIsolatedError,
            BulkheadFullError,
            RateLimitedError,
            DeadlineExceededError,
        )
        for retry_after in (None, 2.5)
    ),
    CallTimeoutError("rates", 10.0),
    CallTimeoutError("rates", 10.0, by_deadline=True),
    SeawallError("text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_can_be_pickled(error: SeawallError, protocol: int) -> None:
    """Class, attributes, text and notes arrive."""
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(error) is type(again)
    assert vars(error) == vars(again)
    assert str(error) == str(again)


def test_notes_survive_pickling_and_copying() -> None:
    """A note of the attempts is worth as much on the other side of a process boundary."""
    error = CircuitOpenError("rates", 5.0)
    error.add_note("seawall: gave up")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert ["seawall: gave up"] == getattr(again, "__notes__", None)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_errors_can_be_copied(error: SeawallError) -> None:
    """Shallow and deep."""
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert (type(error), str(error), vars(error)) == (type(again), str(again), vars(again))


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (CircuitOpenError, (RejectedError, SeawallError)),
        (CircuitIsolatedError, (RejectedError, SeawallError)),
        (BulkheadFullError, (RejectedError, SeawallError)),
        (RateLimitedError, (RejectedError, SeawallError)),
        (DeadlineExceededError, (RejectedError, SeawallError, TimeoutError)),
        (CallTimeoutError, (SeawallError, TimeoutError)),
    ],
)
def test_the_tree_of_errors(kind: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    """What an `except` may rely on; a call that timed out was not rejected."""
    assert [base for base in (RejectedError, SeawallError, TimeoutError) if issubclass(kind, base)] == list(bases)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CircuitOpenError("bank", 12.3456), "'bank' is open; try again in 12.3 s"),
        (CircuitOpenError("bank"), "'bank' is open"),
        (CircuitIsolatedError("bank"), "'bank' is isolated by hand"),
        (BulkheadFullError("bank"), "'bank' is full"),
        (RateLimitedError("bank", 0.25), "'bank' is at its rate limit; try again in 0.25 s"),
        (DeadlineExceededError("bank"), "'bank' was not started: the deadline has passed"),
        (CallTimeoutError("bank", 2.0), "'bank' did not end in time: its limit is 2 s"),
        (CallTimeoutError("bank", 2.0, True), "'bank' did not end in time: the deadline left it 2 s"),
    ],
)
def test_the_texts_of_errors(error: SeawallError, text: str) -> None:
    """Who, what, and when to try again."""
    assert text == str(error)


@pytest.mark.parametrize("error", ERRORS[:-1], ids=repr)
def test_an_errors_repr_says_who(error: SeawallError) -> None:
    """What logs and events show with %r."""
    assert "rates" in repr(error)


def test_an_error_of_the_function_is_never_wrapped() -> None:
    """The very object, through all strategies, in both colours; its own cause and context are left alone."""
    cause, mine = KeyError("cause"), OSError("mine")
    mine.__cause__ = cause

    def work() -> None:
        raise mine

    async def awork() -> None:
        raise mine

    async def main() -> Any:
        return await pipeline.acall(awork)

    with FakeClock():
        pipeline = Pipeline("not wrapped", Retry(on=OSError), CircuitBreaker(failures=99), Timeout(5))
        for run in (lambda: pipeline.call(work), lambda: asyncio.run(main())):
            with pytest.raises(OSError, match="mine") as caught:
                run()
            assert mine is caught.value
            assert cause is mine.__cause__


def test_the_last_failure_is_the_one_that_is_raised() -> None:
    """With a traceback that leads into the function, once."""
    calls: list[OSError] = []

    def work() -> None:
        calls.append(OSError(len(calls)))
        raise calls[-1]

    with FakeClock():
        pipeline = Pipeline("last failure", Retry(on=OSError, backoff=1), Timeout(5))
        with pytest.raises(OSError, match="2") as caught:
            pipeline.call(work)
    assert calls[-1] is caught.value
    assert 1 == [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)].count("work")
    assert None is caught.value.__cause__


def test_a_retried_circuit_shows_the_failure_behind_it() -> None:
    """An open circuit met at the second attempt is raised with the failure that opened it as the cause."""

    def work() -> None:
        raise OSError("root")

    with FakeClock():
        pipeline = Pipeline("root cause", Retry(on=OSError, backoff=1), CircuitBreaker(failures=1), Timeout(5))
        with pytest.raises(CircuitOpenError) as caught:
            pipeline.call(work)
    assert "OSError('root')" == repr(caught.value.__cause__)


def test_a_failing_fallback_keeps_the_original_as_its_cause() -> None:
    """And the note of the attempts on the original."""

    def work() -> None:
        raise OSError("original")

    def spare() -> None:
        raise KeyError("spare")

    with FakeClock():
        pipeline = Pipeline("kept original", Fallback(spare, on=OSError), Retry(on=OSError, backoff=1), Timeout(5))
        with pytest.raises(KeyError, match="spare") as caught:
            pipeline.call(work)
    original = caught.value.__cause__
    assert "OSError('original')" == repr(original)
    assert ["seawall: 'kept original.retry' gave up after attempt 3 and 2 s (attempts)"] == original.__notes__  # type: ignore[union-attr]
