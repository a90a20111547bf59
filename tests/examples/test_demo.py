"""`make demo` as its user meets it, and the parts whose figures it reports."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from examples.demo.command import main
from examples.demo.figures import Figures, percentile, recovery
from examples.demo.report import Report, in_words
from examples.demo.script import PHASES, Script
from examples.demo.traffic import Call

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "requests",
    "availability",
    "fresh",
    "p50",
    "p95",
    "p99",
    "calls_reached",
    "retries",
    "breaker_openings",
    "fallbacks",
    "recovery_seconds",
}
ERRORS, OUTAGE = PHASES[1], PHASES[4]


def mind_ctrl_c() -> None:
    """Undo a SIGINT that is ignored, as in a job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def started() -> Iterator[subprocess.Popen[str]]:
    """Start a long run of the demo, and wait until it has measured for a second."""
    command = [sys.executable, "-m", "examples.demo", "--seconds", "20", "--rate", "30", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=mind_ctrl_c
    ) as process:
        try:
            next(line for line in piped(process.stdout) if line.startswith("   1 s"))
            yield process
        finally:
            process.kill()


def piped(stream: IO[str] | None) -> IO[str]:
    """Return a stream that is known to be a pipe."""
    assert stream is not None
    return stream


def a_report(availability: float = 100, calls_reached: int = 40, fallbacks: int = 30) -> Report:
    """Return a report of 100 requests, of which bare code failed 40, with these figures of the protected ones."""
    bare = Figures(100, 60.0, 60.0, 0.01, 5.0, 5.0, 50, 0, 0, 0, 0.1)
    protected = Figures(100, availability, 40.0, 0.01, 0.3, 0.5, calls_reached, 9, 2, fallbacks, 0.3)
    return Report(bare, protected, broken_for=6.5, interrupted=False)


