"""Remote flags on the switchboard, whoever asks for them: what is in force, what holds, and what is written down."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from seawall._core.switch import SWITCHES
from seawall._registry import set_switches
from seawall._runtime.runtime import Runtime
from seawall.degrade import Switchboard, SwitchChanged


def remote() -> dict[str, float]:
    """Returns what remote flags say in this process."""
    return {switch.name: switch.share for switch in SWITCHES if switch.source == "remote"}


def audit(path: Path) -> list[tuple[Any, ...]]:
    """Returns actor, new shares and reason of every line of the audit log."""
    lines = [json.loads(line) for line in (path / "audit.log").read_text().splitlines()]
    return [
        (line["actor"], {name: each["share"] for name, each in line["new"].items()}, line["reason"]) for line in lines
    ]


def test_what_is_not_named_any_more_says_nothing() -> None:
    """Each call gives all that flags say."""
    board = Switchboard()
    board.follow([("retry", 0.0), ("@rates", 0.5)])
    assert {"retry": 0.0, "@rates": 0.5} == remote()
    board.follow([("@rates", 0.25)])
    assert {"@rates": 0.25} == remote()


def test_what_cannot_be_had_stays_as_it_was() -> None:
    """None leaves a switch where it is, and sets none that there was not."""
    board = Switchboard()
    board.follow([("retry", 0.0), ("hedge", 1.0)])
    board.follow([("retry", None), ("hedge", None), ("timeout", None)])
    assert {"retry": 0.0, "hedge": 1.0} == remote()
    board.follow([("hedge", None)])
    board.follow([("retry", None)])
    assert {} == remote()


def test_wrong_pairs_are_refused_and_change_nothing() -> None:
    """A name that is no switch, a share that is none."""
    board = Switchboard()
    board.follow([("retry", 0.0)])
    for wrong in (("retries", 0.0), ("hedge", 2.0), ("hedge", "off")):
        with pytest.raises((ValueError, TypeError)):
            board.follow([("retry", 1.0), wrong])  # type: ignore[list-item]
    assert {"retry": 0.0} == remote()


def test_listeners_hear_of_changes_alone() -> None:
    """The same once more is no change."""
    board = Switchboard()
    told: list[SwitchChanged] = []
    board.listen(told.append)
    for _ in range(3):
        board.follow([("retry", 0.0)], actor="openfeature:flagd")
    (change,) = told
    assert ("retry", 1.0, 0.0, "remote", "openfeature:flagd") == (
        change.name,
        change.old,
        change.new,
        change.source,
        change.actor,
    )


def test_a_change_is_written_down_once_for_all_workers(tmp_path: Path) -> None:
    """The first worker that hears of it writes it, the others find it there, and one that lags does not undo it."""
    one, other = (Switchboard(Runtime("shop", path=tmp_path)) for _ in range(2))
    for board in (one, other, one):
        board.follow([("retry", 0.0)], actor="flagd", reason="a flag says so")
    one.follow([("retry", 0.5)], actor="flagd")
    other.follow([("retry", 0.0)], actor="flagd")  # its provider does not know yet
    other.follow([("retry", 0.5)], actor="flagd")
    one.follow([], actor="flagd")
    expected = [("flagd", {"retry": share}, "a flag says so") for share in (0.0, 0.5)]
    assert [*expected, ("flagd", {}, "a flag says so")] == audit(tmp_path)


def test_it_is_in_force_though_it_cannot_be_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That is logged once, and written down as soon as it can be."""
    runtime = Runtime("shop", path=tmp_path)
    board = Switchboard(runtime)
    change = runtime.change

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no space left on device")

    runtime.change = full  # type: ignore[method-assign]
    board.follow([("retry", 0.0)])
    board.follow([("retry", 0.0), ("hedge", 0.1)])
    assert ({"retry": 0.0, "hedge": 0.1}, 1) == (remote(), caplog.text.count("no space left on device"))
    runtime.change = change  # type: ignore[method-assign]
    board.follow([("retry", 0.0), ("hedge", 0.1)])
    assert [{"retry": 0.0, "hedge": 0.1}] == [new for _, new, _ in audit(tmp_path)]


def test_a_new_worker_begins_with_what_the_others_heard(tmp_path: Path) -> None:
    """As long as flags cannot be had; what is in the file and makes no sense is left out."""
    runtime = Runtime("shop", path=tmp_path)
    Switchboard(runtime).follow([("retry", 0.0), ("hedge", 0.1)])
    runtime.change(
        "flags", lambda entries: {**entries, "timeout": {"share": "x"}, "breaker": 3}, actor="ann", reason="mischief"
    )
    set_switches("remote", [])
    late = Runtime("shop", path=tmp_path)
    board = Switchboard(late)
    with late:
        board.follow([("retry", None), ("hedge", 0.2), ("timeout", None), ("breaker", None)])
        assert {"retry": 0.0, "hedge": 0.2} == remote()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_switch_with_an_end_ends_in_a_forked_child_too() -> None:
    """The timer stayed with the parent: the child has one of its own."""
    board = Switchboard()
    board.off("retry", actor="ann", reason="x", lasts=0.5)
    child = os.fork()
    if child == 0:
        end = time.monotonic() + 20
        while board.share("retry") == 0 and time.monotonic() < end:
            time.sleep(0.02)
        os._exit(0 if board.share("retry") == 1 else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
