"""The control file: what is changed by anyone is obeyed by everyone, ends by itself, and is written down."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from seawall._runtime.runtime import Runtime
from seawall.testing import FakeClock
from tests.runtime.fleet import Fleet, until

OFF = {"retry": {"share": 0}}


def test_a_change_reaches_every_process_and_those_that_come_later(tmp_path: Path) -> None:
    """Three workers are told, whoever changes it; one that is killed and replaced begins in the changed state."""
    with Fleet(tmp_path / "run", 3) as fleet:
        assert [[{}]] * 3 == [worker.ask("hear") for worker in fleet.all]
        Runtime("fleet", path=fleet.path).change("switches", lambda old: OFF, actor="ann", reason="INC-42")
        for worker in fleet.all:
            until(lambda: worker.ask("hear") == [{}, OFF])  # noqa: B023 - asked at once
        fleet.all[0].kill()
        assert [OFF] == fleet.add().ask("hear")
        fleet.all[1].ask("change", {})
        for worker in fleet.all[1:3]:
            until(lambda: worker.ask("hear") == [{}, OFF, {}])  # noqa: B023 - asked at once


def test_an_entry_ends_by_itself_in_every_process(tmp_path: Path) -> None:
    """The others go on; nobody has to change anything."""
    with Fleet(tmp_path / "run", 2) as fleet:
        rest = {"timeout": {"share": 0}}
        fleet.all[0].ask("change", {"retry": {"share": 0, "until": time.time() + 1.5}, **rest})
        for worker in fleet.all:
            until(lambda: worker.ask("hear")[-1] == rest)  # noqa: B023 - asked at once


def test_every_worker_says_by_which_revision_it_acts(tmp_path: Path) -> None:
    """So that whoever changed something can say that all have followed."""
    with Fleet(tmp_path / "run", 2) as fleet:
        reader = Runtime("fleet", path=fleet.path)
        for number in range(3):
            reader.change("switches", lambda old: {"retry": {"share": number}}, actor="ann", reason="x")  # noqa: B023
        until(lambda: [3, 3] == [worker["control"] for worker in reader.workers()])


def test_an_entry_has_ended_to_the_second(tmp_path: Path) -> None:
    """At `until` it is gone, for readers and for those who change it; before, it is there."""
    with FakeClock(wall=1000.0) as clock:
        runtime = Runtime("service", path=tmp_path / "run")
        runtime.change("s", lambda old: {"a": {"until": 1010}, "b": {"until": "soon"}, "c": 1}, actor="a", reason="r")
        clock.advance(9.5)
        assert {"a", "b", "c"} == set(runtime.control()["s"])
        clock.advance(0.5)
        assert {"b", "c"} == set(runtime.control()["s"])
        seen: list[dict[str, object]] = []
        runtime.change("s", lambda old: seen.append(old) or old, actor="a", reason="r")  # type: ignore[func-returns-value]
        assert [{"b": {"until": "soon"}, "c": 1}] == seen


def test_changes_at_the_same_time_are_all_made(tmp_path: Path) -> None:
    """Twenty threads each add an entry: none is lost, and each is in the audit log with what was before."""
    runtimes = [Runtime("service", path=tmp_path / "run") for _ in range(20)]

    def change(number: int) -> None:
        runtimes[number].change("s", lambda old: {**old, str(number): number}, actor=f"a{number}", reason="r")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {str(number): number for number in range(20)} == runtimes[0].control()["s"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "audit.log").read_text().splitlines()]
    assert list(range(20)) == [len(line["old"]) for line in lines]
    assert list(range(1, 21)) == [line["revision"] for line in lines]


def test_the_audit_log_says_who_what_when_and_why(tmp_path: Path) -> None:
    """One line of JSON a change, also where the reason would like to be two."""
    with FakeClock(wall=0.5):
        runtime = Runtime("service", path=tmp_path / "run")
        runtime.change("switches", lambda old: OFF, actor="ann", reason='INC-42\n{"actor": "bob"}')
    (line,) = (tmp_path / "run" / "audit.log").read_text().splitlines()
    assert {
        "time": "1970-01-01T00:00:00.500Z",
        "actor": "ann",
        "what": "switches",
        "old": {},
        "new": OFF,
        "reason": 'INC-42\n{"actor": "bob"}',
        "revision": 1,
    } == json.loads(line)


def test_the_audit_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """Beyond a megabyte it is put aside, once."""
    runtime = Runtime("service", path=tmp_path / "run")
    for _ in range(4):
        runtime.change("s", lambda old: {"text": "x" * 600_000}, actor="a", reason="r")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "run").glob("audit.log*")}
    assert {"audit.log", "audit.log.1"} == set(sizes)
    assert max(sizes.values()) < 4_000_000


def test_a_change_is_seen_that_looks_like_the_one_before(tmp_path: Path) -> None:
    """Two changes within a tick of the file system's clock, of the same length, in the same place on the disk."""
    runtime, told = Runtime("service", path=tmp_path / "run"), list[object]()
    control = tmp_path / "run" / "control.json"
    runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
    runtime.obey("s", told.append)
    facts = control.stat()
    runtime._orders.follow()
    control.write_text(control.read_text().replace('{"a":1}', '{"a":2}'))
    os.utime(control, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (facts.st_ino, facts.st_size) == (control.stat().st_ino, control.stat().st_size)
    runtime._orders.follow()
    assert [{"a": 1}, {"a": 2}] == told


def test_what_an_update_raises_goes_through_and_changes_nothing(tmp_path: Path) -> None:
    """Nor does one that returns no section, or a section that JSON cannot hold."""
    runtime = Runtime("service", path=tmp_path / "run")
    runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
    circle: dict[str, object] = {}
    circle["circle"] = circle

    def fail(old: dict[str, object]) -> dict[str, object]:
        old["a"] = 2
        raise LookupError("no")

    with pytest.raises(LookupError):
        runtime.change("s", fail, actor="a", reason="r")
    with pytest.raises(TypeError, match="is no section; return an object"):
        runtime.change("s", lambda old: None, actor="a", reason="r")  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="Circular"):
        runtime.change("s", lambda old: circle, actor="a", reason="r")
    assert {"s": {"a": 1}} == runtime.control()
    assert 1 == len((tmp_path / "run" / "audit.log").read_text().splitlines())


