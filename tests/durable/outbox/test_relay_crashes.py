"""Relays that are killed: at every crash point, again and again while they work, or put to sleep."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy.orm import Session

from seawall.durable import EmbeddedStore, Outbox, Relay, open_store, upgrade
from seawall.testing import CrashRunner, FakeClock
from tests.durable.outbox.crashing import BEFORE
from tests.durable.outbox.forking import ForkRunner, Forks
from tests.durable.outbox.posts import until
from tests.durable.outbox.receiver import Receiver
from tests.servers import Database

FULL = bool(os.environ.get("SEAWALL_SOAK"))
NO_CHOICE = ("outbox.wait",)
"""How often the coordinator waits depends on the machine: a crash there would not be the same twice."""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One for all of this module."""
    forks = Forks()
    yield forks
    forks.close()


def every_crash(runner: CrashRunner, before: Callable[[], None], check: Callable[[], str | None]) -> list[str]:
    """Kills the scenario at every point that it passes; returns what was wrong, and where."""
    before()
    crashes = [crash for crash in runner.record() if not crash.point.startswith(NO_CHOICE)]
    assert {"outbox.turn.before", "outbox.turn.after", "outbox.send.after"} <= {crash.point for crash in crashes}
    problems = []
    for crash in crashes:
        before()
        runner.crash(crash)
        problem = check()
        if problem is not None:
            problems.append(f"{crash}: {problem}")
    return problems


def relayed(store: Any, receiver: Receiver, orders: Callable[[], list[int]]) -> str | None:
    """Relays what is left, and returns what is wrong then: each order has one effect, in order, and no more."""
    outbox = Outbox(store)
    relay = Relay(outbox, receiver.receive)
    while relay.pass_once():
        pass
    effects = receiver.effects()
    if orders() != sorted(number for _, number in effects):
        return f"orders {orders()}, effects {effects}"
    keyed = [number for key, number in effects if key is not None]
    if keyed != sorted(keyed):
        return f"out of order: {keyed}"
    return "something still waits" if outbox.waiting() else None


def test_nothing_is_lost_at_any_crash_point_of_the_embedded_store(forks: Forks, tmp_path: Path) -> None:
    """Killed before or after every commit, claim, delivery and mark: each order that was committed arrives."""
    main, receiving = tmp_path / "main.db", tmp_path / "receiver.db"
    runner = ForkRunner(forks, tmp_path, ["crashing", f"sqlite:///{main}", str(receiving)])

    def before() -> None:
        for file in tmp_path.iterdir():
            file.unlink()
        with EmbeddedStore(main) as store:
            store.transact(lambda connection: connection.execute("CREATE TABLE orders (number INTEGER)"))
            place(store, Outbox(store), BEFORE)

    def check() -> str | None:
        with FakeClock(wall=time.time() + 60, grace=5.0), EmbeddedStore(main) as store:  # leases are over

            def orders() -> list[int]:
                query = "SELECT number FROM orders ORDER BY number"
                return store.transact(lambda connection: [row[0] for row in connection.execute(query)])

            return relayed(store, Receiver(receiving), orders)

    assert [] == every_crash(runner, before, check)


def test_nothing_is_lost_at_any_crash_point_on_postgresql(
    forks: Forks, postgresql_database: Database, tmp_path: Path
) -> None:
    """The same, in tasks, with sessions of SQLAlchemy's."""
    database, receiving = postgresql_database, tmp_path / "receiver.db"
    runner = ForkRunner(forks, tmp_path, ["crashing", database.asyncpg_url, str(receiving)])

    def before() -> None:
        for file in tmp_path.iterdir():
            file.unlink()
        database.sql("TRUNCATE orders, seawall_outbox, seawall_outbox_key")
        place(store, Outbox(store), BEFORE)

    def check() -> str | None:
        over = "SET lease_until = lease_until - 60"
        database.sql(f"UPDATE seawall_outbox {over}; UPDATE seawall_outbox_key {over}")

        def orders() -> list[int]:
            return [int(row) for row in database.sql("SELECT number FROM orders ORDER BY number").split()]

        return relayed(store, Receiver(receiving), orders)

    with closing(open_store(database.psycopg_url)) as store:
        upgrade(store)
        database.sql("CREATE TABLE orders (number INTEGER)")
        assert [] == every_crash(runner, before, check)


