"""The reaper: at once, then every 6 hours; what fails is tried again."""

import asyncio
import sqlite3
from collections.abc import Iterator
from functools import partial

import pytest

from seawall.durable import EmbeddedStore, Reaper, Retention, StoreError, areap, reap
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock
from tests.durable.stores.filled import DAY, many, names
from tests.durable.stores.words import until

RENAME = Statement("ALTER TABLE seawall_inbox RENAME TO elsewhere")
RENAME_BACK = Statement("ALTER TABLE elsewhere RENAME TO seawall_inbox")


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A store in memory."""
    with EmbeddedStore.in_memory() as opened:
        yield opened


def saying(statement: Statement) -> Script[None]:
    """Says one thing."""
    yield statement, {}


def test_on_a_thread_it_reaps_at_once_and_then_every_six_hours(store: EmbeddedStore) -> None:
    """And ends with its block."""
    with FakeClock() as clock:
        store.run(partial(many, 3))
        with Reaper(store) as reaper:
            until(lambda: store.run(names) == [])
            store.run(partial(many, 3))
            until(lambda: store.run(names) == [])  # the fake clock jumps to the next time, since nobody moves it
            thread = reaper._thread
            assert thread is not None
        assert clock.now() >= 6 * 3600
        assert False is thread.is_alive()


def test_as_a_task_it_reaps_at_once_and_then_every_six_hours(store: EmbeddedStore) -> None:
    """The same in an event loop."""

    async def scenario() -> float:
        await store.arun(partial(many, 3))
        async with Reaper(store):
            await asyncio.sleep(3600.0)
            assert [] == await store.arun(names)
            await store.arun(partial(many, 3))
            await asyncio.sleep(4 * 3600.0)
            assert 3 == len(await store.arun(names))
            await asyncio.sleep(2 * 3600.0)
            assert [] == await store.arun(names)
        assert 1 == len(asyncio.all_tasks())
        return clock.now()

    with FakeClock(grace=0.2) as clock:
        assert 7 * 3600.0 == pytest.approx(asyncio.run(scenario()), abs=1.0)


@pytest.mark.parametrize("is_async", [False, True])
def test_what_fails_is_logged_and_tried_again(
    store: EmbeddedStore, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The service goes on."""

    async def in_task() -> None:
        async with Reaper(store, every=60.0):
            await asyncio.sleep(30.0)
            await store.arun(partial(saying, RENAME_BACK))
            await asyncio.sleep(60.0)

    with FakeClock(grace=0.2):
        store.run(partial(many, 3))
        store.run(partial(saying, RENAME))
        if is_async:
            asyncio.run(in_task())
        else:
            with Reaper(store, every=60.0):
                until(lambda: "next try in 60 s" in caplog.text)
                store.run(partial(saying, RENAME_BACK))
                until(lambda: store.run(names) == [])
        assert [] == store.run(names)
    assert "no such table: seawall_inbox" in caplog.text


def test_a_retention_of_ones_own(store: EmbeddedStore) -> None:
    """Longer or shorter, for each kind."""
    store.run(partial(many, 3))  # 8 days old
    assert 0 == reap(store, retention=Retention(inbox=9 * DAY))["inbox"]
    assert 3 == asyncio.run(areap(store, retention=Retention(inbox=7.5 * DAY)))["inbox"]


def test_one_reaper_reaps_once_at_a_time(store: EmbeddedStore) -> None:
    """A second block of the same one is a mistake; one after the other is none."""
    reaper = Reaper(store)
    with reaper, pytest.raises(RuntimeError, match="at work already"), reaper:
        pass
    with reaper:
        pass


@pytest.mark.parametrize(("argument", "value"), [("inbox", -1), ("outbox", "week"), ("sagas", float("inf"))])
def test_a_wrong_retention_is_refused(argument: str, value: object) -> None:
    """By name."""
    with pytest.raises((TypeError, ValueError), match=argument):
        Retention(**{argument: value})  # type: ignore[arg-type]


def test_wrong_arguments_are_refused(store: EmbeddedStore) -> None:
    """Of the reaper, and a store that holds nothing to reap."""

    class Claims:
        name = "redis://host"
        capabilities = frozenset(("claims",))

    with pytest.raises(ValueError, match="every=0"):
        Reaper(store, every=0)
    with pytest.raises(StoreError, match="redis://host"):
        Reaper(Claims())  # type: ignore[arg-type]


def test_an_error_of_the_store_reaches_who_reaps_by_hand(store: EmbeddedStore) -> None:
    """Nobody would see it otherwise."""
    store.run(partial(saying, RENAME))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        reap(store)
