"""The writer of an embedded store: who waits is committed together, and fails alone."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import EmbeddedStore
from seawall.durable import embedded_group as group
from seawall.durable.embedded_file import File
from seawall.durable.errors import CommitUnknownError
from seawall.durable.script import Script
from tests.durable.stores.words import (
    PATIENCE,
    BoomError,
    Busy,
    count,
    every,
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


@pytest.fixture
def commits(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> list[File]:
    """An entry for each commit from now on."""
    seen: list[File] = []
    commit = File.commit

    def counting(file: File) -> None:
        seen.append(file)
        commit(file)

    monkeypatch.setattr(File, "commit", counting)
    return seen


class TestGroups:
    """One commit for all that wait."""

    def test_all_that_wait_are_committed_together(self, store: EmbeddedStore, commits: list[File]) -> None:
        """Threads and tasks of two event loops, in one transaction."""

        def tasks(prefix: str) -> None:
            async def all_of_them() -> None:
                await asyncio.gather(*(store.arun(putting(f"{prefix}{number}")) for number in range(10)))

            asyncio.run(all_of_them())

        with Busy(store):
            threads = [started(store.run, putting(f"thread{number}")) for number in range(10)]
            threads += [started(tasks, "one"), started(tasks, "two")]
            until(lambda: queued(store) == 30)
        for thread in threads:
            thread.join(PATIENCE)
        assert 2 == len(commits)  # the one that kept it busy, and theirs
        assert 30 == store.run(count)

    def test_each_event_loop_is_woken_once(self, store: EmbeddedStore) -> None:
        """However many of its tasks got their answers."""
        woken: list[Any] = []

        async def all_of_them() -> None:
            loop = asyncio.get_running_loop()
            call = loop.call_soon_threadsafe

            def counting(callback: Any, *arguments: Any, **options: Any) -> Any:
                woken.append(callback)
                return call(callback, *arguments, **options)

            loop.call_soon_threadsafe = counting  # type: ignore[method-assign]
            waiting = asyncio.gather(*(store.arun(putting(str(number))) for number in range(50)))
            await asyncio.to_thread(until, lambda: queued(store) == 50)
            before = len(woken)
            busy.let_go()
            await waiting
            assert 1 == len(woken) - before

        with Busy(store) as busy:
            asyncio.run(all_of_them())

    def test_one_that_fails_is_undone_alone(self, store: EmbeddedStore, commits: list[File]) -> None:
        """In the middle of others, which are committed together all the same."""
        failures: list[BaseException] = []

        def failing() -> None:
            with pytest.raises(BoomError, match="lost") as caught:
                store.run(partial(put_then_fail, "lost"))
            failures.append(caught.value)

        with Busy(store):
            threads = [started(store.run, putting(f"first{number}")) for number in range(3)]
            until(lambda: queued(store) == 3)
            threads.append(started(failing))
            until(lambda: queued(store) == 4)
            threads += [started(store.run, putting(f"last{number}")) for number in range(3)]
            until(lambda: queued(store) == 7)
        for thread in threads:
            thread.join(PATIENCE)
        assert 2 == len(commits)
        assert ["first0", "first1", "first2", "last0", "last1", "last2"] == store.run(every)
        assert 1 == len(failures)

    def test_what_takes_long_is_committed_before_the_rest(
        self, store: EmbeddedStore, commits: list[File], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction takes no further job once its time is up, since other processes wait; the order stays."""
        monkeypatch.setattr(group, "HOLD", 0.0)
        order: list[str] = []

        def noting(key: str) -> Script[None]:
            order.append(key)
            yield from put_all(key)

        with Busy(store):
            threads = []
            for key in "abcd":
                threads.append(started(store.run, partial(noting, key)))
                until(lambda: queued(store) == len(threads))
        for thread in threads:
            thread.join(PATIENCE)
        assert (5, ["a", "b", "c", "d"]) == (len(commits), order)

    def test_nothing_is_lost_or_mixed_up_under_load(self, store: EmbeddedStore) -> None:
        """Threads and event loops at once: each gets the answers to its own questions."""
        wrong: list[Any] = []

        def on_thread(name: str) -> None:
            for number in range(100):
                if [store.run(putting(f"{name}-{number}")), store.run(putting(f"{name}-{number}"))] != [True, False]:
                    wrong.append((name, number))

        def in_loop(name: str) -> None:
            async def one(task: int) -> None:
                for number in range(20):
                    key = f"{name}-{task}-{number}"
                    if [await store.arun(putting(key)), await store.arun(putting(key))] != [True, False]:
                        wrong.append(key)

            async def all_of_them() -> None:
                await asyncio.gather(*(one(task) for task in range(20)))

            asyncio.run(all_of_them())

        threads = [started(on_thread, f"thread{number}") for number in range(4)]
        threads += [started(in_loop, f"loop{number}") for number in range(2)]
        for thread in threads:
            thread.join(PATIENCE)
        assert ([], 4 * 100 + 2 * 400) == (wrong, store.run(count))


