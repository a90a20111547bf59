"""Files that are full, locked, damaged, in the wrong place or of another version: what the embedded store does."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import EmbeddedStore, StoreError
from seawall.durable import embedded_file as file_module
from seawall.durable.embedded_turn import Turnstile
from seawall.durable.script import Script, Statement
from tests.durable.stores.words import (
    PATIENCE,
    Busy,
    every,
    keys_in,
    looking,
    putting,
    queued,
    started,
    until,
)

ROOT = os.name == "posix" and os.geteuid() == 0
FAT = "x" * 100_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "seawall.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB; as somebody who may not mount one, a file of which SQLite lets no more than that be."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = ROOT and sys.platform == "linux"
    if mounted:
        mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "seawall", folder], capture_output=True, check=False
        ).returncode
    if not mounted:
        pytest.skip("needs the right to mount a file system; the file's own limit is tested beside it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_with(db: sqlite3.Connection, size: int) -> None:
    """Writes so many bytes."""
    db.execute("CREATE TABLE IF NOT EXISTS fat (text TEXT)")
    db.execute("INSERT INTO fat VALUES (?)", ("x" * size,))


class TestNoSpace:
    """A full disk loses nothing that was committed, and is no reason to start anew."""

    def test_on_a_full_disk_nothing_is_half_written_and_later_it_goes_on(self, small_disk: Path) -> None:
        """Others who waited with the one that is too large are committed, if there is room for them."""
        path = small_disk / "seawall.db"
        ballast = small_disk / "ballast"
        with EmbeddedStore(path) as store:
            store.run(putting("before"))
            with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            failures: list[str] = []

            def trying(key: str) -> None:
                try:
                    store.transact(lambda db: (store.on(db).run(putting(key)), fill_with(db, 500_000)))
                except StoreError as error:
                    failures.append(str(error))

            with Busy(store) as busy:
                threads = [started(trying, f"lost{number}") for number in range(3)]
                until(lambda: queued(store) == 3)
            for thread in threads:
                thread.join(PATIENCE)
            assert ["disk is full"] * 3 == ["disk is full" if "disk is full" in each else each for each in failures]
            assert None is busy.error
            os.unlink(ballast)
            assert True is store.run(putting("after"))
            assert ["after", "before"] == store.run(every)
        assert ["after", "before"] == keys_in(path)

    def test_a_file_that_may_not_grow_is_as_a_full_disk(self, path: Path) -> None:
        """In the middle of a group: the one that is too large fails, the others are committed."""
        with EmbeddedStore(path) as store:
            store._writer.call(lambda db: sqlite3.Cursor(db).execute("PRAGMA max_page_count = 60").fetchone())
            failures: list[str] = []

            def too_much() -> None:
                try:
                    store.transact(lambda db: fill_with(db, 1_000_000))
                except StoreError as error:
                    failures.append(str(error))

            with Busy(store):
                threads = [started(store.run, putting("a")), started(too_much), started(store.run, putting("b"))]
                until(lambda: queued(store) == 3)
            for thread in threads:
                thread.join(PATIENCE)
            assert ["a", "b"] == store.run(every)
            assert 1 == len(failures)
            assert "full" in failures[0]


class TestLocked:
    """Another process that holds the file is waited for, and not for ever."""

    def test_a_short_lock_is_waited_for(self, path: Path) -> None:
        """The call takes as long as the lock."""
        with EmbeddedStore(path) as store, looking(path) as other:
            other.execute("BEGIN IMMEDIATE")
            thread = started(store.run, putting("k"))
            until(lambda: not queued(store))
            other.execute("COMMIT")
            thread.join(PATIENCE)
            assert ["k"] == store.run(every)

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_lasting_lock_is_a_clear_error_and_no_end(self, path: Path, is_async: bool) -> None:
        """All who wait are told, each by an error of its own; afterwards all is well."""
        with EmbeddedStore(path, busy_timeout=0.1) as store, looking(path) as other:
            other.execute("BEGIN IMMEDIATE")

            async def asking() -> list[Any]:
                return await asyncio.gather(*(store.arun(putting(key)) for key in "ab"), return_exceptions=True)

            errors: list[BaseException] = []
            if is_async:
                errors = asyncio.run(asking())
            else:
                with pytest.raises(StoreError) as caught:
                    store.run(putting("a"))
                errors = [caught.value]
            assert all("locked by another process for more than 0.1 s" in str(error) for error in errors)
            assert len(errors) == len(set(map(id, errors)))
            other.execute("COMMIT")
            assert True is store.run(putting("a"))

    def test_a_file_that_is_locked_cannot_be_opened_and_later_it_can(self, path: Path) -> None:
        """The error comes from the first use, and the next one tries again."""
        with looking(path) as other:
            other.execute("BEGIN EXCLUSIVE")
            store = EmbeddedStore(path, busy_timeout=0.1)
            with pytest.raises(StoreError, match="locked by another process"):
                store.run(every)
            other.execute("COMMIT")
            assert [] == store.run(every)
            store.close()

    def test_a_process_that_was_stopped_while_it_had_the_turn_holds_nobody_up(self, path: Path) -> None:
        """The turn is a courtesy; SQLite's own lock is what counts."""
        other = Turnstile(Path(f"{path}-turn"))
        with EmbeddedStore(path, busy_timeout=0.2) as store:
            assert True is other.take(1.0)
            assert True is store.run(putting("k"))
            other.give()
        other.close()

    def test_who_has_the_turn_is_let_go_first(self, path: Path) -> None:
        """Somebody else waits for SQLite's lock already: a new transaction comes after him."""
        other = Turnstile(Path(f"{path}-turn"))
        with EmbeddedStore(path, busy_timeout=2 * PATIENCE) as store:
            assert True is other.take(1.0)
            thread = started(store.run, putting("k"))
            thread.join(0.2)
            assert (True, []) == (thread.is_alive(), keys_in(path))
            other.give()
            thread.join(PATIENCE)
            assert ["k"] == keys_in(path)
        other.close()

    def test_where_there_are_no_locks_sqlites_own_must_do(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on some file systems."""

        def no_lock(handle: int, how: int) -> None:
            raise OSError("this system has no flock()")

        monkeypatch.setattr("seawall.durable.embedded_turn.fcntl.flock", no_lock)
        with EmbeddedStore(path) as store:
            assert True is store.run(putting("k"))
        assert ["k"] == keys_in(path)

    def test_one_turn_is_given_to_one_alone(self, path: Path) -> None:
        """Until it is given back; and who finds its file removed takes the one that others take."""
        one, two = Turnstile(path), Turnstile(path)
        assert (True, False) == (one.take(0.0), two.take(0.01))
        one.give()
        assert True is two.take(0.0)
        two.give()
        two.close(remove_unless=f"{path}-other")
        assert False is path.exists()
        three = Turnstile(path)
        assert True is three.take(0.0)
        assert True is one.take(0.0)  # it has been sure of its file before, and nobody can be in it any more
        for each in (one, three):
            each.give()
            each.close()

    def test_a_turnstile_that_was_removed_before_its_first_use_is_made_anew(self, path: Path) -> None:
        """It was opened just when somebody else, who was the last one, removed it."""
        one, two = Turnstile(path), Turnstile(path)
        one._opened()
        path.unlink()
        assert (True, False) == (one.take(0.0), two.take(0.01))
        for each in (one, two):
            each.give()
            each.close()


class TestSettings:
    """What makes a commit survive."""

    @pytest.mark.parametrize(("synchronous", "number"), [("full", 2), ("normal", 1)])
    def test_the_connection_is_as_it_was_asked_for(self, path: Path, synchronous: Any, number: int) -> None:
        """A write-ahead log that waits for the disk, and that only the writer brings into the file."""

        def settings(db: sqlite3.Connection) -> list[Any]:
            words = ("journal_mode", "synchronous", "wal_autocheckpoint")
            return [db.execute(f"PRAGMA {word}").fetchone()[0] for word in words]

        with EmbeddedStore(path, synchronous=synchronous) as store:
            assert ["wal", number, 0] == store.transact(settings)


class TestLog:
    """The write-ahead log is brought into the file, and does not grow without bound."""

    def test_when_nothing_is_to_do_the_log_is_emptied(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a backup of the one file has all."""
        monkeypatch.setattr("seawall.durable.writer.IDLE", 0.05)
        with EmbeddedStore(path) as store:
            store.run(putting("k"))
            until(lambda: os.stat(f"{path}-wal").st_size == 0)
            copy = path.with_name("copy")
            shutil.copy(path, copy)
            assert ["k"] == keys_in(copy)

    def test_while_there_is_work_the_log_stays_small(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is emptied between two groups once it is large."""
        monkeypatch.setattr(file_module, "LARGE", 500_000)
        monkeypatch.setattr(file_module, "LOOK", 0.0)
        largest = 0
        with EmbeddedStore(path) as store:
            for _ in range(60):
                store.transact(lambda db: fill_with(db, 50_000))
                largest = max(largest, os.stat(f"{path}-wal").st_size)
        assert largest < 700_000

    def test_a_reader_that_stays_does_not_hold_up_the_writer(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The log then waits for the reader's end: it is tried again when it has grown as much once more."""
        monkeypatch.setattr(file_module, "LARGE", 200_000)
        monkeypatch.setattr(file_module, "LOOK", 0.0)
        tries: list[Any] = []
        truncate = file_module._truncate
        monkeypatch.setattr(file_module, "_truncate", lambda db: (tries.append(db), truncate(db)))
        with EmbeddedStore(path) as store, looking(path) as reader:
            store.run(putting("first"))
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM seawall_txn").fetchall()
            for _ in range(30):
                store.transact(lambda db: fill_with(db, 50_000))
            during = len(tries)
            assert [("first",)] == reader.execute("SELECT id FROM seawall_txn").fetchall()
            reader.execute("COMMIT")
            for _ in range(6):
                store.transact(lambda db: fill_with(db, 50_000))
            assert 3 <= during <= 9
            until(lambda: os.stat(f"{path}-wal").st_size < 400_000)


class TestInMemory:
    """A store for tests."""

    def test_it_holds_what_it_is_told_until_it_is_closed(self) -> None:
        """And has nothing to do with another one."""
        with EmbeddedStore.in_memory() as one, EmbeddedStore.in_memory() as two:
            one.run(putting("k"))
            assert (["k"], []) == (one.run(every), two.run(every))

    def test_trouble_does_not_empty_it(self) -> None:
        """It cannot be opened anew."""

        def wrong() -> Script[None]:
            yield Statement("SELECT nonsense"), {}

        def hungry(db: sqlite3.Connection) -> None:
            error = sqlite3.OperationalError("out of memory")
            error.sqlite_errorcode = sqlite3.SQLITE_NOMEM
            raise error

        with EmbeddedStore.in_memory() as store:
            store.run(putting("k"))
            with pytest.raises(StoreError, match="no memory was left"):
                store.transact(hungry)
            with pytest.raises(sqlite3.OperationalError):
                store.run(wrong)
            assert ["k"] == store.run(every)
