"""The beginning and the end of an embedded store, its thread and its file; and what it must not keep alive."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import EmbeddedStore, StoreError, writer
from seawall.durable.script import Script
from tests.durable.stores.words import (
    PATIENCE,
    BoomError,
    Busy,
    every,
    keys_in,
    put_then_fail,
    putting,
    queued,
    started,
    until,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "seawall.db"


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    """A store that is open."""
    with EmbeddedStore(path) as opened:
        yield opened


class TestLifetimes:
    """What ends, and what is let go of."""

    def test_a_closed_store_says_so(self, path: Path) -> None:
        """To whoever comes later; a second close does nothing; what waited is done first."""
        store = EmbeddedStore(path)
        with Busy(store):
            thread = started(store.run, putting("waited"))
            until(lambda: queued(store) == 1)
            closing = started(store.close)
            until(lambda: store._writer._closed)
        for each in (thread, closing):
            each.join(PATIENCE)
        assert ["waited"] == keys_in(path)
        with pytest.raises(StoreError, match="is closed"):
            store.run(every)
        store.close()

    def test_closed_it_leaves_one_file(self, path: Path) -> None:
        """The log is in it, and what lies beside it while it is used is gone."""
        with EmbeddedStore(path) as store:
            store.run(putting("kept"))
            assert {"seawall.db", "seawall.db-wal", "seawall.db-shm"} <= {each.name for each in path.parent.iterdir()}
        assert ["seawall.db"] == [each.name for each in path.parent.iterdir()]
        assert ["kept"] == keys_in(path)

    def test_async_with_opens_and_closes(self, path: Path) -> None:
        """Without blocking the loop."""

        async def scenario() -> bool:
            async with EmbeddedStore(path) as store:
                return await store.arun(putting("kept"))

        assert True is asyncio.run(scenario())
        assert ["seawall.db"] == [each.name for each in path.parent.iterdir()]

    def test_a_store_that_nobody_holds_ends_its_thread_and_closes_its_file(self, path: Path) -> None:
        """Without a word: in the background, as soon as the object is gone."""
        store = EmbeddedStore(path)
        store.run(putting("kept"))
        thread = store._writer._thread
        assert thread is not None
        del store
        gc.collect()
        thread.join(PATIENCE)
        assert False is thread.is_alive()
        assert ["seawall.db"] == [each.name for each in path.parent.iterdir()]

    def test_it_starts_nothing_before_it_is_used(self, path: Path) -> None:
        """No thread, and no file."""
        before = threading.active_count()
        EmbeddedStore(path)
        assert (before, []) == (threading.active_count(), list(path.parent.iterdir()))

    def test_a_fault_of_the_writer_itself_hangs_nobody(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Who waits gets the error, it is logged, and the next one is served."""

        def faulty(*anything: Any) -> Any:
            raise ZeroDivisionError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(writer, "commit", faulty)
            with pytest.raises(ZeroDivisionError):
                store.run(every)
        assert "stumbled and goes on" in caplog.text
        assert [] == store.run(every)

    def test_a_fork_does_not_wait_for_a_writer_that_waits_for_the_fork(self, path: Path) -> None:
        """One that has just begun has nothing open yet; after the fork it goes on."""
        store = EmbeddedStore(path)
        with writer._gate:  # as while a process is forked
            thread = started(store.run, putting("k"))
            until(lambda: store._writer._thread is not None)
            assert None is store._writer.rest()
        thread.join(PATIENCE)
        assert ["k"] == keys_in(path)
        assert None is not store._writer.rest()
        store.close()

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_failure_is_not_kept_alive(self, store: EmbeddedStore, is_async: bool) -> None:
        """No cycle leads from the error to itself: it is gone with whoever caught it."""
        store.run(every)
        gc.collect()
        gc.disable()
        try:
            gone = asyncio.run(afailure_of(store)) if is_async else failure_of(store)
            store.run(every)  # the writer has nothing of it in its hands any more
            until(lambda: gone() is None, 5.0)
        finally:
            gc.enable()

    def test_an_answer_is_not_kept_alive(self, store: EmbeddedStore) -> None:
        """The idle writer holds no result and no script."""

        class Answer:
            pass

        def script() -> Script[Answer]:
            yield from every()
            return Answer()

        gone = weakref.ref(store.run(script))
        until(lambda: gone() is None, 5.0)


def failure_of(store: EmbeddedStore) -> "weakref.ref[BaseException]":
    """Returns the error of a script, as a caller that has caught it and let go of it knows it."""
    try:
        store.run(partial(put_then_fail, "x"))
    except BoomError as error:
        return weakref.ref(error)
    raise AssertionError


async def afailure_of(store: EmbeddedStore) -> "weakref.ref[BaseException]":
    """The same in a task."""
    try:
        await store.arun(partial(put_then_fail, "x"))
    except BoomError as error:
        return weakref.ref(error)
    raise AssertionError