def test_the_protected_callers_are_answered_while_the_bare_ones_fail() -> None:
    """A short run ends well, with words, a table and, as its last line, the figures that it is for."""
    command = [sys.executable, "-m", "examples.demo", "--seconds", "3", "--seed", "7", "--json", "--no-color"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "\x1b" not in ran.stdout
    assert "What the callers saw" in ran.stdout
    figures = json.loads(ran.stdout.splitlines()[-1])
    bare, protected = figures["bare"], figures["protected"]
    assert [KEYS, KEYS] == [set(bare), set(protected)]
    assert [180, 180] == [bare["requests"], protected["requests"]]
    assert bare["availability"] < 80
    assert protected["availability"] > 95
    assert protected["p99"] < bare["p99"]
    assert [0, 0, 0] == [bare["retries"], bare["breaker_openings"], bare["fallbacks"]]
    assert min(protected["retries"], protected["breaker_openings"], protected["fallbacks"]) > 0
    assert min(bare["calls_reached"], protected["calls_reached"]) > 0


def test_ctrl_c_ends_with_the_report_so_far(started: subprocess.Popen[str]) -> None:
    """SIGINT ends the run at once, with the report, exit code 130, and nothing left behind."""
    started.send_signal(signal.SIGINT)
    output, errors = started.communicate(timeout=5)  # reads to the end: the server, which has stderr too, is gone

    assert (130, "") == (started.returncode, errors)
    assert "Stopped early" in output
    assert json.loads(output.splitlines()[-1])["bare"]["requests"] >= 20


def test_the_server_does_not_outlive_a_killed_parent(started: subprocess.Popen[str]) -> None:
    """A parent that is killed cannot clean up; its server ends by itself."""
    started.kill()
    output, errors = started.communicate(timeout=5)  # reads to the end: the server, which has stderr too, is gone

    assert (-signal.SIGKILL, "") == (started.returncode, errors)
    assert "What the callers saw" not in output


@pytest.mark.parametrize(
    "arguments",
    [["--seconds", "0"], ["--seconds", "nan"], ["--rate", "-1"], ["--rate", "many"], ["--seed", "1.5"], ["--fast"]],
)
def test_wrong_arguments_are_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A value that makes no sense ends with code 2 and names the argument and what it was."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert 2 == ended.value.code
    message = capsys.readouterr().err
    assert [True] * len(arguments) == [argument in message for argument in arguments]


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """--help explains every option and the exit codes, in lines that fit a terminal."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    text = capsys.readouterr().out
    assert 0 == ended.value.code
    assert [] == [word for word in ("--seconds", "--rate", "--seed", "--json", "--no-color", "130") if word not in text]
    assert [] == [line for line in text.splitlines() if len(line) > 80]


def test_a_seed_fixes_every_fault() -> None:
    """The n-th request of a phase meets the same fault in each run of a seed, and another one under another seed."""

    def faults(seed: int) -> list[str | None]:
        return [Script(10, seed).fault(phase, number) for phase in PHASES for number in range(50)]

    assert faults(7) == faults(7)
    assert faults(7) != faults(8)


def test_faults_come_in_their_shares() -> None:
    """The share of a fault is what the script says, and a phase without faults has none."""
    script = Script(10, 7)
    met = [script.fault(ERRORS, number) for number in range(10_000)]

    assert pytest.approx(0.2, abs=0.02) == met.count("500") / len(met)
    assert pytest.approx(0.6, abs=0.02) == met.count(None) / len(met)
    assert {None} == {script.fault(PHASES[0], number) for number in range(100)}
    assert {"down"} == {script.fault(OUTAGE, number) for number in range(100)}


def test_the_phases_fill_the_run() -> None:
    """The parts make one whole, scaled to the run, and the end is healthy so that recovery can be seen."""
    begins = [begin for begin, _ in Script(20, 7).timeline()]

    assert pytest.approx(1) == sum(phase.part for phase in PHASES)
    assert pytest.approx([0, 3, 7, 10, 13, 16]) == begins
    assert not PHASES[-1].broken


@pytest.mark.parametrize(("now", "expected"), [(0, 0), (1.5, 0), (4, 2.5), (8, 6.5), (20, 6.5)])
def test_broken_time_is_counted_up_to_now(now: float, expected: float) -> None:
    """A run that was stopped early reports only what has been broken by then."""
    assert pytest.approx(expected) == Script(10, 7).broken_until(now)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.75, 3.0), (0.99, 4.0)])
def test_percentiles_are_values_that_were_measured(share: float, expected: float) -> None:
    """The nearest rank: no value between two measured ones is made up."""
    assert expected == percentile([1.0, 2.0, 3.0, 4.0], share)


def test_no_calls_have_no_percentile() -> None:
    """A run that was stopped before its first answer reports 0."""
    assert 0.0 == percentile([], 0.5)


def test_recovery_counts_from_the_last_answer_that_was_not_fresh() -> None:
    """Fresh answers only, of the requests due since the server was healthy; what was sent before does not count."""
    calls = [
        Call(due=7.0, ended=12.0, outcome="failed"),
        Call(due=8.1, ended=8.2, outcome="fresh"),
        Call(due=8.2, ended=8.3, outcome="last known"),
        Call(due=8.4, ended=8.5, outcome="fresh"),
        Call(due=8.6, ended=8.7, outcome="fresh"),
    ]

    assert 0.5 == recovery(calls, 8.0)


def test_what_did_not_recover_is_not_seen_to() -> None:
    """Without a fresh answer at the end there is no time to report."""
    assert None is recovery([Call(due=8.1, ended=8.2, outcome="failed")], 8.0)


def test_the_words_follow_from_the_figures() -> None:
    """What is said is what was measured, to the disadvantage of seawall too."""
    assert (
        "The server was broken for 6.5 s: bare code left 40 of 100 callers without a usable answer, seawall nobody; "
        "30 of its answers were the last known ones, marked as such. The broken server had to bear 20% fewer calls "
        "from seawall (40 instead of 50), retries included."
    ) == in_words(a_report())
    assert (
        "The server was broken for 6.5 s: bare code left 40 of 100 callers without a usable answer, seawall 50 of 100 "
        "callers. The broken server had to bear 20% more calls from seawall (60 instead of 50), retries included."
    ) == in_words(a_report(availability=50, calls_reached=60, fallbacks=0))