def place(store: Any, outbox: Outbox, orders: Any) -> None:
    """Places orders, each in one transaction with its message."""
    for key, number in orders:
        add = partial(outbox.add, "there", {"number": number}, ordering_key=key)
        if isinstance(store, EmbeddedStore):
            store.transact(partial(_placed, add, number, "INSERT INTO orders VALUES (?)"))
        else:
            with Session(store.engine) as session, session.begin():
                connection = session.connection()
                connection.exec_driver_sql("INSERT INTO orders VALUES (%s)", (number,))
                add(session=session)


def _placed(add: Callable[..., str], number: int, insert: str, connection: Any) -> None:
    connection.execute(insert, (number,))
    add(session=connection)


class Members:
    """Relays in processes of their own."""

    def __init__(self, forks: Forks, folder: Path, url: str, pause: float) -> None:
        self._forks, self._folder = forks, folder
        self._words = ["member", url, str(folder / "receiver.db"), str(pause)]
        self._count = 0
        self.running: list[tuple[int, Path]] = []

    def start(self) -> tuple[int, Path]:
        """Starts one; returns its process id, and the file to which it tells."""
        self._count += 1
        said = self._folder / f"said {self._count}"
        said.touch()
        member = self._forks.order("start", self._words, out=str(said)), said
        self.running.append(member)
        return member

    def kill(self, member: tuple[int, Path]) -> None:
        """Kills one, without a word."""
        self.running.remove(member)
        self._forks.order("kill", member[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for member in list(self.running):
            self.kill(member)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["embedded", "postgresql"])
def test_relays_that_are_killed_again_and_again(
    kind: str, forks: Forks, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """durable 22: each order has its effect once, in the order of its key, whichever of 3 relays dies when."""
    count, interval = (10_000, 2.0) if FULL else (1_000, 1.0)
    url, create = f"sqlite:///{tmp_path / 'main.db'}", "CREATE TABLE orders (number INTEGER)"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql_database").psycopg_url
    receiver, kills = Receiver(tmp_path / "receiver.db"), 0
    with closing(open_store(url)) as store, Members(forks, tmp_path, url, pause=0.02) as members:
        upgrade(store)
        if isinstance(store, EmbeddedStore):
            store.transact(lambda connection: connection.execute(create))
        else:
            request.getfixturevalue("postgresql_database").sql(create)
        outbox = Outbox(store)
        # of 100 keys, and every tenth without one
        orders = [(f"key {number % 100}" if number % 10 else None, number) for number in range(count)]
        adding = threading.Thread(target=place, args=(store, outbox, orders))
        adding.start()
        for _ in range(3):
            members.start()
        end = time.monotonic() + 600
        while len(receiver.effects()) < count or outbox.waiting(1):
            assert time.monotonic() < end, f"{len(receiver.effects())} of {count} effects, {kills} kills"
            threading.Event().wait(interval)
            (_, said) = members.running[0]
            if said.read_text():  # it has begun to send
                members.kill(members.running[0])
                members.start()
                kills += 1
        adding.join()
    effects = receiver.effects()
    assert list(range(count)) == sorted(number for _, number in effects)
    for key in {key for key, _ in effects} - {None}:
        own = [number for each, number in effects if each == key]
        assert sorted(own) == own
    assert kills >= 2
    print(f"durable 22, {kind}: {count:,} effects, {receiver.arrivals():,} arrivals, {kills} relays killed")


def test_a_relay_that_slept_through_its_lease_writes_nothing(forks: Forks, tmp_path: Path) -> None:
    """A process that is stopped while it sends, and goes on when another relay has taken over: it is told."""
    url, receiver = f"sqlite:///{tmp_path / 'main.db'}", Receiver(tmp_path / "receiver.db")
    with closing(open_store(url)) as store, Members(forks, tmp_path, url, pause=0.2) as members:
        outbox = Outbox(store)
        for number in range(3):
            outbox.add("there", {"number": number}, ordering_key="k")
        asleep, said = members.start()
        until(said.read_text)
        os.kill(asleep, signal.SIGSTOP)
        heir = Relay(outbox, receiver.receive)
        until(lambda: heir.pass_once() and not outbox.waiting())
        os.kill(asleep, signal.SIGCONT)
        until(lambda: "lost" in said.read_text())
        assert ([("k", 0), ("k", 1), ("k", 2)], []) == (receiver.effects(), outbox.waiting())
        assert 4 == receiver.arrivals()
