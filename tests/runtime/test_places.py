"""Where the directory is, when it is refused, and what is done without one."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from seawall._runtime import directory as places
from seawall._runtime import files
from seawall._runtime.runtime import Runtime
from tests.runtime.fleet import environment


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable says anything, and the temporary directory is the test's own."""
    monkeypatch.delenv("SEAWALL_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_variable_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path is meant from here, and missing folders are made."""
    monkeypatch.setenv("SEAWALL_RUNTIME_DIR", str(tmp_path / "a" / "b"))
    with Runtime("service") as runtime:
        assert tmp_path / "a" / "b" == runtime.path
        assert 0o700 == (tmp_path / "a" / "b").stat().st_mode & 0o777
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEAWALL_RUNTIME_DIR", "a")
    assert tmp_path / "a" == Runtime("service").path


def test_else_it_is_made_by_user_and_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the session's directory where that is ours, else in the temporary one."""
    name = f"seawall-{os.geteuid()}-book%2Fing"
    assert tmp_path / name == Runtime("book/ing").path
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert session / name == Runtime("book/ing").path
    monkeypatch.setenv("XDG_RUNTIME_DIR", "session")
    assert tmp_path / name == Runtime("book/ing").path
    session.chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert tmp_path / name == Runtime("book/ing").path


@pytest.mark.parametrize("service", ["..", "a/../../b", "ä" * 80, " ", "%2F", "\x00"])
def test_no_name_leads_elsewhere(service: str, tmp_path: Path) -> None:
    """Whatever a service is called, its directory is one step below, and works."""
    with Runtime(service) as runtime:
        assert runtime.path is not None
        assert tmp_path == runtime.path.parent
        assert 1 == len(runtime.workers())


@pytest.mark.parametrize(("service", "error"), [("", ValueError), ("x" * 81, ValueError), (7, TypeError)])
def test_a_name_is_a_text_of_some_length(service: object, error: type[Exception]) -> None:
    """The error says what would be right."""
    with pytest.raises(error, match=r"service=.* use a text of 1 to 80 characters"):
        Runtime(service)  # type: ignore[arg-type]


def test_everything_in_it_is_closed_to_others(tmp_path: Path) -> None:
    """Whatever the umask: folders 0700, files 0600."""
    before = os.umask(0)
    try:
        with Runtime("service", path=tmp_path / "run") as runtime:
            runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
            runtime.gather()
        found = {path.is_dir(): path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*")}
    finally:
        os.umask(before)
    assert {True: 0o700, False: 0o600} == found


def alone(path: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Runs a worker that cannot use its directory, and returns its warning."""
    runtime = Runtime("service", path=path)
    runtime.contribute("m", lambda: {"a": 1})
    told: list[object] = []
    runtime.obey("s", told.append)
    with runtime:
        for _ in range(3):
            runtime.write_now()
        (worker,) = runtime.workers()
        assert (runtime.worker, {"a": 1}) == (worker["id"], worker["sections"]["m"])
        assert ({}, {}) == (runtime.retired(), runtime.control())
    assert [{}] == told
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return warning


def test_a_link_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody may have put it there to lead us on. One warning, and the process speaks for itself alone."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to("real")
    assert "symbolic link" in alone(tmp_path / "run", caplog)
    assert [] == list((tmp_path / "real").iterdir())


def test_a_link_inside_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also in the place of the workers' folder."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "workers").symlink_to(tmp_path / "real")
    assert "symbolic link" in alone(tmp_path / "run", caplog)
    assert [] == list((tmp_path / "real").iterdir())


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The warning says how to mend it; nothing is changed unasked."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o1777)
    assert "may be written to by others (mode 777); make it 700" in alone(tmp_path / "run", caplog)


def test_a_directory_of_somebody_else_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its mode."""
    (tmp_path / "run").mkdir(mode=0o700)
    we = os.geteuid()
    monkeypatch.setattr(places.os, "geteuid", lambda: we + 1)
    assert f"belongs to user {we}, not to us ({we + 1})" in alone(tmp_path / "run", caplog)


def test_without_any_place_a_process_speaks_for_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a system whose file systems are all read-only: a change reaches this process, and says so."""

    def none() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    runtime = Runtime("service")
    told: list[object] = []
    runtime.obey("s", told.append)
    with runtime:
        assert (None, 1) == (runtime.path, len(runtime.workers()))
        assert {"a": 1} == runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
        assert {"s": {"a": 1}} == runtime.control()
    warnings = [record.getMessage().partition(",")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert ["no runtime directory for 'service'", "there is no runtime directory: a change of 's' reaches"] == [
        warnings[0],
        warnings[1].removesuffix(" this process alone"),
    ]


def test_a_file_in_its_place_is_no_directory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is what would lie below a file, where nothing can be made."""
    (tmp_path / "file").touch()
    assert alone(tmp_path / "file", caplog)
    caplog.clear()
    assert alone(tmp_path / "file" / "run", caplog)


def test_a_full_disk_is_got_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning while it lasts; the others' files and its own memory are shown; then everything is written again."""
    full = [False]
    write = os.write

    def limited(handle: int, content: bytes) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        return write(handle, content)

    monkeypatch.setattr(files.os, "write", limited)
    count = [1]
    runtime, other = Runtime("service", path=tmp_path / "run"), Runtime("service", path=tmp_path / "run")
    runtime.contribute("m", lambda: {"counters": {"calls": {"[]": count[0]}}})
    with other, runtime:
        full[0], count[0] = True, 2
        for _ in range(3):
            gathering = runtime.gather()
        assert {other.worker: {}, runtime.worker: {"counters": {"calls": {"[]": 2}}}} == {
            worker["id"]: worker["sections"].get("m", {}) for worker in gathering.workers
        }
        with pytest.raises(OSError, match="No space"):
            runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
        assert {} == runtime.control()
        full[0], count[0] = False, 3
        assert runtime.write_now()
        (seen,) = [worker for worker in other.workers() if worker["id"] == runtime.worker]
        assert {"counters": {"calls": {"[]": 3}}} == seen["sections"]["m"]
        assert [] == list((tmp_path / "run").rglob("*.new"))
    assert [1, 1] == [
        sum(text in record.getMessage() and record.levelname == "WARNING" for record in caplog.records)
        for text in ("speaks for itself alone: [Errno 28]", "can be used again")
    ]


FULL = """
import resource, sys
from seawall._runtime.runtime import Runtime

count = [1]
runtime = Runtime("service", path=sys.argv[1])
runtime.contribute("m", lambda: {"counters": {"calls": {"[]": count[0]}}})
runtime.start()
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20, limit[1]))
count[0] = 2
assert not runtime.write_now()
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
assert runtime.write_now()
print(runtime.workers()[0]["sections"])
"""


def test_a_disk_that_really_takes_no_more_is_got_over(tmp_path: Path) -> None:
    """The kernel refuses the writing in the middle of a file: the old content stays, and the next one is whole."""
    assert resource.RLIMIT_FSIZE
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "run")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("{'m': {'counters': {'calls': {'[]': 2}}}}\n", 0) == (ran.stdout, ran.returncode), ran.stderr


def test_starting_and_stopping_twice_is_once(tmp_path: Path) -> None:
    """One thread, one file; and it may be started again, as another worker."""
    runtime = Runtime("service", path=tmp_path / "run")
    runtime.stop()
    runtime.start()
    first = runtime.worker
    runtime.start()
    assert [first] == [worker["id"] for worker in runtime.workers()]
    runtime.stop()
    runtime.stop()
    assert (None, []) == (runtime.worker, runtime.workers())
    with runtime:
        assert first != runtime.worker
        assert 1 == len(runtime.workers())


def test_a_process_that_just_ends_leaves_its_last_counts(tmp_path: Path) -> None:
    """Without `stop`, too: what it counted after its last snapshot is not lost."""
    script = (
        "import sys; from seawall._runtime.runtime import Runtime; count = [1]; "
        "r = Runtime('service', path=sys.argv[1]); "
        "r.contribute('m', lambda: {'counters': {'calls': {'[]': count[0]}}}); r.start(); count[0] = 2"
    )
    with Runtime("service", path=tmp_path / "run") as runtime:
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], env=environment(), check=True)
        assert {"m": {"calls": {"[]": 2}}} == runtime.retired()


def test_a_reader_makes_nothing(tmp_path: Path) -> None:
    """Who only looks leaves no directory behind."""
    runtime = Runtime("service", path=tmp_path / "run")
    assert ([], {}, {}) == (runtime.workers(), runtime.retired(), runtime.control())
    assert not (tmp_path / "run").exists()
