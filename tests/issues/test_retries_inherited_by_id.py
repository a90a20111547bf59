"""A new Retry inherited the spent retries of a collected one, whose id it was given."""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

from seawall import Retry


@pytest.fixture(autouse=True)
def _nothing_held(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log records, which pytest keeps, would keep the Retries, and ids are reused of what is gone."""
    with caplog.at_level(logging.CRITICAL, "seawall"):
        yield


@pytest.mark.parametrize("form", ["decorator", "loop"])
def test_a_retry_made_anew_for_each_call_has_all_its_attempts(form: str) -> None:
    """Below an outer Retry, which keeps count of all of them."""
    counts: list[int] = []

    def down() -> None:
        counts[-1] += 1
        raise OSError("down")

    @Retry(on=OSError, max_attempts=30, backoff=0)
    def work() -> None:
        counts.append(0)
        inner = Retry(on=OSError, max_attempts=3, backoff=0)
        if form == "decorator":
            inner(down)()
        for attempt in inner.attempts():
            with attempt:
                down()

    gc.disable()
    try:
        with pytest.raises(OSError, match="down"):
            work()
    finally:
        gc.enable()
    assert [3] * 30 == counts


def test_an_async_retry_made_anew_has_all_its_attempts() -> None:
    """Failures that are swallowed leave their Retry to be collected at once."""
    counts: list[int] = []

    async def down() -> None:
        counts[-1] += 1
        raise OSError("down")

    @Retry(on=OSError, max_attempts=2, backoff=0)
    async def work() -> None:
        for _ in range(20):
            counts.append(0)
            with pytest.raises(OSError, match="down"):
                await Retry(on=OSError, max_attempts=3, backoff=0)(down)()
            gc.collect()
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        asyncio.run(work())
    assert [3] * 40 == counts
