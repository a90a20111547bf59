"""A worker leaves while others die, leave or begin: whatever comes between two of its steps, no sum is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seawall._runtime import retired
from seawall._runtime.directory import Directory
from seawall._runtime.retired import Retired
from seawall._runtime.runtime import Runtime
from tests.runtime.fleet import GONE, Fleet, calls_in, until

LEFT = {"m": {"calls": {"[]": 5}}}


def leaves(path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Lets a worker that has counted to 5 stop; `meanwhile` happens when it has folded in itself and the dead."""
    leaving = Runtime("fleet", path=path)
    leaving.contribute("m", lambda: {"counters": LEFT["m"]})
    leaving.start()
    fold = retired.fold

    def fold_then(directory: Directory) -> Retired:
        sums = fold(directory)
        meanwhile()
        return sums

    with monkeypatch.context() as patched:
        patched.setattr(retired, "fold", fold_then)
        leaving.stop()


def test_a_worker_killed_while_the_last_other_one_leaves_takes_no_sums_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its death comes after the folding and before the look at who is left: that is no end in good order of all."""
    with Fleet(tmp_path / "run", 1) as fleet:
        (killed,) = fleet.all
        killed.ask("calls", 10)
        killed.ask("scrape")
        leaves(fleet.path, monkeypatch, killed.kill)
        reader = Runtime("fleet", path=fleet.path)
        assert LEFT["m"] == reader.retired()["m"]
        assert 10 == calls_in(fleet.add().ask("scrape"))
        assert LEFT["m"] == reader.retired()["m"]


def test_of_two_that_leave_at_once_the_later_one_forgets_the_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one stops in good order while the first one is at it: the service has ended, nothing is left."""
    with Fleet(tmp_path / "run", 1) as fleet:
        (other,) = fleet.all
        other.ask("calls", 10)
        directory = Directory(fleet.path)

        def other_leaves() -> None:
            other.send("end")
            until(lambda: not directory.is_alive(other.id))
            assert directory.retired.exists()

        leaves(fleet.path, monkeypatch, other_leaves)
        other.answer()
        assert not directory.retired.exists()
        assert [] == list(directory.listed())


def test_a_worker_that_begins_while_the_last_one_leaves_goes_on_from_its_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has put up its sign of life in time is a worker, though it has not said anything yet."""
    with Fleet(tmp_path / "run", 0) as fleet:
        leaves(fleet.path, monkeypatch, fleet.add)
        assert LEFT["m"] == Runtime("fleet", path=fleet.path).retired()["m"]


def test_a_worker_killed_before_its_first_snapshot_has_not_stopped_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has nothing to add, and yet the service was not whole when the last one stopped: the sums stay."""
    directory = Directory(tmp_path / "run")
    directory.make()
    directory.sign(f"{GONE}-1").touch()
    leaves(directory.path, monkeypatch, lambda: None)
    assert LEFT == Runtime("fleet", path=directory.path).retired()