def put_all(*keys: str) -> Script[None]:
    """Writes keys."""
    for key in keys:
        yield from putting(key)()


class TestTransactionsThatAreLost:
    """SQLite may roll back everything by itself; then each is done again, alone."""

    def test_when_sqlite_rolls_back_everything_only_the_one_at_fault_fails(
        self, store: EmbeddedStore, commits: list[File]
    ) -> None:
        """Those before it and those after it are done again, each in a transaction of its own."""
        failures: list[BaseException] = []

        def ending(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO seawall_txn VALUES ('lost', 0)")
            connection.execute("ROLLBACK /* seawall */")  # what SQLite does by itself on a full disk
            raise sqlite3.OperationalError("database or disk is full")

        def failing() -> None:
            try:
                store._writer.call(ending)
            except sqlite3.OperationalError as error:
                failures.append(error)

        with Busy(store):
            threads = []
            for target, arguments in (
                (store.run, (putting("before"),)),
                (failing, ()),
                (store.run, (putting("after"),)),
            ):
                threads.append(started(target, *arguments))
                until(lambda: queued(store) == len(threads))
        for thread in threads:
            thread.join(PATIENCE)
        assert ["after", "before"] == store.run(every)
        assert 1 == len(failures)

    def test_a_commit_that_fails_is_tried_again_for_each_alone(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is too much together may do one by one."""
        commit, tries = File.commit, []

        def failing(file: File) -> None:
            tries.append(file)
            if len(tries) == 2:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            commit(file)

        monkeypatch.setattr(File, "commit", failing)
        with Busy(store):
            threads = [started(store.run, putting(key)) for key in "ab"]
            until(lambda: queued(store) == 2)
        for thread in threads:
            thread.join(PATIENCE)
        assert (4, ["a", "b"]) == (len(tries), store.run(every))

    def test_a_commit_whose_end_is_not_known_is_told_as_such(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the disk fails while the log is written, and nothing is done again: it might be there."""
        commit, tries, failures = File.commit, [], []

        def failing(file: File) -> None:
            tries.append(file)
            if len(tries) == 2:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            commit(file)

        def asking(key: str) -> None:
            try:
                store.run(putting(key))
            except CommitUnknownError as error:
                failures.append(str(error))

        monkeypatch.setattr(File, "commit", failing)
        with Busy(store):
            threads = [started(asking, key) for key in "ab"]
            until(lambda: queued(store) == 2)
        for thread in threads:
            thread.join(PATIENCE)
        assert (2, 2) == (len(failures), len(tries))
        assert "not known" in failures[0]
        assert True is store.run(putting("c"))


class TestLeaving:
    """A caller may go at any moment."""

    def test_cancelled_before_it_began_it_is_not_done(self, store: EmbeddedStore) -> None:
        """Nobody wants it any more."""

        async def scenario() -> None:
            task = asyncio.create_task(store.arun(putting("unwanted")))
            await asyncio.to_thread(until, lambda: queued(store) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with Busy(store):
            asyncio.run(scenario())
        assert [] == store.run(every)

    def test_cancelled_while_it_runs_it_is_done_as_a_whole_and_the_others_get_their_answers(
        self, store: EmbeddedStore
    ) -> None:
        """The caller does not know whether it was; nobody else notices."""
        begun, free = threading.Event(), threading.Event()

        def slow() -> Script[None]:
            yield from putting("one")()
            begun.set()
            assert free.wait(PATIENCE)
            yield from putting("two")()

        async def scenario() -> bool:
            task = asyncio.create_task(store.arun(slow))
            await asyncio.to_thread(begun.wait, PATIENCE)
            other = asyncio.create_task(store.arun(putting("other")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            free.set()
            return await other

        assert True is asyncio.run(scenario())
        assert ["one", "other", "two"] == store.run(every)

    def test_an_event_loop_that_is_gone_gets_no_answer_and_harms_nobody(
        self, store: EmbeddedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The writer goes on."""

        async def leaving() -> None:
            asyncio.ensure_future(store.arun(putting("left")))  # noqa: RUF006 - nobody shall wait for it
            await asyncio.sleep(0)

        with Busy(store):
            asyncio.run(leaving())
        assert True is store.run(putting("next"))
        assert [] == caplog.records

    def test_sync_use_in_an_event_loop_is_an_error(self, store: EmbeddedStore) -> None:
        """It would block the loop; it says what to use."""

        async def blocking() -> None:
            store.run(every)

        with pytest.raises(RuntimeError, match="async form"):
            asyncio.run(blocking())
