"""Effects of the user's on the writer thread: committed with what seawall keeps, and within bounds."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from seawall import correlation, correlation_id
from seawall.durable import EmbeddedStore, StoreError
from tests.durable.stores.words import (
    PATIENCE,
    BoomError,
    Busy,
    every,
    looking,
    put_then_fail,
    putting,
    queued,
    started,
    until,
)

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "seawall.db"


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    """A store with a table of the application's."""
    with EmbeddedStore(path, effect_timeout=0.2) as opened:
        opened.transact(lambda db: db.execute("CREATE TABLE account (name TEXT PRIMARY KEY, amount INTEGER)"))
        yield opened


def accounts(path: Path) -> list[Any]:
    """Returns what is in the application's table, as somebody else sees it."""
    with looking(path) as connection:
        return connection.execute("SELECT name, amount FROM account ORDER BY name").fetchall()


def open_account(name: str, amount: int = 0) -> Any:
    """Returns an effect."""

    def effect(db: sqlite3.Connection) -> str:
        db.execute("INSERT INTO account VALUES (?, ?)", (name, amount))
        return name

    return effect


class TestTogether:
    """Effect and record are one."""

    @pytest.mark.parametrize("is_async", [False, True])
    def test_an_effect_and_its_record_are_committed_together(
        self, store: EmbeddedStore, path: Path, is_async: bool
    ) -> None:
        """The result is the effect's; scripts run on its connection."""

        def effect(db: sqlite3.Connection) -> tuple[str, bool, bool]:
            store_on = store.on(db)
            return open_account("a", 5)(db), store_on.run(putting("k")), store_on.run(putting("k"))

        found = asyncio.run(store.atransact(effect)) if is_async else store.transact(effect)
        assert (("a", True, False), [("a", 5)], ["k"]) == (found, accounts(path), store.run(every))

    def test_an_effect_that_raises_leaves_neither(self, store: EmbeddedStore, path: Path) -> None:
        """What it raised reaches the caller as it is."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            store.on(db).run(putting("k"))
            raise BoomError("mine")

        with pytest.raises(BoomError, match="mine"):
            store.transact(effect)
        assert ([], []) == (accounts(path), store.run(every))

    def test_a_violated_constraint_is_the_drivers_own_error(self, store: EmbeddedStore) -> None:
        """It is no trouble of the store's."""
        store.transact(open_account("a"))
        with pytest.raises(sqlite3.IntegrityError, match=r"account\.name"):
            store.transact(open_account("a"))

    def test_a_script_that_fails_may_be_caught_by_the_effect(self, store: EmbeddedStore, path: Path) -> None:
        """By a savepoint of its own, as with any connection."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            db.execute("SAVEPOINT mine")
            try:
                store.on(db).run(partial(put_then_fail, "lost"))
            except BoomError:
                db.execute("ROLLBACK TO mine")
            db.execute("RELEASE mine")

        store.transact(effect)
        assert ([("a", 0)], []) == (accounts(path), store.run(every))

    def test_effects_that_wait_are_committed_with_others_and_fail_alone(self, store: EmbeddedStore, path: Path) -> None:
        """An effect that raises takes nobody along."""

        def failing() -> None:
            with pytest.raises(sqlite3.IntegrityError):
                store.transact(lambda db: (open_account("x")(db), open_account("a")(db)))

        with Busy(store):
            threads = [started(store.transact, open_account("a")), started(store.run, putting("k"))]
            until(lambda: queued(store) == 2)
            threads.append(started(failing))
            until(lambda: queued(store) == 3)
            threads.append(started(store.transact, open_account("b")))
            until(lambda: queued(store) == 4)
        for thread in threads:
            thread.join(PATIENCE)
        assert ([("a", 0), ("b", 0)], ["k"]) == (accounts(path), store.run(every))

    def test_it_has_the_callers_context(self, store: EmbeddedStore) -> None:
        """The correlation id, say, for messages that it adds."""
        with correlation("order-7"):
            assert "order-7" == store.transact(lambda db: correlation_id())

    def test_a_channel_is_woken_after_the_commit_and_not_after_a_rollback(self, store: EmbeddedStore) -> None:
        """Whoever is woken finds the rows."""
        found: list[Any] = []
        store.listen("outbox", lambda: found.append(threading.current_thread().name))

        def effect(db: sqlite3.Connection, fail: bool) -> None:
            store.after(db, "outbox")
            assert [] == found
            if fail:
                raise BoomError

        with pytest.raises(BoomError):
            store.transact(partial(effect, fail=True))
        store.transact(partial(effect, fail=False))
        until(lambda: found)
        store.run(every)
        assert 1 == len(found)

    def test_a_listener_that_raises_harms_nobody(self, store: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
        """It is logged, and the writer goes on."""

        def listener() -> None:
            raise BoomError("listener")

        store.listen("outbox", listener)
        store.transact(lambda db: store.after(db, "outbox"))
        assert [] == store.run(every)
        assert "a listener of a store's commits raised" in caplog.text

    def test_a_connection_of_ones_own_to_the_file_will_do(self, store: EmbeddedStore, path: Path) -> None:
        """In a transaction, which the store neither begins nor ends; row factories do not matter."""
        with looking(path) as own:
            own.row_factory = sqlite3.Row
            with pytest.raises(StoreError, match="BEGIN IMMEDIATE"):
                store.on(own).run(putting("k"))
            own.execute("BEGIN IMMEDIATE")
            assert True is asyncio.run(store.on(own).arun(putting("k")))
            assert ["k"] == store.on(own).run(every)
            own.execute("ROLLBACK")
        assert [] == store.run(every)


class TestBounds:
    """What an effect must not do: nobody else can write meanwhile."""

    def test_a_statement_that_takes_too_long_is_cut_short(self, store: EmbeddedStore, path: Path) -> None:
        """And all that the effect did is undone; others that waited are served."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            db.execute(FOREVER)

        began = time.monotonic()
        with pytest.raises(StoreError, match=r"more than 0\.2 s"):
            store.transact(effect)
        assert time.monotonic() - began < PATIENCE
        assert ([], True) == (accounts(path), store.run(putting("next")))

    def test_code_that_takes_too_long_is_undone(self, store: EmbeddedStore, path: Path) -> None:
        """It cannot be cut short, but it is not committed."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            time.sleep(0.25)

        with pytest.raises(StoreError, match=r"more than 0\.2 s"):
            store.transact(effect)
        assert [] == accounts(path)

    def test_an_effect_that_goes_on_after_it_was_cut_short_writes_nothing(
        self, store: EmbeddedStore, path: Path
    ) -> None:
        """SQLite has rolled back the transaction by then: what came after would stand alone."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            try:
                db.execute(f"INSERT INTO account {FOREVER.replace('COUNT(*)', 'i, i')}")
            except sqlite3.OperationalError:
                open_account("b")(db)

        with pytest.raises(StoreError):
            store.transact(effect)
        with pytest.raises(StoreError):
            store.transact(lambda db: (db.execute("SAVEPOINT x"), effect(db)))
        assert [] == accounts(path)

    @pytest.mark.parametrize(
        "ending",
        [
            lambda db: db.commit(),
            lambda db: db.rollback(),
            lambda db: db.execute("COMMIT"),
            lambda db: db.execute("end transaction"),
            lambda db: db.execute("ROLLBACK"),
            lambda db: db.execute("ROLLBACK TO seawall_job"),
            lambda db: db.execute("RELEASE Seawall_Job"),
            lambda db: db.execute("BEGIN"),
            lambda db: db.cursor().execute("COMMIT"),
            lambda db: db.executescript("SELECT 1"),
            lambda db: db.cursor().executescript("SELECT 1"),
            lambda db: db.__exit__(None, None, None),
            lambda db: db.close(),
        ],
    )
    @pytest.mark.parametrize("alone", [True, False])
    def test_it_must_not_end_its_transaction(self, store: EmbeddedStore, path: Path, ending: Any, alone: bool) -> None:
        """Whichever way it tries; what it did is undone, and the store works on."""

        def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)
            ending(db)

        errors: list[BaseException] = []

        def trying() -> None:
            try:
                store.transact(effect)
            except BaseException as error:
                errors.append(error)

        if alone:
            trying()
        else:
            with Busy(store):
                threads = [started(store.run, putting("k")), started(trying), started(store.run, putting("l"))]
                until(lambda: queued(store) == 3)
            for thread in threads:
                thread.join(PATIENCE)
        assert ["must not"] == ["must not" if "must not end" in str(error) else error for error in errors]
        assert [] == accounts(path)
        store.transact(open_account("a"))
        assert ([] if alone else ["k", "l"]) == store.run(every)

    def test_it_must_not_ask_the_store_for_another_transaction(self, store: EmbeddedStore) -> None:
        """That would wait for itself."""
        with pytest.raises(StoreError, match=r"store\.on\(connection\)"):
            store.transact(lambda db: store.run(every))
        with pytest.raises(StoreError, match=r"store\.on\(connection\)"):
            store.transact(lambda db: store.transact(lambda inner: None))

    def test_it_is_no_async_function(self, store: EmbeddedStore, path: Path) -> None:
        """A coroutine would run when the transaction is over."""

        async def effect(db: sqlite3.Connection) -> None:
            open_account("a")(db)

        with pytest.raises(TypeError, match="plain function"):
            store.transact(effect)
        with pytest.raises(TypeError, match="plain function"):
            store.transact(lambda db: effect(db))
        with pytest.raises(TypeError, match="cannot be called"):
            store.transact("SELECT 1")  # type: ignore[arg-type]
        assert [] == accounts(path)

    def test_what_it_sets_on_the_connection_ends_with_it(self, store: EmbeddedStore) -> None:
        """Row and text factories are its own affair."""

        def effect(db: sqlite3.Connection) -> list[bool]:
            seen = [db.row_factory is None, db.text_factory is str]
            db.row_factory, db.text_factory = sqlite3.Row, bytes
            return seen

        assert [True, True] == store.transact(effect)
        assert [True, True] == store.transact(effect)
        store.run(putting("k"))
        assert ["k"] == store.run(every)

    def test_the_connection_is_of_no_use_elsewhere(self, store: EmbeddedStore) -> None:
        """Kept beyond the effect, it refuses to serve another thread."""
        kept = store.transact(lambda db: db)
        with pytest.raises(sqlite3.ProgrammingError, match="thread"):
            kept.execute("SELECT 1")

    @pytest.mark.parametrize("raised", [StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    def test_whatever_it_raises_the_writer_goes_on(self, store: EmbeddedStore, raised: type[BaseException]) -> None:
        """The caller gets it, in both colours; what no future can hold, as the cause of another error."""

        def effect(db: sqlite3.Connection) -> None:
            raise raised("out")

        expected = RuntimeError if raised is StopIteration else raised
        with pytest.raises(expected):
            store.transact(effect)
        if raised not in (SystemExit, KeyboardInterrupt):  # they would end the event loop of the test
            with pytest.raises(expected):
                asyncio.run(store.atransact(effect))
        assert [] == store.run(every)
