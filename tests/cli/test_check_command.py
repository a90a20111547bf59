"""`seawall check`: files of policies, right and wrong."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.cli import main
from tests.cli.crew import process, widths

GOOD = """
[policies.rates]
retry = { on = ["Busy"], max_attempts = 4, backoff = 0.5 }
timeout = 2.0
[names]
Busy = "shopfaults:Busy"
"""
LOOSE = """
[policies.slow]
retry = { on = ["ConnectionError"], max_attempts = 3 }
"""
BAD = """
[policies.rates]
retry = { on = ["Bussy"], max_attempts = 0 }
brekaer = { failures = 5 }
[names]
Gone = "no.such.module:Thing"
"""
VARIABLE = "SEAWALL_POLICIES__RATES__RETRY__MAX_ATTEMPTS"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the current folder, with a module that prints when it is imported."""
    (tmp_path / "shopfaults.py").write_text("print('loud')\nclass Busy(Exception): pass\n")
    (tmp_path / "ends.py").write_text("raise SystemExit(7)\n")
    for name, text in (("good", GOOD), ("loose", LOOSE), ("bad", BAD), ("torn", "[policies"), ("none", "")):
        (tmp_path / f"{name}.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("shopfaults", None)


class Check:
    """The command, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        """Runs it, and returns its exit code."""
        code = main(["check", *arguments])
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Runs it with --json, and returns the one object that it prints."""
        assert code == self(*arguments, "--json")
        assert 1 == self.out.count("\n")
        return json.loads(self.out)


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Give the command."""
    return Check(capsys)


def test_a_good_file(check: Check) -> None:
    """Its strategies, what a call can take at worst, and that there is nothing to find; names come from the folder."""
    assert 0 == check("good.toml", "--strict")
    assert "good.toml: 1 policy can be used, 0 findings" == check.out.splitlines()[0]
    assert ("at worst: 4 attempts, 32 s" in check.out, "Timeout(seconds=2)" in check.out) == (True, True)
    assert "loud\n" == check.err


def test_its_json(check: Check) -> None:
    """One object, although a module of the file prints; times without bound are null."""
    found = check.json("good.toml")
    assert ["file", "ok", "problems", "policies"] == list(found)
    assert ("good.toml", True, [], ["rates"]) == (
        found["file"],
        found["ok"],
        found["problems"],
        list(found["policies"]),
    )
    rates = found["policies"]["rates"]
    assert (4, 32.0, []) == tuple(rates[key] for key in ("worst_attempts", "worst_seconds", "findings"))
    assert [("Retry", "rates.retry"), ("Timeout", "rates.timeout")] == [
        (each["strategy"], each["name"]) for each in rates["strategies"]
    ]
    assert {"seconds": 2.0} == rates["strategies"][1]["settings"]
    slow = check.json("loose.toml")["policies"]["slow"]
    assert (None, ["time unbounded"]) == (slow["worst_seconds"], [each["rule"] for each in slow["findings"]])


def test_findings_are_problems_where_it_is_strict(check: Check) -> None:
    """Without it they are shown, and the file can be used."""
    assert 0 == check("loose.toml")
    assert "! slow: time unbounded: " in check.out
    assert "at worst: 3 attempts, without bound" in check.out
    assert 1 == check("loose.toml", "--strict")
    assert not check.json("loose.toml", "--strict", code=1)["ok"]


def test_every_problem_is_listed(check: Check) -> None:
    """With file, key, value and reason."""
    found = check.json("bad.toml", code=1)

    assert (False, {}) == (found["ok"], found["policies"])
    assert {
        ("names.Gone", "'no.such.module:Thing'"),
        ("policies.rates.retry", "'Bussy'"),
        ("policies.rates.retry.max_attempts", "0"),
        ("policies.rates.brekaer", "{'failures': 5}"),
    } == {(each["key"].removesuffix(".on"), each["value"]) for each in found["problems"]}
    assert {"bad.toml"} == {each["file"] for each in found["problems"]}
    assert 1 == check("bad.toml")
    assert "bad.toml: 4 problems" == check.out.splitlines()[0]
    assert "did you mean breaker?" in check.out


def test_the_environment_counts_unless_told_otherwise(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is wrong is named, together with what is wrong in the file."""
    monkeypatch.setenv(VARIABLE, "6")
    assert 6 == check.json("good.toml")["policies"]["rates"]["worst_attempts"]
    assert 4 == check.json("good.toml", "--no-env")["policies"]["rates"]["worst_attempts"]
    monkeypatch.setenv(VARIABLE, "0")
    (problem,) = check.json("good.toml", code=1)["problems"]
    assert (VARIABLE, "0") == (problem["file"], problem["value"])
    monkeypatch.setenv("SEAWALL_POLICIES__FARES__TIMEOUT", "1")
    files = [each["file"] for each in check.json("bad.toml", code=1)["problems"]]
    assert ["SEAWALL_POLICIES__FARES__TIMEOUT", "bad.toml"] == sorted(set(files))


def test_a_module_that_ends_the_program_is_a_problem(check: Check, folder: Path) -> None:
    """The command does not end with the module's exit code."""
    (folder / "ends.toml").write_text('[names]\nEnds = "ends:X"\n')
    (problem,) = check.json("ends.toml", code=1)["problems"]
    assert "a module of it ended the program with 7 when it was imported" == problem["reason"]


def test_what_is_no_file_of_policies(check: Check) -> None:
    """No TOML is a problem, nothing at all is none, and what is not there is wrong usage."""
    assert 1 == check("torn.toml")
    assert "no TOML" in check.out
    assert 0 == check("none.toml")
    assert 2 == check("missing.toml")
    assert 2 == check(".")
    assert "Traceback" not in check.err


def test_as_a_process(folder: Path) -> None:
    """From any folder, without control codes and within the columns that there are."""
    for columns in (50, 200):
        ran = process("check", "loose.toml", cwd=folder, COLUMNS=str(columns), FORCE_COLOR="1")
        assert (0, "") == (ran.returncode, ran.stderr)
        table = ran.stdout.split("At worst is")[0]
        assert ("\x1b" in ran.stdout, True) == (False, widths(table) <= min(columns, 120))
