"""An exception out of an exhausted Retry carried a lock: it could be neither pickled nor copied."""

import asyncio
import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from seawall import Retry
from seawall.testing import FakeClock
from tests.both import NUMBERS


def work() -> None:
    """Fails, after retries; runs in another process."""

    @Retry(on=ConnectionError, backoff=0)
    def down() -> None:
        raise ConnectionRefusedError(111, "down")

    down()


def exhausted(form: str) -> ConnectionError:
    """Returns a failure that a Retry has given up on."""
    retry = Retry(on=ConnectionError, backoff=0, name=f"pickled {next(NUMBERS)}")

    def down() -> None:
        raise ConnectionRefusedError(111, "down")

    async def adown() -> None:
        down()

    def loop() -> None:
        for attempt in retry.attempts():
            with attempt:
                down()

    nested = Retry(on=ConnectionError, backoff=0, name=f"pickled nested {next(NUMBERS)}")
    runs: dict[str, Callable[[], object]] = {
        "sync": lambda: retry(down)(),
        "async": lambda: asyncio.run(retry(adown)()),
        "loop": loop,
        "nested": lambda: nested(retry(down))(),
    }
    with FakeClock(), pytest.raises(ConnectionRefusedError) as caught:
        runs[form]()
    return caught.value


@pytest.mark.parametrize("way", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("form", ["sync", "async", "loop", "nested"])
def test_a_failure_that_was_retried_can_be_copied(form: str, way: Callable[[ConnectionError], ConnectionError]) -> None:
    """Class, arguments and notes are kept."""
    failure = exhausted(form)
    copied = way(failure)
    assert (ConnectionRefusedError, (111, "down")) == (type(copied), copied.args)
    assert failure.__notes__ == copied.__notes__
    assert (2 if form == "nested" else 1) == sum("gave up after attempt" in note for note in copied.__notes__)


def test_a_copied_failure_is_retried_like_any_other() -> None:
    """An outer Retry that meets the copy makes all its own attempts."""
    copied = copy.deepcopy(exhausted("sync"))
    calls: list[int] = []

    @Retry(on=ConnectionError, backoff=0)
    def again() -> None:
        calls.append(1)
        raise copied

    with pytest.raises(ConnectionRefusedError):
        again()
    assert 3 == len(calls)


def test_a_failure_crosses_processes() -> None:
    """A ProcessPoolExecutor gives it back as it was raised, not as an error of pickling."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        failure = pool.submit(work).exception(10)
    assert (ConnectionRefusedError, (111, "down")) == (type(failure), failure and failure.args)
