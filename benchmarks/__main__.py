"""`python -m benchmarks`: measures the rows of the table and judges them. Exit code 0: all budgets are met."""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from pathlib import Path

from benchmarks import report
from benchmarks.budgets import judged
from benchmarks.contenders import ROWS, chosen
from benchmarks.machine import facts
from benchmarks.measure import Settings
from benchmarks.report import Line
from benchmarks.rows import Row
from seawall import SeawallWarning


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures what seawall costs, against its budgets and its peers; the table is printed as Markdown.",
        epilog="Exit code: 0 all budgets are met, 1 one is exceeded, 2 bad usage. "
        f"Rows: {', '.join(row.key for row in ROWS)}.",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds: some seconds, less certain")
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows with this regular expression in their name")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures to this file")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write a page section to this file")
    options = parser.parse_args(arguments)
    try:
        rows = chosen(options.only)
    except re.error as error:
        parser.error(f"--only {options.only!r} is no regular expression: {error}")
    if not rows:
        parser.error(f"--only {options.only!r} fits no row; rows are: {', '.join(row.key for row in ROWS)}")
    for file in (options.json, options.markdown):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            parser.error(f"{file} cannot be written: name a file in a folder that exists")

    known = facts()
    lines = run(rows, Settings.quick() if options.quick else Settings())
    print(report.table(lines))
    print(f"\n{report.summary(lines)}")
    if options.json is not None:
        options.json.write_text(json.dumps(report.data(lines, known), indent=2) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(report.page(lines, known))
    return int(any(verdict.over > 0 for line in lines for verdict in line.verdicts))


def run(rows: list[Row], settings: Settings) -> list[Line]:
    """Measures rows, telling of each when it is done."""
    warnings.simplefilter("ignore", SeawallWarning)  # a pipeline without Timeout is meant here
    lines = []
    for number, row in enumerate(rows, 1):
        result = row.measured(settings)
        lines.append(Line(row.key, row.title, result, judged(row.key, result)))
        print(f"[{number:>2}/{len(rows)}] {report.progress(lines[-1])}", file=sys.stderr, flush=True)
    return lines


if __name__ == "__main__":
    sys.exit(main())
