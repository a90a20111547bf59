"""`seawall storm` as its user meets it, with a small scenario whose variants have a process each."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from seawall.cli import main

SCENARIO = '''
"""A scenario with a process for each variant, which writes its number to a file."""
import asyncio, os, sys
from contextlib import asynccontextmanager
from seawall.chaos import Answer, Counts, Fault, Scenario, Variant

WAITS = (sys.executable, "-c", "import sys; sys.stdin.read()")

class Desk(Variant):
    def __init__(self, process): self.process, self.struck, self.slow = process, False, "SLOW" in os.environ
    async def strike(self, fault): self.struck = True
    async def lift(self, fault): self.struck = False
    async def send(self, number):
        if self.struck and self.process: raise ConnectionError
        return Answer("fallback" if self.struck else "fresh", "desk")
    async def counts(self): return Counts(3, 2, 1, 4, {"double_charges": 0})
    async def finish(self):
        if self.slow: await asyncio.sleep(3600)
        return await self.counts()

class Desks(Scenario):
    name, says, rate = "Desks", "A desk with a process.", 20.0
    def faults(self, conditions):
        return [Fault("desk", "refuse", min(0.2, 1 / conditions.seconds), 0.6, "refuses every connection")]
    def notes(self, conditions): return ["A note."]
    def variants(self, conditions): return {"bare": self.held(True), "protected": self.held(False)}
    @asynccontextmanager
    async def held(self, bare):
        if "BROKEN" in os.environ: raise OSError("no desk is free")
        process = await asyncio.create_subprocess_exec(*WAITS, stdin=-1, start_new_session=True)
        with open("pids", "a") as pids: pids.write(f"{process.pid}\\n")
        try:
            yield Desk(bare)
        finally:
            process.stdin.close()
            await process.wait()

scenario = Desks()
'''
KEYS = (
    *("requests", "availability", "p50", "p95", "p99", "wasted_calls", "retries", "breaker_openings", "fallbacks"),
    *("recovery_seconds", "double_charges"),
)
LIMIT = 60


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the current folder, with the scenario in it; forget its modules, and what the command adds to the path."""
    (tmp_path / "desks.py").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if not name.startswith(("seawall", "rich")):
            del sys.modules[name]


def command(*arguments: str) -> list[str]:
    """Return a command line of the storm."""
    return [sys.executable, "-m", "seawall.cli", "storm", *arguments]


def mind_signals() -> None:
    """Undo a SIGINT that is ignored, as in a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(folder: Path, *, slow: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Start a long storm, and wait until its fault has begun, which is after a second."""
    env = {**os.environ, **({"SLOW": "1"} if slow else {})}
    arguments = command("desks", "--seconds", "60", "--rate", "50", "--json")
    with subprocess.Popen(
        arguments,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=mind_signals,
    ) as process:
        try:
            until(process.stderr, "desk refuse begins: refuses every connection")
            yield process
        finally:
            process.kill()


def until(stream: IO[str] | None, words: str) -> None:
    """Read a stream until a line that has these words."""
    assert stream is not None
    assert next((line for line in stream if words in line), None), f"{words!r} did not come"


def gone(folder: Path) -> bool:
    """Whether the processes of both variants have ended."""
    numbers = [int(line) for line in (folder / "pids").read_text().split()]
    assert 2 == len(numbers)
    return not any(os.path.exists(f"/proc/{number}") or alive(number) for number in numbers)


