"""`make bench`: its command works without the peers, and its report and verdicts are right for fixed measurements."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.budgets import BUDGETS, Budget, judged
from benchmarks.contenders import ROWS, chosen, web
from benchmarks.measure import Entrant, Figure, Result, Settings, call_loop, figure, own_copy, plan, take_turns
from benchmarks.rows import work
from benchmarks.web_server import WRAPPED

ROOT = Path(__file__).resolve().parent.parent
MEASURED = Result(
    {
        "bare": Figure(100.0, 110.0),
        "seawall": Figure(400.0, 420.0),
        "nopanic": Figure(2000.0, 2000.0),
    },
    {"stamina": "not installed (stamina)"},
)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as `make bench` does."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def a_line(*budgets: Budget) -> report.Line:
    """Return one row of fixed measurements, judged."""
    return report.Line("five", "the five", MEASURED, [budget.judge(MEASURED) for budget in budgets])


def test_a_quick_run_of_one_row_gives_a_table_and_writes_its_files(tmp_path: Path) -> None:
    """One row is measured with whatever peers there are; stdout is the table, the files hold the same."""
    ran = bench("--quick", "--only", "bulkhead", "--json", f"{tmp_path}/b.json", "--markdown", f"{tmp_path}/b.md")
    written = json.loads((tmp_path / "b.json").read_text())
    assert True is (ran.returncode in (0, 1)), ran.stderr
    assert [row.key for row in chosen("bulkhead")] == [row["key"] for row in written["rows"]]
    assert "| work, nothing failing |" == ran.stdout[: len("| work, nothing failing |")]
    assert True is (ran.stdout.splitlines()[2] in (tmp_path / "b.md").read_text())
    assert ran.returncode == int(any(one["over"] > 0 for row in written["rows"] for one in row["budgets"]))


def test_help_says_what_there_is() -> None:
    """`--help` ends well and names every option."""
    ran = bench("--help")
    assert 0 == ran.returncode
    assert [] == [option for option in ("--quick", "--only", "--json", "--markdown") if option not in ran.stdout]


@pytest.mark.parametrize(
    "arguments", [["--only", "no such row"], ["--only", "("], ["--rounds"], ["--json", "no/such/folder/x.json"]]
)
def test_bad_usage_is_2(arguments: list[str]) -> None:
    """What cannot be done is refused before anything is measured."""
    assert 2 == bench(*arguments).returncode


def test_rows_are_chosen_by_key_or_title() -> None:
    """A pattern is looked for in both, whatever its case; keys are unique."""
    assert ["timeout-async"] == [row.key for row in chosen("TIMEOUT ALONE")]
    assert ["memory"] == [row.key for row in chosen("^memory$")]
    assert len(ROWS) == len({row.key for row in ROWS})


def test_every_budget_belongs_to_a_row() -> None:
    """A budget whose row was renamed would never be judged."""
    assert set() == set(BUDGETS) - {row.key for row in ROWS}


@pytest.mark.parametrize(
    ("budget", "measured", "text"),
    [
        (Budget("times", 4), 4.0, "ok"),
        (Budget("times", 2), 4.0, "over by 100.0 %"),
        (Budget("times", 0.1, "nopanic"), 0.2, "over by 100.0 %"),
        (Budget("beyond", 6, "nopanic"), -16.0, "ok"),
        (Budget("faster", 5, "nopanic"), 5.0, "ok"),
        (Budget("faster", 7, "nopanic"), 5.0, "over by 40.0 %"),
        (Budget("at most", 500, unit="B"), 400.0, "ok"),
        (Budget("times", 2, "tenacity"), None, "not judged: no tenacity"),
    ],
)
def test_a_budget_judges_what_was_measured(budget: Budget, measured: float | None, text: str) -> None:
    """Each kind of bound: met at its limit, exceeded by a share of it, not judged without its peer."""
    verdict = budget.judge(MEASURED)
    assert (measured, text) == (pytest.approx(verdict.measured), verdict.text)
    assert text.startswith("over") == (verdict.over > 0)


def test_a_row_without_a_budget_is_not_judged() -> None:
    """Rows that are measured for information have no verdict."""
    assert [] == judged("ratelimit-sync", MEASURED)


def test_the_table_shows_budget_ratio_time_noise_peers_and_verdict() -> None:
    """The cells of a row, with what was missing."""
    expected = (
        "the five",
        "4 x bare<br>7 x faster than nopanic",
        "4.0 x",
        "400 ns (bare 100)",
        "1.05",
        "nopanic 20.0 x<br>stamina: not installed (stamina)",
        "ok<br>over by 40.0 % (5.00 x)",
    )
    assert expected == report.cells(a_line(Budget("times", 4), Budget("faster", 7, "nopanic")))


def test_the_table_shows_other_units_as_they_are() -> None:
    """Bytes, milliseconds and growth are compared without a bare call."""
    result = Result({"bare": Figure(1.02, 1.1, "x"), "seawall": Figure(1.25, 1.5, "x", "800 -> 1,000 ns")})
    line = report.Line("grows", "growth", result, [Budget("at most", 1.5, unit="x").judge(result)])
    assert ("growth", "1.5 x", "1.25 x", "800 -> 1,000 ns", "1.20", "bare 1.02 x", "ok") == report.cells(line)
    assert "602 B" == report.value(Figure(602.4, 602.4, "B"), None)


def test_a_row_of_which_nothing_could_be_measured_is_still_shown() -> None:
    """No figures: dashes, and the reason."""
    line = report.Line("none", "nothing", Result({}, {"nopanic": "not installed (nopanic)"}), [])
    assert ("nothing", "-", "-", "-", "-", "nopanic: not installed (nopanic)", "-") == report.cells(line)


def test_the_page_holds_the_facts_the_table_and_what_is_missed() -> None:
    """A complete section: where it was measured, the table, how to read it, and the budgets that are exceeded."""
    lines = [a_line(Budget("times", 4), Budget("times", 2))]
    page = report.page(lines, {"processor": "EPYC", "commit": "abc"})
    parts = ["## What a call costs", "- processor: EPYC\n- commit: abc", report.table(lines), report.NOTES]
    assert [] == [part for part in parts if part not in page]
    assert "1 of 2 budgets met.\n- the five (2 x bare): over by 100.0 %" == report.summary(lines)


def test_a_figure_is_the_minimum_of_its_rounds() -> None:
    """The minimum stands for a contender; the median shows the noise."""
    one = figure([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (1.0, 3.0, 3.0) == (one.low, one.median, one.spread)


def test_contenders_take_turns() -> None:
    """Every contender is called in as many rounds as the others, in turn, each in a loop of its own."""
    entrants = {name: Entrant(own_copy(work), own_copy(call_loop)) for name in ("one", "two", "three")}
    steps = plan(list(entrants.values()), Settings(rounds=3, round_ns=1000))
    names = {id(entrant): name for name, entrant in entrants.items()}
    order = [names[id(next(steps)[0])]]
    order += [names[id(steps.send(1000)[0])] for _ in range(3 + 9 - 1)]
    assert ["one", "two", "three"] == order[:3]
    assert ["one", "two", "three", "two", "three", "one", "three", "one", "two"] == order[3:]
    assert 3 == len({id(entrant.loop.__code__) for entrant in entrants.values()})


def test_a_batch_measures_all_alike() -> None:
    """Each contender keeps one figure for each round, above zero."""
    entrants = {name: Entrant(own_copy(work), own_copy(call_loop)) for name in ("one", "two")}
    take_turns(entrants, Settings(rounds=4, round_ns=10_000))
    assert [4, 4] == [len([took for took in entrant.per_call if took > 0]) for entrant in entrants.values()]


def test_the_web_layer_is_measured_over_real_servers() -> None:
    """Bare and wrapped take turns under load; what a wrapper adds is the figure, and what is not there is missing."""
    result = web.WebRow("web", "web", percent=50).measured(Settings(batches=1, round_ns=125_000))
    assert "µs" == result.figures["seawall"].unit
    assert re.fullmatch(r"[\d,]+ -> [\d,]+ µs a request", result.figures["seawall"].note)
    assert WRAPPED.keys() == {"bare"} | result.figures.keys() | result.missing.keys()


def test_what_a_wrapper_adds_is_the_median_of_the_differences() -> None:
    """Of five pairs; the largest shows the noise."""
    one = web.beyond([100.0, 100.0, 100.0, 200.0, 100.0], [130.0, 190.0, 140.0, 235.0, 120.0])
    assert (35.0, 90.0, "100 -> 140 µs a request") == (one.low, one.median, one.note)
