"""Killed -9 at every crash point from the order of an invoice to its notification: nothing is lost, nothing doubled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from seawall.testing import Crash, CrashRunner
from tests.examples.dhanman.office import Books, Others

FULL = bool(os.environ.get("SEAWALL_SOAK"))
ROOT = Path(__file__).resolve().parents[3]
COURSES = ("completed", "compensated")
COMMITS = {"transaction.commit.before", "transaction.commit.after", "store.commit.before", "store.commit.after"}
MARKS = {"idempotency.claim", "saga.claim", "saga.send_step", "saga.end", "outbox.send"}


class Forks:
    """A process that forks crossings, imported once."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.examples.dhanman.crossing"]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )

    def run(self, **order: object) -> int:
        """Runs one crossing; returns its exit code, negative for the signal that killed it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._server.communicate(timeout=20)


class Crossings(CrashRunner):
    """Crashes crossings in forks."""

    def __init__(self, forks: Forks, books: Books, others: Others, said: Path) -> None:
        super().__init__(["true"])
        self.said, self._forks = said, forks
        self._order = {"database": books.url, "elsewhere": others.urls, "said": str(said)}

    def _run(self, extra: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        at, record = extra.get("SEAWALL_CRASH_AT", ""), extra.get("SEAWALL_CRASH_RECORD", "")
        self.said.write_text("")
        code = self._forks.run(**self._order, at=at, record=record)
        return subprocess.CompletedProcess([], code, "", self.said.read_text())

    def to_the_end(self) -> str:
        """Runs one that nobody kills; returns the answer to the customer."""
        done = self._run({})
        assert 0 == done.returncode, done.stderr
        return done.stderr


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One for all of this module."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def others() -> Iterator[Others]:
    """Payment gateway and the rest, for all crossings."""
    with Others() as others:
        yield others


@pytest.fixture
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Books:
    """The database of the kind that the test asks for."""
    if request.param == "sqlite":
        return Books(tmp_path / "dhanman.sqlite3")
    return Books(request.getfixturevalue("postgresql_database"))


def wrong(books: Books, others: Others, course: str) -> str | None:
    """Says what is wrong after the end; None: nothing."""
    problem = books.wrong(invoices=1)
    if problem is not None:
        return problem
    states = books.sql("SELECT state FROM seawall_saga")
    booked = books.sql("SELECT CASE WHEN reversed THEN 'yes' ELSE 'no' END FROM common_ledger_entry")
    told = books.sql("SELECT state FROM notification")
    waiting = books.number("SELECT count(*) FROM seawall_outbox WHERE sent_at IS NULL")
    sent = len(others.each["email"].done) + len(others.each["sms"].done)
    good = course == "completed"
    expected = ([(course,)], [("no" if good else "yes",)], [("sent" if good else "failed",)], 0, int(good))
    found = (states, booked, told, waiting, sent)
    return None if expected == found else f"{found} in place of {expected}"


@pytest.mark.soak
@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("books", ["sqlite", "postgresql"], indirect=True)
def test_nothing_is_lost_or_doubled_wherever_it_is_killed(
    forks: Forks, books: Books, others: Others, course: str, tmp_path: Path
) -> None:
    """W1, W2: one invoice, two entries, one booking, one notification, or the booking reversed; nothing in between."""
    for name in ("email", "sms"):
        others.each[name].fault = None if course == "completed" else "error"
    runner = Crossings(forks, books, others, tmp_path / "said")
    books.fresh()
    crashes = runner.record()
    points = {crash.point for crash in crashes}
    assert points >= COMMITS
    assert {f"{mark}.{side}" for mark in MARKS for side in ("before", "after")} <= points, points
    problems, killed = {}, 0
    for crash in (asked := chosen(crashes)):
        books.fresh()
        others.forget()
        try:
            runner.crash(crash)
        except RuntimeError as error:
            if "ended with 0" not in str(error):  # it passed one time fewer than at first: then it came to its end
                raise
        else:
            killed += 1
        books.time_passes()
        answer = runner.to_the_end()
        problem = wrong(books, others, course)
        if problem is None and answer.find(books.sql("SELECT id FROM invoice")[0][0]) < 0:
            problem = f"the answer was {answer}"
        if problem is not None:
            problems[str(crash)] = problem
    print(f"{course}, points: {len(points)}, runs: {len(asked)}, killed: {killed}, problems: {len(problems)}")
    assert {} == problems
    assert killed >= len(asked) // 2


def chosen(crashes: tuple[Crash, ...]) -> list[Crash]:
    """Returns all of them in a soak; else a few, all over the way."""
    if FULL:
        return list(crashes)
    way = [crash for crash in crashes if not crash.point.startswith("reap.")]
    return way[:: len(way) // 4]