def alive(number: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_whole_storm(desk: Path) -> None:
    """Plain lines without control codes, the figures, the report, exit code 0, and no process left."""
    ran = subprocess.run(
        command("desks:scenario", "--seconds", "1", "--seed", "7"),
        cwd=desk,
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "\x1b" not in ran.stdout
    for words in (
        *("Desks: starting bare and protected", "20 requests a second to each for 1 s, seed 7"),
        *("desk refuse begins: refuses every connection", "desk refuse ends", "Desks: done"),
        *(
            "without an answer of use, protected none of 20;",
            "100 % ✓",
            "double charges",
            "✓ marks the better one of two.",
        ),
        *("Note: A note.", "Report: storm-report.html"),
    ):
        assert words in ran.stdout
    assert "Storm: Desks" in (desk / "storm-report.html").read_text(encoding="utf-8")
    assert gone(desk)


def test_json_is_the_last_line_of_stdout(desk: Path) -> None:
    """And the only one; what is for people goes to stderr."""
    ran = subprocess.run(
        command("desks", "--seconds", "1", "--rate", "30", "--json", "--report", "mine.html", "--no-color"),
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    figures = json.loads(ran.stdout)

    assert (0, 1) == (ran.returncode, len(ran.stdout.splitlines()))
    assert ["scenario", "seconds", "rate", "seed", "cut_short", "report", "bare", "protected"] == list(figures)
    assert ("Desks", 1, 30, 1, False, "mine.html") == tuple(figures[key] for key in list(figures)[:6])
    assert [list(KEYS)] * 2 == [list(figures["bare"]), list(figures["protected"])]
    assert [30, 30] == [figures["bare"]["requests"], figures["protected"]["requests"]]
    assert figures["bare"]["availability"] < figures["protected"]["availability"] == 1
    assert "desk refuse begins" in ran.stderr
    assert (desk / "mine.html").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_the_result_so_far(desk: Path, number: signal.Signals, code: int) -> None:
    """At once, with the report and the JSON, and without leaving a process."""
    with started(desk) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=LIMIT)  # to the end: nothing holds stderr open any more
    figures = json.loads(output.splitlines()[-1])

    assert (code, True) == (process.returncode, figures["cut_short"])
    assert 40 <= figures["bare"]["requests"] < 3000
    assert "Cut short: in the first" in errors
    assert "Traceback" not in errors
    assert (desk / "storm-report.html").exists()
    assert gone(desk)


def test_a_second_ctrl_c_does_not_wait_for_the_variants_to_finish(desk: Path) -> None:
    """They would take an hour; they are left in order all the same, with the result so far."""
    with started(desk, slow=True) as process:
        process.send_signal(signal.SIGINT)
        until(process.stderr, "settling what is pending")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=LIMIT)

    assert (130, True) == (process.returncode, json.loads(output.splitlines()[-1])["cut_short"])
    assert "did not finish (it was not waited for): its own counts are those of the last look at it" in errors
    assert gone(desk)


SETTINGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain": ([], {}),
    "option": (["--no-color"], {}),
    "variable": ([], {"NO_COLOR": "1"}),
    "dumb": ([], {"TERM": "dumb"}),
}


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run a short storm on a terminal of 80 columns for each of the settings, and return what each wrote there."""
    folder = tmp_path_factory.mktemp("screens")
    (folder / "desks.py").write_text(SCENARIO)
    with ThreadPoolExecutor() as threads:
        screens = threads.map(lambda setting: on_a_terminal(folder, *setting), SETTINGS.values())
    return dict(zip(SETTINGS, screens, strict=True))


def on_a_terminal(folder: Path, arguments: list[str], env: dict[str, str]) -> str:
    """Run a short storm on a terminal of 80 columns, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        command("desks", "--seconds", "1", *arguments),
        cwd=folder,
        env={**settings, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **env},
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        written = b""
        while chunk := read(ours):
            written += chunk
        os.close(ours)
    assert 0 == process.returncode
    return written.decode()


def read(terminal: int) -> bytes:
    """Return what a terminal shows next, nothing at the end."""
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's way of saying that nobody writes any more
        return b""


def test_on_a_terminal_it_is_drawn_in_place(screens: dict[str, str]) -> None:
    """In colour, with the fault, the figures and the strips; and taken away before the end is printed."""
    for words in (
        "\x1b[2K",
        "\x1b[1;32m",
        "refuses every connection",
        "wasted calls",
        "faults",
        "all of no use",
        "Report:",
    ):
        assert words in screens["plain"]


