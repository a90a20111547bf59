"""An embedded store and processes: killed, forked, stopped, and several at once."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.durable import EmbeddedStore, StoreError
from seawall.testing import Crash, CrashRunner
from tests.durable.stores.words import PATIENCE, count, every, keys_in, putting

WORDS = """
import asyncio, os, signal, sqlite3, sys, threading, time, warnings
from functools import partial
from pathlib import Path
from tests.durable.stores.words import *
from seawall.durable import EmbeddedStore, StoreError
path = sys.argv[1]

def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            done = work()
            print("child", done, flush=True)
        except BaseException as error:
            print("child raised", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "seawall.db"


@pytest.fixture(autouse=True)
def tests_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a script that lies elsewhere."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]), prepend=os.pathsep)


def command(path: Path, code: str) -> list[str]:
    """Returns the command that runs a piece of code in a process of its own, a warning being an error."""
    return [sys.executable, "-W", "error", "-c", WORDS + textwrap.dedent(code), str(path)]


def ran(path: Path, code: str) -> str:
    """Runs a piece of code in a process of its own; returns what it printed."""
    done = subprocess.run(command(path, code), capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stderr
    return done.stdout


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are killed at the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE)


def assert_locked(error: StoreError) -> None:
    """Holds an error to what it must say."""
    assert "locked by another process for more than 0.3 s" in str(error)


class TestForks:
    """In a child, the store goes on with a connection of its own."""

    def test_parent_and_children_all_go_on(self, path: Path) -> None:
        """A store that was open before the fork is used by all of them afterwards, and nothing is lost."""
        code = """
            store = EmbeddedStore(path)
            store.run(putting("parent 1"))

            def work():
                return [store.run(putting(f"child {os.getpid()} {number}")) for number in range(20)].count(True)

            children = []
            for _ in range(3):
                child = os.fork()
                if child == 0:
                    signal.alarm(20)
                    done = work()
                    store.close()
                    os._exit(0 if done == 20 else 1)
                children.append(child)
            mine = [store.run(putting(f"parent 2 {number}")) for number in range(20)].count(True)
            print(mine, [os.waitpid(child, 0)[1] for child in children], store.run(count))
        """
        assert "20 [0, 0, 0] 81\n" == ran(path, code)
        assert ["seawall.db"] == [each.name for each in path.parent.iterdir()]

    def test_a_fork_while_others_write_takes_nothing_along(self, path: Path) -> None:
        """Threads that write all the time; the child holds real locks of its own, so it never sees half of anything."""
        code = """
            store = EmbeddedStore(path)
            ending = threading.Event()
            written = []

            def writing(name):
                number = 0
                while not ending.is_set():
                    assert store.run(putting(f"{name} {number}"))
                    number += 1
                written.append(number)

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads, from Python 3.12 on
                threads = [started(writing, name) for name in ("a", "b")]
                codes = [in_child(lambda: store.run(putting(f"child {n}"))) for n in range(5)]
            ending.set()
            for thread in threads:
                thread.join()
            assert store.run(count) == sum(written) + 5
            print(codes)
        """
        assert ["child True"] * 5 + ["[0, 0, 0, 0, 0]"] == ran(path, code).splitlines()

    def test_the_childs_locks_are_its_own(self, path: Path) -> None:
        """SQLite would take the parent's for the child's: then the parent could not close its connection safely."""
        code = """
            store = EmbeddedStore(path)
            store.run(putting("a"))

            def work():
                store.run(putting("b"))
                return f" {os.getpid()} " in Path("/proc/locks").read_text()

            print(in_child(work))
        """
        if not Path("/proc/locks").exists():
            pytest.skip("only Linux lists its locks")
        assert "child True\n0\n" == ran(path, code)

    def test_an_effect_that_forks_leaves_its_child_without_the_store(self, path: Path) -> None:
        """A transaction cannot be in two processes: the child is told so, and the parent goes on."""
        code = """
            store = EmbeddedStore(path)

            def work():
                try:
                    store.run(every)
                except StoreError as error:
                    return "forked while" in str(error)

            def effect(db):
                db.execute("INSERT INTO seawall_txn VALUES ('a', 0)")
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    return in_child(work)

            print(store.transact(effect), store.run(every))
        """
        assert "child True\n0 ['a']\n" == ran(path, code)

    def test_a_store_that_was_not_used_yet_is_no_matter(self, path: Path) -> None:
        """As in a server that forks its workers: each opens it by itself."""
        code = """
            store = EmbeddedStore(path)
            print(in_child(lambda: store.run(putting("child"))), store.run(every))
        """
        assert "child True\n0 ['child']\n" == ran(path, code)

    def test_a_store_in_memory_stays_with_the_parent(self, path: Path) -> None:
        """The child has an empty one."""
        code = """
            store = EmbeddedStore.in_memory()
            store.run(putting("parent"))
            print(in_child(lambda: store.run(every)), store.run(every))
        """
        assert "child []\n0 ['parent']\n" == ran(path, code)


class TestEnds:
    """However a process ends."""

    def test_a_process_that_ends_without_a_word_leaves_one_file(self, path: Path) -> None:
        """No `close()`, no warning: what was asked for is there, and the log is in the file."""
        code = """
            store = EmbeddedStore(path)
            store.run(putting("kept"))
        """
        assert "" == ran(path, code)
        assert ["seawall.db"] == [each.name for each in path.parent.iterdir()]
        assert ["kept"] == keys_in(path)

    def test_killed_at_any_point_each_is_there_or_not_as_a_whole(self, path: Path) -> None:
        """What was answered is there; of a pair written together, both or none."""
        script = path.with_name("scenario.py")
        script.write_text(
            WORDS
            + textwrap.dedent("""
                answered = open(path + ".answered", "a")

                def pair(number):
                    yield from put(f"{number} one")
                    yield from put(f"{number} two")

                async def one(number):
                    await store.arun(partial(pair, number))
                    answered.write(f"{number}\\n")
                    answered.flush()

                async def all_of_them():
                    await one(0)
                    await asyncio.gather(*(one(number) for number in range(1, 6)))

                store = EmbeddedStore(path)
                asyncio.run(all_of_them())
                store.close()
            """)
        )
        answers = Path(f"{path}.answered")

        def before() -> None:
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink()

        def check(crash: Crash) -> str | None:
            with EmbeddedStore(path) as store:
                store.run(count)  # it can be opened, and brings the log in
            keys = keys_in(path)
            pairs = {key.split()[0] for key in keys}
            answered = set(answers.read_text().split()) if answers.exists() else set()
            if len(keys) != 2 * len(pairs):
                return f"half a pair: {keys}"
            return None if answered <= pairs else f"answered, and not there: {answered - pairs}"

        report = CrashRunner(["python", str(script), str(path)], timeout=60).run(before=before, check=check)
        assert () == report.problems, str(report)
        assert {"store.commit.before", "store.commit.after"} == {crash.point for crash in report.crashes}


class TestSeveral:
    """Processes that share a file."""

    def test_two_processes_share_the_file_fairly(self, path: Path, children: list[subprocess.Popen[str]]) -> None:
        """Both write as fast as they can: neither waits while the other one goes on and on."""
        code = """
            store = EmbeddedStore(path)
            store.run(putting(f"{os.getpid()} ready"))
            print("ready", flush=True)
            sys.stdin.readline()
            end, number, longest = time.monotonic() + 2.0, 0, 0.0
            while time.monotonic() < end:
                began = time.monotonic()
                store.run(putting(f"{os.getpid()} {number}"))
                longest = max(longest, time.monotonic() - began)
                number += 1
            print(number, longest)
        """
        for _ in range(2):
            children.append(
                subprocess.Popen(command(path, code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for child in children:
            assert child.stdout is not None
            assert "ready\n" == child.stdout.readline()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        figures = [child.communicate(timeout=PATIENCE)[0].split() for child in children]
        one, two = sorted(int(number) for number, _ in figures)
        assert one > 0
        assert two < 3 * one, figures
        with EmbeddedStore(path) as store:
            assert one + two + 2 == store.run(count)

    def test_a_stopped_process_stops_the_others_for_no_longer_than_busy_timeout(
        self, path: Path, children: list[subprocess.Popen[str]]
    ) -> None:
        """It is SIGSTOPped again and again, wherever it may be: the others are refused only while it holds the file."""
        code = """
            store = EmbeddedStore(path)
            number = 0
            while True:
                store.run(putting(f"other {number}"))
                number += 1
                if number == 1:
                    print("ready", flush=True)
                time.sleep(0.01)
        """
        child = subprocess.Popen(command(path, code), stdout=subprocess.PIPE, text=True)
        children.append(child)
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
        done = []
        with EmbeddedStore(path, busy_timeout=0.3) as store:
            for number in range(10):
                os.kill(child.pid, signal.SIGSTOP)
                try:
                    done.append(store.run(putting(f"mine {number}")))
                except StoreError as error:
                    assert_locked(error)
                os.kill(child.pid, signal.SIGCONT)
        with EmbeddedStore(path) as store:
            assert True is store.run(putting("mine at last"))
            assert len(done) + 1 == len([key for key in store.run(every) if key.startswith("mine")])

    def test_many_open_a_new_file_at_once(self, path: Path, children: list[subprocess.Popen[str]]) -> None:
        """The tables are made once, and nobody is refused."""
        code = """
            sys.stdin.readline()
            with EmbeddedStore(path) as store:
                print(store.run(putting(str(os.getpid()))))
        """
        for _ in range(4):
            children.append(
                subprocess.Popen(
                    command(path, code),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        assert [("True\n", "")] * 4 == [child.communicate(timeout=PATIENCE) for child in children]
        assert 4 == len(keys_in(path))
