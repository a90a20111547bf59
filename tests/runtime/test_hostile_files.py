"""What strangers, crashes and cleaners leave in the directory: it is left out, and nobody falls over it."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from seawall._runtime import files
from seawall._runtime.directory import Directory
from seawall._runtime.runtime import Runtime
from tests.runtime.fleet import GONE, until

GARBAGE = {
    "empty": b"",
    "truncated": b'{"id": "1-1", "sections": {"m": {"coun',
    "no object": b"[1, 2]",
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "a huge number": b'{"id": "1-1", "sections": ' + b"9" * 10_000 + b"}",
    "other types": b'{"id": 7, "sections": [], "folded": {}, "revision": true}',
    "half right": b'{"id": "1-1", "sections": {"m": 7, "n": {"counters": 8}}, "folded": [9], "revision": 1}',
}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """A directory in which nothing is."""
    directory = Directory(tmp_path / "run")
    directory.make()
    return directory


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_in_any_file_is_left_out(directory: Directory, content: bytes) -> None:
    """In the snapshot of a living and of a dead worker, the sums and the control file: all goes on, and is mended."""
    alive = f"{os.getpid()}-1"
    for path in (directory.snapshot(alive), directory.snapshot(f"{GONE}-1"), directory.retired, directory.control):
        path.write_bytes(content)
    told: list[Any] = []
    runtime = Runtime("service", path=directory.path)
    runtime.contribute("m", lambda: {"counters": {"calls": {"[]": 1}}})
    runtime.obey("s", told.append)
    with runtime:
        gathering = runtime.gather()
        assert [runtime.worker] == [worker["id"] for worker in gathering.workers]
        assert {} == gathering.retired.get("m", {})
        assert [{}] == told
        runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
        until(lambda: told == [{}, {"a": 1}])
        assert not directory.snapshot(f"{GONE}-1").exists()


def test_amounts_that_are_none_are_left_out(directory: Directory) -> None:
    """Texts, NaN, infinities, booleans and lists with such in them count for nothing; the rest of the file counts."""
    good = {"[]": 2, '["a"]': 0.5, '["b"]': [1, 2.5]}
    bad = ["text", float("nan"), float("inf"), True, None, {}, [], [1, "x"], [float("nan")], 10**400]
    counters = {"calls": {**good, **{f'["bad{number}"]': value for number, value in enumerate(bad)}}, "other": 7}
    worker = f"{GONE}-1"
    directory.snapshot(worker).write_text(json.dumps({"id": worker, "sections": {"m": {"counters": counters}}}))
    assert {"m": {"calls": good}} == Runtime("service", path=directory.path).retired()


def test_the_copy_of_a_snapshot_counts_for_nobody(directory: Directory) -> None:
    """A snapshot under another worker's name is not believed."""
    snapshot = {"id": f"{GONE}-1", "sections": {"m": {"counters": {"calls": {"[]": 1}}}}}
    for number in (1, 2, 3):
        directory.snapshot(f"{GONE}-{number}").write_text(json.dumps(snapshot))
    assert {"m": {"calls": {"[]": 1}}} == Runtime("service", path=directory.path).retired()


def test_files_of_other_names_are_left_alone(directory: Directory) -> None:
    """Whoever they belong to."""
    for name in ("README", "1.json", "x-1.json", "1-1-1.json", ".1-1.json"):
        (directory.workers / name).write_text("{}")
    runtime = Runtime("service", path=directory.path)
    assert ([], {}) == (runtime.workers(), runtime.retired())
    assert 5 == len(list(directory.workers.iterdir()))


def test_links_pipes_and_folders_are_not_followed_or_waited_for(directory: Directory, tmp_path: Path) -> None:
    """In the place of every file that is read; what a link leads to is neither shown nor changed."""
    secret = tmp_path / "secret"
    worker = f"{os.getpid()}-1"
    secret.write_text(json.dumps({"id": worker, "sections": {"m": {}}, "folded": [], "revision": 1}))
    content = secret.read_text()
    for path in (directory.snapshot(worker), directory.retired, directory.control):
        path.symlink_to(secret)
    os.mkfifo(directory.snapshot(f"{os.getpid()}-2"))
    directory.snapshot(f"{GONE}-3").mkdir()
    runtime = Runtime("service", path=directory.path)
    assert ([], {}, {}) == (runtime.workers(), runtime.retired(), runtime.control())
    runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
    assert {"s": {"a": 1}} == runtime.control()
    assert content == secret.read_text()
    files.unfinished(directory.control).symlink_to(secret)
    with pytest.raises(OSError, match=r"(?i)link"):
        runtime.change("s", lambda old: {}, actor="a", reason="r")
    directory.audit.unlink()
    directory.audit.symlink_to(secret)
    with pytest.raises(OSError, match=r"(?i)link"):
        runtime.change("s", lambda old: {}, actor="a", reason="r")
    assert content == secret.read_text()
    assert {"s": {"a": 1}} == runtime.control()


