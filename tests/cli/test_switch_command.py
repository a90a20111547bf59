"""`seawall switch`: off and on in real workers, with their own word for it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.cli import main
from tests.cli.crew import Crew, Line, crew, process, revision, widths


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give two workers; a test that kills one puts another in its place."""
    with crew(tmp_path_factory.mktemp("shop")) as started:
        yield started


@pytest.fixture
def seawall(workers: Crew, capsys: pytest.CaptureFixture[str]) -> Iterator[Line]:
    """Give the command line, and take back what it has set."""
    line = Line(workers.path, capsys)
    yield line
    for switch in line.json("switch", "list")["switches"]:
        line("switch", "on", switch["name"], "--reason", "the test is over")


def test_off_is_confirmed_by_every_worker(seawall: Line, workers: Crew) -> None:
    """With the actor, the reason and the end, which are in the audit log too; --for is half an hour here."""
    assert 0 == seawall("switch", "off", "retry@payments", "--reason", "INC-42", "--actor", "ann", "--for", "30m")
    first, second = seawall.out.splitlines()
    assert ("retry@payments is off for 30 min", "") == (first, seawall.err)
    assert second.startswith("2/2 workers confirmed in ")
    (switch,) = seawall.json("switch", "list")["switches"]
    told = tuple(switch[key] for key in ("name", "share", "source", "actor", "reason"))
    assert ("retry@payments", 0, "runtime", "ann", "INC-42") == told
    assert workers.pids == set(switch["workers"])
    assert 1700 < switch["left"] <= 1800
    audit = json.loads((workers.path / "audit.log").read_text().splitlines()[-1])
    assert ("ann", "INC-42") == (audit["actor"], audit["reason"])


def test_a_share_stays_on(seawall: Line) -> None:
    """--share says for how many of the calls it stays on; the actor is the one who is logged in."""
    found = seawall.json("switch", "off", "@payments", "--reason", "x", "--share", "25%", "--for", "never")

    assert ["name", "share", "until", "workers", "confirmed", "overruled", "seconds"] == list(found)
    assert ("@payments", 0.25, None, []) == tuple(found[key] for key in ("name", "share", "until", "overruled"))
    assert sorted(found["workers"]) == sorted(found["confirmed"])
    assert 0 == seawall("switch", "list")
    assert ["@payments", "25%", "no", "end", "2/2"] == seawall.out.splitlines()[3].split()[:5]
    assert seawall.json("switch", "list")["switches"][0]["actor"]


def test_on_takes_back_what_was_set(seawall: Line) -> None:
    """In every worker, and what is narrower than a switch that is left overrules that one."""
    assert 0 == seawall("switch", "off", "@payments", "--reason", "x")
    assert 0 == seawall("switch", "on", "retry@payments", "--reason", "y", "--for", "5m")
    assert "retry@payments is on for 5 min" == seawall.out.splitlines()[0]
    assert 0 == seawall("switch", "on", "retry@payments", "--reason", "z")
    assert 0 == seawall("switch", "on", "@payments", "--reason", "z")
    assert "@payments is on" == seawall.out.splitlines()[0]
    names = [switch["name"] for switch in seawall.json("switch", "list")["switches"]]
    assert ["retry@payments"] == names


def test_a_worker_that_comes_later_has_it_too(seawall: Line, workers: Crew) -> None:
    """Killed and respawned: the dead one is not asked to confirm, the new one begins switched."""
    assert 0 == seawall("switch", "off", "retry", "--reason", "INC-43")
    dead = workers.kill()
    workers.add()
    (switch,) = seawall.json("switch", "list")["switches"]
    assert (workers.pids, True) == (set(switch["workers"]), seawall.json("switch", "list")["agree"])
    found = seawall.json("switch", "off", "retry", "--reason", "INC-43, again")
    assert workers.pids == set(found["confirmed"])
    assert dead not in found["workers"]


def test_it_ends_by_itself(seawall: Line, workers: Crew) -> None:
    """At its end it is in no worker any more."""
    assert 0 == seawall("switch", "off", "hedge", "--reason", "x", "--for", "1s")
    workers.until_seen(lambda worker: worker["sections"]["switches"]["switches"] == [])
    assert 0 == seawall("switch", "list")
    assert "no switch is set in 2 workers\n" == seawall.out


def test_sources_and_disagreement_are_shown(seawall: Line, workers: Crew) -> None:
    """A third worker has switches by its environment and in code: the first cannot be overruled, the second is."""
    workers.add(1, "retry@payments", SEAWALL_SWITCHES="timeout=off")
    other = workers.all[-1]
    try:
        found = seawall.json("switch", "list")
        assert ([("timeout", "env"), ("retry@payments", "code")], False) == (
            [(switch["name"], switch["source"]) for switch in found["switches"]],
            found["agree"],
        )
        assert 0 == seawall("switch", "list")
        assert f"! only pid {other.pid}: timeout off by env" in seawall.out
        assert "! workers differ" in seawall.out
        assert 0 == seawall("switch", "on", "retry@payments", "--reason", "x")
        assert "retry@payments is on for 1 h" == seawall.out.splitlines()[0]
        assert 1 == seawall("switch", "on", "timeout", "--reason", "x")
        assert f"! not in force in 1 worker (pid {other.pid}): their environment" in seawall.out
    finally:
        workers.all.remove(other)
        other.kill()
        other.communicate()


