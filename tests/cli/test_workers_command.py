"""`seawall workers` and `seawall metrics`, completion, and colours, with real workers."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from seawall.cli.group import seawall as group
from tests.cli.crew import LIMIT, ROOT, Crew, Line, crew, process, widths
from tests.runtime.fleet import environment


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give two workers; a test that kills one puts another in its place."""
    with crew(tmp_path_factory.mktemp("shop")) as started:
        yield started


@pytest.fixture
def seawall(workers: Crew, capsys: pytest.CaptureFixture[str]) -> Line:
    """Give the command line."""
    return Line(workers.path, capsys)


def test_workers_are_listed(seawall: Line, workers: Crew) -> None:
    """Each with what it does; their policies are the same, so their versions are."""
    workers.say(in_flight=2)
    workers.until_seen(lambda worker: worker["sections"]["web"]["in_flight"] == 2)
    found = seawall.json("workers")
    assert (["service", "path", "workers"], str(workers.path)) == (list(found), found["path"])
    assert workers.pids == {worker["pid"] for worker in found["workers"]}
    keys = ["pid", "started", "age", "in_flight", "draining", "policies", "problem"]
    assert [keys] * 2 == [list(worker) for worker in found["workers"]]
    assert [(2, False)] * 2 == [(worker["in_flight"], worker["draining"]) for worker in found["workers"]]
    assert 1 == len({worker["policies"] for worker in found["workers"]})
    assert 0 == seawall("workers")
    assert [" pid ", "since"] == [words for words in (" pid ", "since") if words in seawall.out]


def test_dead_ones_are_not(seawall: Line, workers: Crew) -> None:
    """Killed with SIGKILL, and another started: the list is of those that live."""
    dead = workers.kill()
    assert workers.pids == {worker["pid"] for worker in seawall.json("workers")["workers"]}
    workers.add()
    assert workers.pids == {worker["pid"] for worker in seawall.json("workers")["workers"]}
    assert dead not in workers.pids


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_the_table_fits(seawall: Line, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """From 50 columns on."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert 0 == seawall("workers")
    assert widths(seawall.out) <= columns


def test_metrics_from_files_alone(seawall: Line, workers: Crew) -> None:
    """In Prometheus' text format, and as JSON with labels; of all workers, as they say."""
    assert 0 == seawall("metrics")
    assert "# TYPE seawall_worker_up gauge\n" in seawall.out
    assert 2 == seawall.out.count("seawall_worker_up{")
    found = seawall.json("metrics")["metrics"]
    up = found["seawall_worker_up"]
    assert ("gauge", [1, 1]) == (up["type"], [each["value"] for each in up["series"]])
    (series,) = [
        each for each in found["seawall_pipeline_duration_seconds"]["series"] if each["labels"]["outcome"] == "success"
    ][:1]
    assert ["buckets", "sum"] == list(series["value"])
    assert "+Inf" == list(series["value"]["buckets"])[-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("seawall swi", ["switch"]),
        ("seawall switch o", ["off", "on"]),
        ("seawall switch off re", ["retry"]),
        ("seawall switch off @", ["@payments"]),
        ("seawall switch on retry@", ["retry@payments"]),
        ("seawall switch off --reason x timeout@pay", ["timeout@payments"]),
        ("seawall switch off --runtime-dir /nonexistent/run @", []),
    ],
)
def test_names_are_completed(workers: Crew, words: str, expected: list[str]) -> None:
    """By the patterns, and the policies that the workers tell; where nobody can be asked, nothing is said."""
    count = str(len(words.split()) - 1)
    ran = process(
        _SEAWALL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count, SEAWALL_RUNTIME_DIR=str(workers.path)
    )

    assert ([f"plain,{name}" for name in expected], "") == (ran.stdout.split(), ran.stderr)


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours(workers: Crew, variables: dict[str, str], coloured: bool) -> None:
    """On a terminal only, and not where they are not wanted."""
    settings = {key: value for key, value in environment().items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    settings |= {"TERM": "xterm-256color", "SEAWALL_RUNTIME_DIR": str(workers.path), **variables}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "seawall.cli", "health"]
    subprocess.run(command, cwd=ROOT, env=settings, stdout=theirs, timeout=LIMIT, check=True)
    written = os.read(ours, 65_536).decode()
    os.close(ours)
    os.close(theirs)
    assert coloured == ("\x1b[32m" in written)
    assert "healthy" in written


@pytest.mark.parametrize("command", ["check", "drain", "health", "metrics", "policies", "switch", "workers"])
def test_every_command_has_an_example_and_its_exit_codes(command: str) -> None:
    """In its help, in lines that fit a terminal."""
    ran = CliRunner().invoke(group, [command, "--help"])
    assert (0, True, True) == (ran.exit_code, "Example" in ran.output, "Exit codes: 0 " in ran.output)
    assert widths(ran.output) <= 80


def test_click_s_own_runner_sees_the_exit_codes(workers: Crew) -> None:
    """As `main` does."""
    run = CliRunner().invoke
    assert 0 == run(group, ["workers", "--runtime-dir", str(workers.path)]).exit_code
    assert 1 == run(group, ["workers", "--runtime-dir", str(workers.folder / "none")]).exit_code
    assert 2 == run(group, ["health", "--url", "x"]).exit_code
