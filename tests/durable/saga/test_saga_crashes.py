"""Killed -9 at every crash point, a saga of five steps ends with all of its effects, or with none."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from seawall.durable.migrations import upgrade
from seawall.durable.outbox import Outbox
from seawall.durable.saga_rows import key_of
from seawall.durable.sagas import Sagas
from seawall.durable.script import Script, Statement
from seawall.testing import Crash, CrashRunner
from tests.durable.saga.crashing import LEASE, SAGA, STEPS, World, closed, definition, pursue, store_of
from tests.servers import PostgreSQL

FULL = bool(os.environ.get("SEAWALL_SOAK"))
GRACE = 5.0
BY_HAND = "UPDATE seawall_saga SET lease_until = lease_until - 3600 WHERE owner IS NOT NULL"


class Forks:
    """A process that forks sagas, imported once."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.durable.saga.crashing"]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **order: str) -> int:
        """Runs one saga; returns its exit code, negative for the signal that killed it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate(timeout=20)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One for all of this module."""
    forks = Forks()
    yield forks
    forks.close()


class Runner(CrashRunner):
    """Crashes sagas in forks."""

    def __init__(self, forks: Forks, folder: Path, **order: str) -> None:
        super().__init__(["true"])
        self._forks, self._errors, self._order = forks, folder / "errors", order

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        at, record = extra.get("SEAWALL_CRASH_AT", ""), extra.get("SEAWALL_CRASH_RECORD", "")
        self._errors.write_text("")
        code = self._forks.run(**self._order, at=at, record=record, errors=str(self._errors))
        return subprocess.CompletedProcess([], code, "", self._errors.read_text())


class Place:
    """Where the sagas of one kind of store are, and what is done to them there."""

    def __init__(self, kind: str, folder: Path, server: PostgreSQL | None) -> None:
        self.kind, self._folder, self._server = kind, folder, server
        self._stack = contextlib.ExitStack()
        self.world = World(folder / "world.db")

    def fresh(self) -> None:
        """Begins with an empty store."""
        if self._server is None:
            for file in self._folder.glob("sagas.db*"):
                file.unlink()
        else:
            self.sql("TRUNCATE seawall_saga, seawall_saga_step, seawall_outbox")
        self.world.make()

    @property
    def url(self) -> str:
        """Of the store."""
        if self._server is None:
            return str(self._folder / "sagas.db")
        if not hasattr(self, "_database"):
            self._database = self._stack.enter_context(self._server.database())
            store, _ = store_of("psycopg", self._database.url)
            upgrade(store)
            closed(store)
        return self._database.url

    def sql(self, text: str) -> None:
        """Does something to the rows, as time would."""

        def script() -> Script[None]:
            yield Statement(text), {}

        with contextlib.suppress(KeyError):
            store, _ = store_of("psycopg" if self._server else "embedded", self.url)
            try:
                store.run(script)
            finally:
                closed(store)

    def close(self) -> None:
        """Drops it."""
        self._stack.close()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Of the kind that the test asks for."""
    on_server = request.param in ("psycopg", "asyncpg")
    place = Place(request.param, tmp_path, request.getfixturevalue("postgresql_server") if on_server else None)
    yield place
    place.close()


def wrong(place: Place, course: str) -> str | None:
    """Goes on with a saga whose lease has run out, and says what is wrong with the end; None: nothing."""
    place.sql(BY_HAND)
    report = pursue(place.kind, place.url, course, place.world)
    expected = ("completed", sorted(STEPS)) if course == "completes" else ("compensated", [])
    left = sorted(step for (step,) in place.world.say("SELECT step FROM effects"))
    if (report.state, left) != expected:
        return f"{report.state} with {left}"
    calls = place.world.say("SELECT DISTINCT kind, step, key FROM calls")
    keys = {("act", step, key_of(SAGA, step)) for step in STEPS}
    if course == "compensates":
        keys |= {("undo", step, key) for _, step, key in keys}
    return None if set(calls) == keys else f"the calls were {sorted(calls)}"


@pytest.mark.soak
@pytest.mark.parametrize("course", ["completes", "compensates"])
@pytest.mark.parametrize("place", ["embedded", "embedded-async", "psycopg", "asyncpg"], indirect=True)
def test_all_effects_or_none_wherever_it_is_killed(forks: Forks, place: Place, course: str, tmp_path: Path) -> None:
    """Durable 25: each action and each undoing is seen, with its one key, and the saga ends."""
    runner = Runner(forks, tmp_path, kind=place.kind, url=place.url, course=course, world=str(place.world.path))
    place.fresh()
    crashes = runner.record()
    points = {crash.point for crash in crashes}
    marks = {"claim", "begin_step", "act", "end_step", "send_step", "wait", "end"}
    marks |= {"compensate", "begin_undo", "undo", "end_undo", "send_undo"} if course == "compensates" else set[str]()
    assert {f"saga.{mark}.{side}" for mark in marks for side in ("before", "after")} < points
    assert {"store.commit.before", "store.commit.after", "effect.before", "effect.after"} < points
    problems = {}
    for crash in chosen(place, crashes):
        place.fresh()
        runner.crash(crash)
        problem = wrong(place, course)
        if problem is not None:
            problems[str(crash)] = problem
    assert {} == problems


def chosen(place: Place, crashes: tuple[Crash, ...]) -> list[Crash]:
    """Returns all of them in a soak; else, on embedded, the first passage of every point, and elsewhere a few."""
    if FULL:
        return list(crashes)
    if place.kind == "embedded":
        return [crash for crash in crashes if crash.count == 1]
    return list(crashes[len(place.kind) :: len(crashes) // 8])


@pytest.mark.parametrize("place", ["embedded", "psycopg"], indirect=True)
def test_a_killed_workers_saga_has_an_owner_again_in_time(forks: Forks, place: Place, tmp_path: Path) -> None:
    """Nobody helps: within its lease and 5 seconds another worker has taken it, and ends it."""
    place.fresh()
    runner = Runner(forks, tmp_path, kind=place.kind, url=place.url, course="compensates", world=str(place.world.path))
    runner.crash(Crash("saga.act.after", 2))
    store, _ = store_of(place.kind, place.url)
    sagas = Sagas(
        store, [definition(place.world, "compensates", "sync")], outbox=Outbox(store), lease=LEASE, heartbeat=0.25
    )
    told: list[Any] = []
    sagas.listen(told.append)
    assert sagas.show(SAGA).held
    with sagas:
        end = time.monotonic() + LEASE + GRACE
        while not told and time.monotonic() < end:
            time.sleep(0.01)
        assert "SagaTakenOver" == type(told[0]).__name__
        Sagas(store).resolve(SAGA, "enough")
    closed(store)