def test_the_environment_of_the_command_says_nothing(seawall: Line, workers: Crew) -> None:
    """SEAWALL_SWITCHES of whoever runs the command is no worker's."""
    ran = process(
        *("switch", "on", "retry", "--reason", "x", "--json"),
        SEAWALL_RUNTIME_DIR=str(workers.path),
        SEAWALL_SWITCHES="retry=off",
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert None is json.loads(ran.stdout)["until"]
    assert [] == seawall.json("switch", "list")["switches"]


def test_a_stopped_worker_has_not_confirmed(seawall: Line, workers: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and the exit code is 1; the change stands and it will follow."""
    monkeypatch.setattr("seawall.cli.switch.PATIENCE", 0.5)
    stopped = workers.all[0]
    stopped.send_signal(signal.SIGSTOP)
    try:
        assert 1 == seawall("switch", "off", "bulkhead", "--reason", "x", "--for", "1h")
        assert "1/2 workers confirmed" in seawall.out
        assert f"! not confirmed: pid {stopped.pid}" in seawall.out
        found = seawall.json("switch", "list")
        assert [workers.all[1].pid] == found["switches"][0]["workers"]
    finally:
        stopped.send_signal(signal.SIGCONT)
    workers.until_seen(lambda worker: worker["sections"]["switches"]["switches"] != [])


def test_a_misspelt_policy_is_noticed(seawall: Line) -> None:
    """It is set all the same: pipelines made in code are not told by the workers."""
    assert 0 == seawall("switch", "off", "retry@paymets", "--reason", "x")
    assert "! no worker tells such a policy; did you mean 'payments'?" in seawall.out


def test_what_others_have_written_cannot_steer_the_terminal(seawall: Line) -> None:
    """A reason with control codes is shown without them, and square brackets are no markup."""
    assert 0 == seawall("switch", "off", "hedge", "--reason", "\x1b[31mred\x07 [bold]x[/bold] \u202e!\nnext")
    assert 0 == seawall("switch", "list")
    assert [] == [each for each in "\x1b\x07\u202e" if each in seawall.out]
    assert "[bold]x[/bold]" in seawall.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["off", "retries", "--reason", "x"], "'retries' is no switch; use a pattern (fallback, retry,"),
        (["off", "retry"], "Missing option '--reason'"),
        (["off", "retry", "--reason", " "], "Invalid value for '--reason': it says nothing."),
        (["off", "retry", "--reason", "x", "--actor", ""], "Invalid value for '--actor': it says nothing."),
        (["off", "retry", "--reason", "x", "--for", "soon"], "'soon' is no time; use 1s to 366d, such as 90s"),
        (["off", "retry", "--reason", "x", "--for", "0"], "'0' is no time"),
        (["off", "retry", "--reason", "x", "--share", "110%"], "'110%' is no setting of a switch"),
        (["off", "retry", "--reason", "x", "--service", "s" * 81], "has 81 characters; use a text of 1 to 80"),
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(
    workers: Crew, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """It says what would be right, on stderr."""
    before = revision(workers.path)
    assert 2 == main(["switch", *arguments, "--runtime-dir", str(workers.path)])
    printed = capsys.readouterr()
    assert ("", True, before) == (printed.out, text in " ".join(printed.err.split()), revision(workers.path))


def test_without_workers_it_is_written_down_for_those_that_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, since nobody has confirmed; `list` shows it."""
    seawall = Line(tmp_path / "run", capsys)

    assert 1 == seawall("switch", "off", "retry", "--reason", "x")
    assert "Workers that are started later obey." in seawall.out
    found = seawall.json("switch", "list")
    assert ([], ["retry"]) == (found["workers"], [switch["name"] for switch in found["switches"]])


def test_a_directory_that_cannot_be_used_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, exit code 1, and never a change that reaches nobody but the command itself."""
    open_to_all, file = tmp_path / "open", tmp_path / "file"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    file.write_text("")
    for path, text in ((open_to_all, "may be written to by others"), (file, "is no directory")):
        seawall = Line(path, capsys)
        assert text in seawall.json("switch", "off", "retry", "--reason", "x", code=1)["error"]
        assert seawall.err.startswith("Error: nothing was changed: ")
        assert 1 == seawall("switch", "list")


def test_the_table_fits(seawall: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 50 to 120 columns; nothing of a long reason is lost."""
    assert 0 == seawall("switch", "off", "ratelimit", "--reason", "because " * 20 + "END")
    for columns in (50, 80, 120, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert 0 == seawall("switch", "list")
        assert widths(seawall.out) <= min(columns, 120)
        assert ("END" in seawall.out, 20) == (True, seawall.out.count("because"))
