"""What every store promises, whatever database it is on."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import seawall.durable
from seawall.durable import Reaped, StoreError
from seawall.durable.migrations import upgrading, version
from seawall.durable.schema import VERSION
from seawall.durable.script import Script, Statement
from seawall.testing import FakeClock, Recorder
from tests.durable.engines import Engine, over
from tests.durable.stores.filled import KEPT, drop_tables, fill, many, names, say_version

PUT = Statement("INSERT INTO seawall_txn (id, at) VALUES (:key, {now}) ON CONFLICT (id) DO NOTHING RETURNING id")
ALL = Statement("SELECT id FROM seawall_txn ORDER BY id")
ADD = Statement(
    "INSERT INTO seawall_counter (name, value) VALUES (:key, 1) "
    "ON CONFLICT (name) DO UPDATE SET value = seawall_counter.value + 1 RETURNING value"
)
NOW = Statement("SELECT {now}")
TYPES = Statement(
    "INSERT INTO seawall_outbox (message_id, destination, headers, body, created_at, available_at, "
    "attempts, lease_until) VALUES (:key, 'd', '{}', :body, {now}, :until, :attempts, 0) "
    "RETURNING body, available_at, attempts, ordering_key, sent_at"
)
GOOD_MANY = 20


class BoomError(Exception):
    """What a test raises."""


def put(key: str) -> Script[bool]:
    """Writes a key; says whether it was not there."""
    rows = yield PUT, {"key": key}
    return bool(rows)


def put_then_fail(key: str) -> Script[None]:
    """Writes a key, and raises."""
    yield PUT, {"key": key}
    raise BoomError


def every() -> Script[list[str]]:
    """Returns all keys."""
    rows = yield ALL, {}
    return [row[0] for row in rows]


def add(key: str) -> Script[int]:
    """Counts; returns the new count."""
    rows = yield ADD, {"key": key}
    return int(rows[0][0])


def wrong(key: str) -> Script[None]:
    """Writes a key, and says what the database does not understand."""
    yield PUT, {"key": key}
    yield Statement("SELECT no_such_column FROM seawall_txn"), {}


class TestScripts:
    """A script is one transaction."""

    def test_what_it_wrote_is_committed_when_it_returns(self, engine: Engine) -> None:
        """Another store on the same data sees it; the result is the script's own; a second run finds it there."""
        assert True is engine.run(partial(put, "one"))
        assert ["one"] == engine.run(every, engine.another())
        assert False is engine.run(partial(put, "one"))

    def test_one_that_raises_has_written_nothing(self, engine: Engine) -> None:
        """The error reaches the caller as it is, and the store works on."""
        with pytest.raises(BoomError):
            engine.run(partial(put_then_fail, "lost"))
        assert [] == engine.run(every)
        assert True is engine.run(partial(put, "lost"))

    def test_one_with_a_wrong_statement_has_written_nothing(self, engine: Engine) -> None:
        """So it is for an error of the database."""
        with pytest.raises(Exception, match="no_such_column"):
            engine.run(partial(wrong, "lost"))
        assert [] == engine.run(every)

    def test_those_that_run_at_the_same_time_do_not_mix(self, engine: Engine) -> None:
        """Each increment is seen once, and none is lost."""
        assert list(range(1, GOOD_MANY + 1)) == sorted(engine.together([partial(add, "c")] * GOOD_MANY))

    def test_one_that_fails_among_others_fails_alone(self, engine: Engine) -> None:
        """What others commit at the same time stays."""
        scripts: list[Callable[[], Script[Any]]] = [partial(put, f"{number:02}") for number in range(GOOD_MANY)]
        scripts.insert(GOOD_MANY // 2, partial(put_then_fail, "lost"))
        with pytest.raises(BoomError):
            engine.together(scripts)
        assert [f"{number:02}" for number in range(GOOD_MANY)] == engine.run(every)

    def test_values_keep_their_types(self, engine: Engine) -> None:
        """Bytes, floats, whole numbers beyond 32 bits and NULL come back as they went in."""

        def script() -> Script[Any]:
            values = {"key": "k", "body": b"\x00\xff", "until": 1.5e9 + 0.125, "attempts": 2**40}
            rows = yield TYPES, values
            return rows[0]

        body, until, attempts, *nothing = engine.run(script)
        assert (b"\x00\xff", 1.5e9 + 0.125, 2**40, [None, None]) == (bytes(body), until, attempts, nothing)

    def test_texts_may_hold_anything_but_a_zero(self, engine: Engine) -> None:
        """No character is taken for SQL or for a parameter."""
        key = "'; DROP TABLE x; -- :key %s {now} \u2603 \U0001f30a"
        engine.run(partial(put, key))
        assert [key] == engine.run(every)

    def test_now_is_in_seconds_since_1970(self, engine: Engine) -> None:
        """By the database's clock, or by this process's."""

        def script() -> Script[float]:
            rows = yield NOW, {}
            return float(rows[0][0])

        assert 1.7e9 < engine.run(script) < 1e10

    @over("embedded", "embedded-async", "sqlite", "aiosqlite")
    def test_on_sqlite_now_follows_the_fake_clock(self, engine: Engine) -> None:
        """So that leases can run out in tests."""

        def script() -> Script[float]:
            rows = yield NOW, {}
            return float(rows[0][0])

        with FakeClock(wall=1000.0, grace=0.2) as clock:
            clock.advance(5.0)
            if not engine.kind.is_async:
                assert 1005.0 == engine.run(script)


class TestEnlisting:
    """`store.on(session)` takes part in the user's transaction."""

    def test_what_was_written_is_committed_with_the_users_transaction(self, engine: Engine) -> None:
        """Several scripts in one transaction see one another's rows, and all are kept."""
        assert [True, False, ["one"]] == engine.enlisted(partial(put, "one"), partial(put, "one"), every)
        assert ["one"] == engine.run(every)

    def test_what_was_written_dies_with_the_users_transaction(self, engine: Engine) -> None:
        """A rollback takes it along, and the user's error reaches the caller."""
        with pytest.raises(BoomError):
            engine.enlisted(partial(put, "lost"), failure=BoomError())
        assert [] == engine.run(every)

    def test_a_script_that_raises_is_the_users_to_handle(self, engine: Engine) -> None:
        """The error passes through the user's transaction, which is rolled back by it."""
        with pytest.raises(BoomError):
            engine.enlisted(partial(put, "one"), partial(put_then_fail, "two"))
        assert [] == engine.run(every)

    def test_what_is_no_session_is_refused(self, engine: Engine) -> None:
        """With what would be right."""
        with pytest.raises((TypeError, StoreError), match="session="):
            engine.store.on("session")


class TestSchema:
    """Tables are made once, whoever is there, and never taken for another version's."""

    def test_a_second_upgrade_does_nothing(self, engine: Engine) -> None:
        """And says which version there was."""
        assert VERSION == engine.run(upgrading)

    def test_upgrades_at_once_make_the_tables_once(self, engine: Engine) -> None:
        """Stores that find no tables, each with a connection of its own, wait for one another."""
        engine.run(drop_tables)
        stores = [engine.another() for _ in range(4)]
        if engine.kind.is_async:

            async def all_of_them() -> list[int]:
                return list(await asyncio.gather(*(store.arun(upgrading) for store in stores)))

            found = engine.awaited(all_of_them())
        else:
            found = []
            threads = [threading.Thread(target=lambda s=store: found.append(s.run(upgrading))) for store in stores]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        own = engine.name.startswith("embedded")  # they upgrade by themselves, before they are asked
        assert [VERSION if own else 0, *[VERSION] * 3] == sorted(found, reverse=own)
        assert VERSION == engine.run(version)

    def test_tables_of_a_newer_seawall_are_refused(self, engine: Engine) -> None:
        """Nothing is touched, and both versions are named."""
        newer = VERSION + 1
        engine.run(partial(say_version, newer))
        with pytest.raises(StoreError, match=f"version {newer}.*knows only version {VERSION}"):
            engine.run(upgrading, engine.another())

    def test_status_counts_what_waits_and_what_is_stuck(self, engine: Engine) -> None:
        """With the version, in both colours."""
        engine.run(fill)
        found = engine.call(seawall.durable, "status", engine.store)
        assert (VERSION, VERSION, True) == (found.version, found.latest, found.is_current)
        assert {"running": 1, "unknown": 1} == found.operations
        assert {"waiting": 2, "stuck": 1} == found.messages
        assert {"running": 1, "completed": 2, "blocked": 1} == found.sagas

    def test_a_store_without_tables_says_so(self, engine: Engine) -> None:
        """Status is no error then: version 0, and nothing counted. An embedded store has made them by then."""
        engine.run(drop_tables)
        found = engine.call(seawall.durable, "status", engine.store)
        assert (0, VERSION, False, {}) == (found.version, found.latest, found.is_current, found.sagas)


class TestRetention:
    """What has ended long ago goes; what is not settled stays, however old."""

    def test_only_what_has_ended_and_is_old_is_deleted(self, engine: Engine) -> None:
        """Of each kind there is one that must go and several that must stay."""
        engine.run(fill)
        deleted = engine.call(seawall.durable, "reap", engine.store)
        assert {
            "operations": 1, "inbox": 1, "outbox": 1, "keys": 1, "sagas": 1, "transactions": 1, "counters": 1,
        } == deleted  # fmt: skip
        left = engine.run(names)
        assert [] == [name for name in left if name.startswith("old")]
        assert KEPT == left

    def test_a_second_pass_deletes_nothing(self, engine: Engine) -> None:
        """Whatever it found was gone, steps too."""
        engine.run(fill)
        engine.call(seawall.durable, "reap", engine.store)
        assert {0} == set(engine.call(seawall.durable, "reap", engine.store).values())

    def test_many_are_deleted_in_batches(self, engine: Engine) -> None:
        """More than two batches, and no transaction deletes more than 500."""
        engine.run(partial(many, 1201))
        with Recorder() as heard:
            assert 1201 == engine.call(seawall.durable, "reap", engine.store)["inbox"]
        assert [1201] == [event.rows["inbox"] for event in heard.events if isinstance(event, Reaped)]
        assert [] == engine.run(names)
