"""`seawall policies`: what real workers have in force, and reloads that every one of them follows."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.crew import POLICIES, Crew, Line, crew, widths


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give two workers."""
    with crew(tmp_path_factory.mktemp("shop")) as started:
        yield started


@pytest.fixture
def seawall(workers: Crew, capsys: pytest.CaptureFixture[str]) -> Line:
    """Give the command line."""
    return Line(workers.path, capsys)


def attempts(number: int) -> str:
    """Returns the policies with another number of attempts."""
    return POLICIES.replace("max_attempts = 2", f"max_attempts = {number}")


def test_workers_that_agree(seawall: Line, workers: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each policy once, with its strategies outermost first; as JSON by worker."""
    monkeypatch.setenv("COLUMNS", "120")
    assert 0 == seawall("policies")
    head, *table = seawall.out.splitlines()
    assert head.startswith("2 workers, policies ")
    told = [line.split("(")[0].split() for line in table if "(" in line]
    assert [["payments", "Retry"], ["Timeout"]] == [each for each in told if each[-1] in ("Retry", "Timeout")]
    found = seawall.json("policies")
    assert (["agree", "workers"], True) == (list(found), found["agree"])
    assert workers.pids == {worker["pid"] for worker in found["workers"]}
    assert [["pid", "version", "policies", "problem"]] * 2 == [list(worker) for worker in found["workers"]]
    assert [["payments"]] * 2 == [list(worker["policies"]) for worker in found["workers"]]
    monkeypatch.setenv("COLUMNS", "50")
    assert 0 == seawall("policies")
    assert widths(seawall.out) <= 50


def test_reload_reaches_every_worker(seawall: Line, workers: Crew) -> None:
    """And says what each has then; the order ends by itself after a minute."""
    before = seawall.json("policies")["workers"][0]["version"]
    (workers.folder / "policies.toml").write_text(attempts(7))
    found = seawall.json("policies", "--reload")

    assert ["agree", "workers", "reload"] == list(found)
    assert workers.pids == set(found["reload"]["followed"])
    assert ["max_attempts=7" in worker["policies"]["payments"][0] for worker in found["workers"]] == [True] * 2
    assert [True] * 2 == [worker["version"] != before for worker in found["workers"]]
    assert 0 == seawall("policies", "--reload")
    assert seawall.out.startswith("2/2 workers followed in ")
    assert "changed in 0" in seawall.out


def test_a_file_with_a_problem_changes_nothing(seawall: Line, workers: Crew) -> None:
    """The workers have followed the order, and have what they had; what is wrong is shown, and the exit code is 1."""
    before = [worker["policies"] for worker in seawall.json("policies")["workers"]]
    (workers.folder / "policies.toml").write_text("[policies.payments]\nretri = 1")
    found = seawall.json("policies", "--reload", code=1)

    assert (before, []) == ([worker["policies"] for worker in found["workers"]], found["reload"]["changed"])
    assert workers.pids == set(found["reload"]["followed"])
    assert [True] * 2 == ["policies.payments.retri = 1" in worker["problem"] for worker in found["workers"]]
    assert 1 == seawall("policies", "--reload")
    assert "! the file is not in force in 2/2 workers:\n  the policies cannot be used, 1 problem:\n" in seawall.out
    assert "policies.payments.retri = 1: " in " ".join(seawall.out.split())


def test_a_file_that_breaks_by_itself_is_seen(seawall: Line, workers: Crew) -> None:
    """Without any order: the workers look at the file, `policies` and `workers` say what came of it."""
    (workers.folder / "policies.toml").write_text("[policies.payments]\ntimeout = -1")
    workers.until_seen(lambda worker: "timeout = -1" in str(worker["sections"]["policies"]["problem"]))
    assert [True] * 2 == ["timeout = -1" in worker["problem"] for worker in seawall.json("policies")["workers"]]
    assert [True] * 2 == ["timeout = -1" in worker["problem"] for worker in seawall.json("workers")["workers"]]
    assert 0 == seawall("policies")
    assert "! the file is not in force in 2/2 workers:" in seawall.out
    assert 0 == seawall("workers")
    assert "! the file of the policies is not in force in 2/2 workers; `seawall policies` says why" in seawall.out
    (workers.folder / "policies.toml").write_text(POLICIES)
    workers.until_seen(lambda worker: worker["sections"]["policies"]["problem"] is None)
    assert 0 == seawall("workers")
    assert "!" not in seawall.out


def test_a_worker_that_does_not_follow_is_seen(seawall: Line, workers: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped keeps the old ones: that is shown, and the exit code is 1."""
    monkeypatch.setattr("seawall.cli.policies.PATIENCE", 0.5)
    stopped, other = workers.all
    stopped.send_signal(signal.SIGSTOP)
    try:
        (workers.folder / "policies.toml").write_text(attempts(9))
        found = seawall.json("policies", "--reload", code=1)
        assert ([other.pid], False) == (found["reload"]["followed"], found["agree"])
        assert 0 == seawall("policies")
        assert "! workers differ" in seawall.out
        assert f"1/2 (pid {other.pid})" in " ".join(seawall.out.split())
    finally:
        stopped.send_signal(signal.SIGCONT)
    workers.until_seen(lambda worker: "max_attempts=9" in str(worker["sections"]["policies"]))
    assert seawall.json("policies")["agree"]


def test_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and nothing is made where a name was misspelt."""
    seawall = Line(tmp_path / "run", capsys)
    for arguments in (["policies"], ["policies", "--reload"]):
        assert 1 == seawall(*arguments)
        assert f"Error: no workers of 'app' in {tmp_path / 'run'}" in seawall.err
    assert [] == list(tmp_path.iterdir())