@pytest.mark.parametrize("wrong", [{"actor": ""}, {"reason": None}, {"section": 7}])
def test_a_change_says_who_and_why(tmp_path: Path, wrong: dict[str, object]) -> None:
    """An empty actor or reason is refused."""
    said = {"section": "s", "actor": "a", "reason": "r", **wrong}
    with pytest.raises(TypeError, match=f"{next(iter(wrong))}="):
        Runtime("service", path=tmp_path / "run").change(update=lambda old: old, **said)  # type: ignore[arg-type]


def test_one_who_cannot_obey_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What `apply` raises is logged; the others are told all the same, and the next change reaches it again."""
    told: list[str] = []

    def fail(content: dict[str, object]) -> None:
        told.append(f"first {len(content)}")
        raise RuntimeError("cannot")

    with Runtime("service", path=tmp_path / "run") as runtime:
        runtime.obey("s", fail)
        runtime.obey("s", lambda content: told.append(f"second {len(content)}"))
        until(lambda: told == ["first 0", "second 0"])
        runtime.change("s", lambda old: {"a": 1}, actor="a", reason="r")
        until(lambda: told == ["first 0", "second 0", "first 1", "second 1"])
    assert 2 == sum("could not act by section 's'" in record.message for record in caplog.records)


def test_what_is_told_may_be_kept_and_changed(tmp_path: Path) -> None:
    """It is a copy: whoever changes it deceives only himself."""
    told: list[dict[str, list[int]]] = []
    runtime = Runtime("service", path=tmp_path / "run")
    runtime.change("s", lambda old: {"a": [1]}, actor="a", reason="r")
    runtime.obey("s", lambda content: content["a"].append(2))
    runtime.obey("s", told.append)
    with runtime:
        assert [{"a": [1]}] == told
