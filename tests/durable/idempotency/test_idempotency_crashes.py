"""Processes that are killed -9 at every crash point, that stand still, that come all at once: one payment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import upgrade
from seawall.durable.script import Script, Statement
from seawall.testing import Crash, CrashRunner
from tests.durable.idempotency.paying import CREATE, KEY, PAID, Bank, pursue, store_of
from tests.servers import PostgreSQL

FULL = bool(os.environ.get("SEAWALL_SOAK"))
PATIENCE = 30.0
PROGRAM = [sys.executable, "-m", "tests.durable.idempotency.paying"]
LAPSE = "UPDATE seawall_idempotency SET lease_until = lease_until - 3600"
BETWEEN = ("effect.after:1", "idempotency.call.after:1", "idempotency.complete.before:1", "store.commit.before:2")
"""Where an effect outside has been had, and nobody knows."""


class Forks:
    """A process that forks payments, imported once."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **order: str) -> int:
        """Runs one payment; returns its exit code, negative for the signal that killed it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One for all of this module."""
    made = Forks()
    yield made
    made.close()


class Place:
    """Where the payments of one kind of store are kept, and what is done to them there."""

    def __init__(self, kind: str, folder: Path, server: PostgreSQL | None) -> None:
        self.kind, self._folder, self._server = kind, folder, server
        self._stack = ExitStack()
        self.bank = Bank(self.witness)
        if server is None:
            self.url = str(folder / "payments.db")
        else:
            self.url = self._stack.enter_context(server.database()).url
            store, _ = store_of("psycopg", self.url)
            upgrade(store)
            store.engine.dispose()
        self.sql(CREATE)

    @property
    def witness(self) -> str:
        """The bank's book."""
        return str(self._folder / "witness")

    def fresh(self) -> None:
        """Begins anew."""
        Path(self.witness).unlink(missing_ok=True)
        self.sql("DELETE FROM effects")
        self.sql("DELETE FROM seawall_idempotency")

    def sql(self, statement: str) -> Any:
        """Does something to the rows; returns those that it gives."""

        def script() -> Script[Any]:
            return (yield Statement(statement), {})

        kind = "embedded" if self._server is None else "psycopg"
        store, sessions = store_of(kind, self.url)
        try:
            return store.run(script)
        finally:
            store.close()
            if sessions is not None:
                store.engine.dispose()

    def pursue(self, mode: str) -> Any:
        """Pays, or gets the result."""
        return pursue(self.kind, self.url, mode, self.witness)

    def effects(self, mode: str) -> int:
        """Returns how many payments were made."""
        return int(self.sql("SELECT COUNT(*) FROM effects")[0][0]) if mode == "transact" else self.bank.paid()

    def close(self) -> None:
        """Drops it."""
        self._stack.close()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Of the kind that the test asks for."""
    on_server = not request.param.startswith("embedded")
    made = Place(request.param, tmp_path, request.getfixturevalue("postgresql_server") if on_server else None)
    yield made
    made.close()


class Runner(CrashRunner):
    """Crashes payments in forks."""

    def __init__(self, forks: Forks, place: Place, mode: str) -> None:
        super().__init__(["true"])
        self._forks, self._errors = forks, Path(place.witness).with_name("errors")
        self._order = {"kind": place.kind, "url": place.url, "mode": mode, "witness": place.witness}

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        at, record = extra.get("SEAWALL_CRASH_AT", ""), extra.get("SEAWALL_CRASH_RECORD", "")
        self._errors.write_text("")
        code = self._forks.run(**self._order, at=at, record=record, errors=str(self._errors))
        return subprocess.CompletedProcess([], code, "", self._errors.read_text())


def check(place: Place, mode: str) -> Callable[[Crash], str | None]:
    """Returns what repeats a payment whose process was killed, long after, and says what is wrong with it."""

    def wrong(crash: Crash) -> str | None:
        place.sql(LAPSE)
        results = [place.pursue(mode) for _ in range(2)]
        expected = 2 if mode == "rerun" and str(crash) in BETWEEN else 1
        effects = place.effects(mode)
        return None if (results, effects) == ([PAID, PAID], expected) else f"{results} and {effects} payments"

    return wrong


ALWAYS = [("embedded", "reconcile"), ("embedded", "rerun"), ("embedded", "transact"), ("psycopg", "reconcile"),
          ("asyncpg", "transact")]  # fmt: skip
IN_FULL = [("embedded-async", "reconcile"), ("embedded-async", "transact"), ("psycopg", "transact"),
           ("psycopg", "rerun"), ("asyncpg", "reconcile"), ("asyncpg", "rerun")]  # fmt: skip


@pytest.mark.parametrize(("place", "mode"), [*ALWAYS, *(IN_FULL if FULL else [])], indirect=["place"])
def test_one_payment_wherever_it_is_killed(forks: Forks, place: Place, mode: str) -> None:
    """Requirement I4: no duplicate, whatever crashes.

    What is reconciled or transactional is paid once. What may run again is paid again where it was killed between
    the payment and its record, and nowhere else.
    """
    runner = Runner(forks, place, mode)
    report = runner.run(before=place.fresh, check=check(place, mode))
    points = {crash.point for crash in report.crashes}
    marks = {"claim", "transact"} if mode == "transact" else {"claim", "call", "complete"}

    assert {f"idempotency.{mark}.{side}" for mark in marks for side in ("before", "after")} < points
    assert {"store.commit.before", "store.commit.after", "effect.before", "effect.after"} < points
    assert 10 <= len(report.crashes)
    assert () == report.problems, str(report)


def began(place: Place, mode: str, lease: float, **env: str) -> subprocess.Popen[str]:
    """Starts a payment in a process; returns it when the effect was had."""
    order = {"kind": place.kind, "url": place.url, "mode": mode, "witness": place.witness, "lease": lease}
    process = subprocess.Popen(
        [*PROGRAM, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    assert process.stdout is not None
    assert "paid\n" == process.stdout.readline()
    return process


@pytest.mark.parametrize(
    ("place", "mode", "effects"), [("embedded", "slowly", 2), ("psycopg", "transact", 1)], indirect=["place"]
)
def test_a_process_that_stood_still_beyond_its_lease_writes_nothing(place: Place, mode: str, effects: int) -> None:
    """Stopped, taken over, and woken: its result is refused, and its transaction rolled back."""
    process = began(place, mode, 1.0, SLOWLY="1")
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(1.1)  # its lease of a second
        assert PAID == place.pursue("rerun" if mode == "slowly" else mode)
        owner = _owner(place)
    finally:
        process.send_signal(signal.SIGCONT)
    output, _ = process.communicate("go on\n", timeout=PATIENCE)

    assert "LeaseLostError\n" == output
    assert (owner, effects) == (_owner(place), place.effects(mode))


def _owner(place: Place) -> Any:
    rows = place.sql("SELECT key, state, owner FROM seawall_idempotency")
    assert [(KEY, "done")] == [tuple(row)[:2] for row in rows]
    return rows[0][2]


def test_a_process_that_is_alive_keeps_its_payment(tmp_path: Path) -> None:
    """Beyond its lease, by heartbeats: nobody takes over, and its result is everybody's."""
    place = Place("embedded", tmp_path, None)
    process = began(place, "slowly", 1.0)
    left = []
    end = time.monotonic() + PATIENCE
    while len(left) < 3 and time.monotonic() < end:
        time.sleep(0.4)
        left.append(place.sql("SELECT owner, epoch, state FROM seawall_idempotency")[0])
    output, _ = process.communicate("go on\n", timeout=PATIENCE)

    assert 1 == len(set(left))
    assert "running" == left[0][2]
    assert PAID == json.loads(output)
    assert PAID == place.pursue("rerun")
    assert 1 == place.bank.paid()


def test_of_many_processes_at_once_one_pays(tmp_path: Path) -> None:
    """The others wait for its result."""
    place = Place("embedded", tmp_path, None)
    program = f"""
import asyncio
from seawall.durable import EmbeddedStore, Idempotency
from tests.durable.idempotency.paying import Bank

async def main():
    bank, store = Bank({place.witness!r}), EmbeddedStore({place.url!r})
    payments = Idempotency(store, "payments", wait=30)
    print(await asyncio.gather(*(payments.acall("k", bank.apay) for _ in range(30))))
    await store.aclose()

asyncio.run(main())
"""
    command = [sys.executable, "-c", program]
    crew = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {process.communicate(timeout=2 * PATIENCE)[0] for process in crew}

    assert {f"{[PAID] * 30}\n"} == outputs
    assert 1 == place.bank.paid()
