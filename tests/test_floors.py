"""The house holds: who may import whom, how long a file may be, what it is called, what must not be written down."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "seawall"
MAX_LINES = 400
THIRD_PARTY_FLOORS = {"integrations", "cli"}
DYNAMIC_IMPORT = {"__import__", "import_module"}
NAMELESS = {"utils", "helpers", "common", "base", "manager"}

# Put together here so that this file does not hold what it forbids.
REGISTRY_ADDRESS = re.compile(
    "|".join(
        (
            r"https?://[^\s\"']*(?:/simp" + r"le\b|/packages/[0-9a-f]{2}/|regis" + r"try\.)",
            r"\bpypi\." + r"org\b|\bpythonhosted\." + r"org\b|\bnpmjs\." + r"(?:com|org)\b",
            r"--(?:extra-)?index-" + r"url\b|--find-" + r"links\b",
        )
    )
)
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])(?:/(?:work|farm|root)/|/(?:home|Users)/\w|/tmp/" + r"(?:tmp|pytest)|[A-Z]:\\Users\\)"
)


def sources() -> list[Path]:
    """Return every Python file of the package, sorted."""
    return sorted(PACKAGE.rglob("*.py"))


def below_third_party() -> list[Path]:
    """Return the files that may import the standard library and seawall only."""
    return [path for path in sources() if path.relative_to(PACKAGE).with_suffix("").parts[0] not in THIRD_PARTY_FLOORS]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything that is imported absolutely, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def called(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the last name of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.lineno, node.func.attr


def parse(path: Path) -> ast.AST:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, line: int) -> str:
    """Return where a finding is, as editors and terminals link it."""
    return f"{path.relative_to(ROOT).as_posix()}:{line}"


def project_files() -> list[Path]:
    """Return the files that are or would be committed; without git, all that no tool made."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return [path for name in names if name and (path := ROOT / name).is_file()]
    made = re.compile(r"\.git|\.venv.*|\..*_cache|\.hypothesis|__pycache__|site|build|dist|.*\.egg-info")
    paths = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not made.fullmatch(name)]
        paths += [Path(folder, name) for name in names]
    return paths


def project_texts() -> Iterator[tuple[Path, str]]:
    """Yield each of those files that is text, with the text."""
    for path in project_files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def findings(pattern: re.Pattern[str]) -> list[str]:
    """Return every line of the project's texts that the pattern is found in."""
    return [
        f"{place(path, number)}: {line.strip()}"
        for path, text in project_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_there_is_something_to_check() -> None:
    """The package and its ground floor are where the checks below look for them."""
    assert PACKAGE / "__init__.py" in sources()
    assert any(path.parent.name == "_core" for path in below_third_party())


def test_only_integrations_and_the_cli_import_third_parties() -> None:
    """Everything else imports the standard library and seawall alone, lazily too."""
    allowed = sys.stdlib_module_names | {"seawall"}
    strangers = [
        f"{place(path, line)} imports {name}"
        for path in below_third_party()
        for line, name in imported(parse(path))
        if name.partition(".")[0] not in allowed
    ]

    assert [] == strangers


def test_examples_use_the_public_face_alone() -> None:
    """What the examples show is what a user may rely on: no name that starts with an underscore."""
    private = [
        f"{place(path, line)} imports {name}"
        for path in sorted((ROOT / "examples").rglob("*.py"))
        for line, name in imported(parse(path))
        if name.startswith("seawall.") and re.search(r"\._(?!_)", name)
    ]

    assert [] == private


def test_only_the_scheme_table_imports_by_name() -> None:
    """A dynamic import elsewhere would slip past the check above and past import-linter."""
    dynamic = [
        f"{place(path, line)} calls {name}"
        for path in below_third_party()
        if path != PACKAGE / "_core" / "schemes.py"
        for line, name in called(parse(path))
        if name in DYNAMIC_IMPORT
    ]

    assert [] == dynamic


def test_a_lazy_import_is_seen() -> None:
    """The checks of imports see one inside a function, an alias and a submodule; relative ones are seawall's own."""
    tree = ast.parse("import os.path as p\ndef f():\n    from rich.console import Console\n    from . import sibling\n")

    assert [(1, "os.path"), (3, "rich.console.Console")] == sorted(imported(tree))


def test_a_dynamic_import_is_seen() -> None:
    """Both spellings of a dynamic import are found."""
    tree = ast.parse("importlib.import_module('rich')\n__import__('rich')\n")

    assert DYNAMIC_IMPORT == {name for _, name in called(tree)}


def test_importing_seawall_loads_no_third_party_module_and_starts_no_thread() -> None:
    """What `import seawall` adds to a fresh interpreter is standard library and seawall, and nothing runs."""
    script = """
import sys
before = set(sys.modules)
import seawall
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names - {"seawall"}), len(sys._current_frames()))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ("[] 1\n", "") == (ran.stdout, ran.stderr)


def test_imports_keep_to_their_floors() -> None:
    """The contracts of import-linter in pyproject.toml are kept."""
    script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert 0 == ran.returncode, ran.stdout + ran.stderr


def test_no_source_file_is_longer_than_400_lines() -> None:
    """A file holds one idea, and an idea fits."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}

    assert {} == {place(path, 1): lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    """`utils`, `helpers` and their like collect what has no home; here everything has one."""
    nameless = {
        path.relative_to(ROOT).as_posix()
        for path in project_files()
        if path.suffix == ".py"
        for part in path.relative_to(ROOT).with_suffix("").parts
        if part.strip("_") in NAMELESS
    }

    assert set() == nameless


def test_no_text_names_a_package_registry() -> None:
    """Where packages come from is the installer's business: locks, docs and scripts name packages only."""
    assert [] == findings(REGISTRY_ADDRESS)


def test_no_text_names_a_path_of_one_machine() -> None:
    """What is committed means the same on every machine."""
    assert [] == findings(MACHINE_PATH)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRY_ADDRESS, "https://mirror.example/simp" + "le/seawall/"),
        (REGISTRY_ADDRESS, "pip install --index-" + "url x"),
        (REGISTRY_ADDRESS, "see pypi." + "org"),
        (MACHINE_PATH, 'File "/ro' + 'ot/seawall/x.py"'),
        (MACHINE_PATH, "in /ho" + "me/ann/seawall"),
        (MACHINE_PATH, "/t" + "mp/pytest-of-ann/x"),
    ],
)
def test_what_must_not_be_written_down_is_seen(pattern: re.Pattern[str], text: str) -> None:
    """The patterns of the two checks above find what they are for."""
    assert pattern.search(text)
