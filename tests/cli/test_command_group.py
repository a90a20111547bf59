"""`seawall` itself: its help, its version, and what it does not import for them."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from seawall.cli import main
from seawall.cli.group import COMMANDS, seawall

ROOT = Path(__file__).resolve().parents[2]


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_lists_every_command() -> None:
    """With what it does, in lines that fit a terminal; both spellings are the same."""
    ran = CliRunner().invoke(seawall, ["--help"])

    assert 0 == ran.exit_code
    assert [] == [
        words for command in COMMANDS.items() for words in (command[0], command[1][1]) if words not in ran.output
    ]
    assert [] == [line for line in ran.output.splitlines() if len(line) > 80]
    assert ran.output == CliRunner().invoke(seawall, ["-h"]).output


def test_each_command_is_where_the_group_looks_for_it() -> None:
    """And has a help of its own that says what its exit codes are."""
    for name in COMMANDS:
        ran = CliRunner().invoke(seawall, [name, "--help"])
        assert (0, True) == (ran.exit_code, "Exit codes:" in ran.output)


def test_help_imports_no_command() -> None:
    """Nor rich, nor the storm engine: help stays quick however many commands there are."""
    ran = python(
        "import sys; from seawall.cli import main; main(['--help'])\n"
        "print([name for name in sys.modules if name.startswith(('rich', 'seawall.chaos', 'seawall.cli.storm'))])"
    )

    assert ("[]", "") == (ran.stdout.splitlines()[-1], ran.stderr)


def test_the_version_is_the_package_s() -> None:
    """As it is installed."""
    ran = CliRunner().invoke(seawall, ["--version"])

    assert (0, f"seawall {version('seawall')}\n") == (ran.exit_code, ran.output)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["strom"], "No such command 'strom'. Did you mean 'storm'?"),
        (["--loud"], "No such option"),
        ([], "Usage: seawall"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And says on stderr what is wrong."""
    assert 2 == main(arguments)
    printed = capsys.readouterr()
    assert (True, "") == (text in printed.err, printed.out)


@pytest.mark.parametrize(("missing", "arguments"), [("click", "['--help']"), ("rich", "['storm', 'x']")])
def test_without_its_libraries_it_says_what_to_install(missing: str, arguments: str) -> None:
    """One line, no traceback, exit code 1."""
    ran = python(
        f"import sys; sys.modules[{missing!r}] = None; from seawall.cli import main; sys.exit(main({arguments}))"
    )

    assert (1, "") == (ran.returncode, ran.stdout)
    assert f"seawall: the command line needs {missing}: pip install seawall[cli]\n" == ran.stderr


def test_another_missing_module_is_not_taken_for_them() -> None:
    """A bug is shown as one."""
    ran = python(
        "import sys; sys.modules['seawall.chaos.storm'] = None; from seawall.cli import main; main(['storm', 'x'])"
    )

    assert (1, True) == (ran.returncode, "Traceback" in ran.stderr)


def test_ctrl_c_before_anything_begins_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, also where click is in charge."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seawall.cli.group.execute", interrupt)
    assert 130 == main([])
    monkeypatch.undo()
    monkeypatch.setattr("seawall.cli.group.schemes.load", interrupt)
    assert 130 == main(["storm", "x"])