@pytest.mark.parametrize("setting", ["option", "variable"])
def test_colours_can_be_turned_off(screens: dict[str, str], setting: str) -> None:
    """It is drawn all the same."""
    colours = [f"\x1b[{style}{colour}m" for style in ("", "1;") for colour in range(30, 38)]

    assert "\x1b[2K" in screens[setting]
    assert [] == [colour for colour in colours if colour in screens[setting]]
    assert [] != [colour for colour in colours if colour in screens["plain"]]


def test_a_terminal_that_cannot_draw_gets_lines(screens: dict[str, str]) -> None:
    """As a file does."""
    assert "\x1b" not in screens["dumb"]
    assert "desk refuse begins: refuses every connection" in screens["dumb"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["desks", "--seconds", "0.5"], "'--seconds': '0.5' is not a number from 1, up to 3600."),
        (["desks", "--seconds", "3601"], "'--seconds': '3601' is not a number from 1, up to 3600."),
        (["desks", "--seconds", "nan"], "'--seconds': 'nan' is not a number"),
        (["desks", "--seconds", "ten"], "'--seconds': 'ten' is not a number"),
        (["desks", "--rate", "0"], "'--rate': '0' is not a number above 0, up to 10000."),
        (["desks", "--rate", "inf"], "'--rate': 'inf' is not a number"),
        (["desks", "--seed", "1.5"], "'--seed': '1.5' is not a valid integer"),
        (["desks", "--report", "nowhere/report.html"], "'--report': there is no folder 'nowhere'."),
        (["desks", "--report", "."], "'--report': File '.' is a directory."),
        ([], "Missing argument 'SCENARIO'."),
        (["dusks"], "SCENARIO: there is no module 'dusks' in the folders of sys.path; use one that can be imported."),
        (["desks:desk"], "SCENARIO: module 'desks' has no attribute 'desk'; did you mean"),
        (["desks.py"], "(did you mean 'desks'?)"),
        (["desks:Answer"], "SCENARIO: 'desks:Answer' is a type, no Scenario."),
    ],
)
def test_wrong_usage_is_named(desk: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the argument and what would be right, on stderr, with exit code 2, before anything is started."""
    code = main(["storm", *arguments])
    printed = capsys.readouterr()

    assert (2, "") == (code, printed.out)
    assert text in printed.err
    assert not (desk / "pids").exists()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "import nosuch",
            "Error: failing could not be loaded: ModuleNotFoundError: No module named 'nosuch' (failing.py, line 1)",
        ),
        ("\n1 / 0", "ZeroDivisionError: division by zero (failing.py, line 2)"),
        ("def scenario(:", "SyntaxError: "),
    ],
)
def test_a_scenario_that_cannot_be_imported_is_named(
    desk: Path, source: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place, without a traceback, with exit code 1."""
    (desk / "failing.py").write_text(f"{source}\n")
    code = main(["storm", "failing"])
    errors = capsys.readouterr().err

    assert 1 == code
    assert text in errors
    assert "Traceback" not in errors


def test_a_variant_that_does_not_start_is_named(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, without a traceback, with exit code 1."""
    monkeypatch.setenv("BROKEN", "1")
    code = main(["storm", "desks:Desks"])

    assert 1 == code
    assert "Error: variant 'bare' did not start: OSError: no desk is free\n" == capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_named(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are there all the same; exit code 1."""

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seawall.chaos.report.Path.write_text", full)
    code = main(["storm", "desks", "--seconds", "1", "--json"])
    printed = capsys.readouterr()

    assert (1, None) == (code, json.loads(printed.out)["report"])
    assert "Error: the report could not be written to 'storm-report.html': No space left on device" in printed.err


def test_an_output_that_nobody_reads_ends_quietly(desk: Path) -> None:
    """As with `| head -1`: no traceback, and no process left."""
    with subprocess.Popen(
        command("desks", "--seconds", "2"), cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(process.stdout, "starting")
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()

    assert (1, "") == (process.returncode, errors)
    assert not (desk / "pids").exists() or gone(desk)