def test_a_file_that_is_too_long_is_not_read(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out with one warning, however often it is met."""
    path = directory.snapshot(f"{os.getpid()}-1")
    with path.open("wb") as file:
        file.truncate(files.LONGEST + 1)
    runtime = Runtime("service", path=directory.path)
    assert [[], []] == [runtime.workers(), runtime.workers()]
    assert 1 == sum("longer than" in record.message for record in caplog.records)


def test_files_of_others_are_not_believed(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns a file is asked of the open file, not of its name."""
    path = directory.snapshot(f"{os.getpid()}-1")
    path.write_text(json.dumps({"id": f"{os.getpid()}-1", "sections": {}}))
    assert 1 == len(Runtime("service", path=directory.path).workers())
    real = files._problem
    monkeypatch.setattr(
        files, "_problem", lambda facts: real(os.stat_result((*facts[:4], facts.st_uid + 1, *facts[5:])))
    )
    assert [] == Runtime("service", path=directory.path).workers()


def test_what_a_cleaner_sweeps_away_is_put_there_again(directory: Directory) -> None:
    """First the sign of life alone, which is no death; then everything."""
    runtime = Runtime("service", path=directory.path)
    runtime.contribute("m", lambda: {"counters": {"calls": {"[]": 3}}})
    with runtime:
        assert runtime.worker is not None
        directory.sign(runtime.worker).unlink()
        Runtime("service", path=directory.path).sweep()
        assert [runtime.worker] == [worker["id"] for worker in runtime.workers()]
        assert directory.sign(runtime.worker).exists()
        shutil.rmtree(directory.path)
        assert ([runtime.worker], {}) == ([worker["id"] for worker in runtime.workers()], runtime.retired())
        assert directory.sign(runtime.worker).exists()


def test_what_is_in_the_sums_already_does_not_count_once_more(directory: Directory) -> None:
    """Whoever has folded a worker that turns out to live: it is counted once."""
    runtime = Runtime("service", path=directory.path)
    runtime.contribute("m", lambda: {"counters": {"calls": {"[]": 3}}})
    with runtime:
        sums = {"sections": {"m": {"calls": {"[]": 3}}}, "folded": [runtime.worker]}
        directory.retired.write_text(json.dumps(sums))
        assert ([], {"m": {"calls": {"[]": 3}}}) == (runtime.workers(), runtime.retired())


def test_a_file_is_replaced_as_a_whole(directory: Directory) -> None:
    """Whoever reads meanwhile sees one content or the other."""
    done = threading.Event()
    seen: list[str | None] = []

    def read() -> None:
        while not done.is_set():
            seen.append(files.read(directory.control))

    texts = ["a" * 500_000, "b" * 400_000]
    files.replace(directory.control, texts[0])
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        files.replace(directory.control, texts[number % 2])
    done.set()
    reader.join()
    assert set(seen) <= set(texts)


def test_a_part_that_fails_is_quoted_from_the_last_time(directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    """Its counts do not fall, the other parts go on, and it is logged once."""
    runtime = Runtime("service", path=directory.path)
    answers = iter([{"counters": {"calls": {"[]": 1}}}])
    runtime.contribute("failing", lambda: next(answers))
    runtime.contribute("circular", _circle)
    runtime.contribute("odd", lambda: {"set": {1}, "object": Odd(), 7: b"x", (1, 2): 3})
    runtime.contribute("fine", lambda: {"a": 1})
    with runtime:
        for _ in range(3):
            (worker,) = runtime.workers()
        assert {"counters": {"calls": {"[]": 1}}} == worker["sections"]["failing"]
        assert {"a": 1} == worker["sections"]["fine"]
        assert {"set": "{1}", "object": "<Odd>", "7": "b'x'"} == worker["sections"]["odd"]
    assert 2 == sum("could not be collected" in record.message for record in caplog.records)


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


class Odd:
    """An object that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")
