"""The documentation, held to the code: its examples run and print what it says, and its tables name what there is."""

import ast
import contextlib
import dataclasses
import gc
import importlib
import inspect
import io
import logging
import random
import re
import textwrap
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

import seawall
import seawall.chaos
import seawall.integrations.httpx
from seawall._core.events import EVERYWHERE
from seawall._core.names import NAMES
from seawall.testing import FakeClock

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL
)
NOT_RUN = re.compile(r"<!-- not run: .+? -->\s*\Z")
MOST_NOT_RUN = 10
DEFAULTS = {
    "retry.md": ["Retry", "RetryBudget"],
    "circuit-breaker.md": ["CircuitBreaker"],
    "timeout.md": ["Timeout", "deadline"],
    "bulkhead.md": ["Bulkhead", "WorkerPool"],
    "rate-limit.md": ["RateLimit"],
    "fallback.md": ["Fallback"],
    "hedge.md": ["Hedge"],
    "http.md": ["protect", "PerHost", "correlation"],
}
OWNERS = dict.fromkeys(("protect", "PerHost"), seawall.integrations.httpx)
PACKAGES = [
    importlib.import_module(f"seawall.{name}")
    for name in (
        "chaos",
        "degrade",
        "durable",
        "health",
        "integrations.httpx",
        "integrations.openfeature",
        "integrations.opentelemetry",
        "integrations.rabbitmq",
        "integrations.redis",
        "integrations.sqlalchemy",
        "integrations.structlog",
        "observe",
        "testing",
        "web",
    )
]
SECTIONS = ["About", "Usage", "Defaults", "Telemetry", "Traps"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `output` is what a python block is said to print, where the page says so."""

    line: int
    language: str
    text: str
    run: bool
    output: str | None


def blocks(page: str) -> Iterator[Block]:
    """Gives the fenced blocks of a page."""
    found = list(FENCE.finditer(page))
    for fence, after in zip_longest(found, found[1:]):
        follows = after is not None and not page[fence.end() : after.start()].strip()
        said = textwrap.dedent(after["text"]) if after is not None and follows and after["language"] == "text" else None
        line = page.count("\n", 0, fence.start()) + 1
        run = NOT_RUN.search(page[: fence.start()]) is None
        yield Block(line, fence["language"], textwrap.dedent(fence["text"]), run, said)


def tables(page: str, head: str) -> Iterator[list[list[str]]]:
    """Gives the rows of every table whose first column is headed `head`."""
    for table in re.findall(rf"^\| {head} \|[^\n]*\n\|[-| ]+\n((?:\|[^\n]*\n)+)", page, re.MULTILINE):
        yield [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]


def fields_of(event: type[seawall.Event]) -> list[str]:
    """Returns the fields of an event but for `name`, which all of them have."""
    names = getattr(event, "_fields", None) or [field.name for field in dataclasses.fields(event)]
    return [name for name in names if name != "name"]


def default_of(cell: str) -> object:
    """Returns the value that a table gives as a default."""
    if cell == "required":
        return inspect.Parameter.empty
    return eval(cell.strip("`"), {"random": random, **vars(seawall)})


@pytest.fixture
def fresh_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is in use yet: what other tests have left alive does not matter."""
    monkeypatch.setattr(NAMES, "_listed", weakref.WeakValueDictionary())


@pytest.mark.usefixtures("fresh_names")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_run_and_print_what_the_page_says(path: Path) -> None:
    """Every python block of a page runs, top to bottom in one namespace, and prints the text block that follows it."""
    listeners = list(EVERYWHERE)
    namespace: dict[str, object] = {"__name__": "example"}
    clock = FakeClock()
    try:
        for block in blocks(path.read_text(encoding="utf-8")):
            if block.language != "python" or not block.run:
                continue
            code = compile("\n" * block.line + block.text, str(path), "exec", dont_inherit=True)
            printed = io.StringIO()
            with clock, contextlib.redirect_stdout(printed):
                exec(code, namespace)
            if block.output is not None:
                assert block.output == printed.getvalue(), f"{path}:{block.line}"
        assert listeners == EVERYWHERE, "an example left a listener behind"
    finally:
        namespace.clear()
        gc.collect()


def test_hardly_any_example_is_exempt() -> None:
    """At most a handful of python blocks are not run, and each of those is at least Python."""
    exempt = [
        block
        for path in PAGES
        for block in blocks(path.read_text(encoding="utf-8"))
        if block.language == "python" and not block.run
    ]
    assert len(exempt) <= MOST_NOT_RUN
    assert len(exempt) == sum(isinstance(ast.parse(block.text), ast.Module) for block in exempt)


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_the_signature(name: str) -> None:
    """The Defaults of a strategy's page name exactly the constructor's arguments, in order, with their defaults."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    section = re.search(r"^## Defaults\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    parts = re.split(r"^### `(\w+)`\n", section[1], flags=re.MULTILINE)
    assert DEFAULTS[name] == parts[1::2]
    for kind, part in zip(parts[1::2], parts[2::2], strict=True):
        (rows,) = tables(part, "Argument")
        signature = inspect.signature(getattr(OWNERS.get(kind, seawall), kind))
        expected = [
            ("*" * (parameter.kind is parameter.VAR_POSITIONAL) + parameter.name, parameter.default)
            for parameter in signature.parameters.values()
        ]
        assert expected == [(row[0].strip("`"), default_of(row[1])) for row in rows]


@pytest.mark.parametrize("name", DEFAULTS)
def test_strategy_pages_have_the_same_sections(name: str) -> None:
    """Each strategy's page has the sections of the others, in the same order."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert SECTIONS == [title for title in re.findall(r"^## (.*)$", page, re.MULTILINE) if title in SECTIONS]


def public(name: str) -> type[seawall.Event]:
    """Returns an event by its name, of whichever package it is."""
    (kind,) = {getattr(package, name) for package in (seawall, *PACKAGES) if hasattr(package, name)}
    assert issubclass(kind, seawall.Event)
    return kind


@pytest.mark.parametrize("name", ["events.md", "health.md", "switches.md", *DEFAULTS])
def test_events_have_the_fields_that_the_page_says(name: str) -> None:
    """A table of events gives the fields of each event as the class has them."""
    rows = [row for table in tables((ROOT / "docs" / name).read_text(encoding="utf-8"), "Event") for row in table]
    said = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in rows}
    assert said
    assert {event: fields_of(public(event)) for event in said} == said


def level_said(cell: str, new: str) -> str:
    """Returns the level that the table gives for an event; for a circuit, for one that changed to `new`."""
    excepted = re.fullmatch(r"(?P<level>[A-Z]+) to (?P<states>.+), else (?P<other>[A-Z]+)", cell)
    if excepted is None:
        return cell or "NOTSET"
    return excepted["level"] if new in re.findall(r"`(\w+)`", excepted["states"]) else excepted["other"]


def test_events_have_the_level_that_the_page_says() -> None:
    """The level column agrees with the classes; for CircuitChanged in each of its states."""
    (rows,) = tables((ROOT / "docs/events.md").read_text(encoding="utf-8"), "Event")
    states = ("closed", "open", "half_open", "isolated", "disabled", "metrics_only")
    for row in rows:
        kind = getattr(seawall, row[0].strip("`"))
        for new in states:
            level = seawall.CircuitChanged("n", "closed", new).level if kind is seawall.CircuitChanged else kind.level
            assert logging.getLevelName(level) == level_said(row[-1], new), f"{row[0]} {new}"


def test_contributing_describes_the_tests_as_they_are() -> None:
    """The paths that it names are there, and it names every folder of tests."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:tests|src)/[a-z_/]+\.py\b", page)
    assert paths
    assert [] == [path for path in paths if not (ROOT / path).is_file()]
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/*.py")}
    assert folders == set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_every_event_is_documented() -> None:
    """The page about events lists all of them."""
    rows = [row for table in tables((ROOT / "docs/events.md").read_text(encoding="utf-8"), "Event") for row in table]
    public = [getattr(seawall, name) for name in seawall.__all__]
    events = {
        kind.__name__
        for kind in public
        if inspect.isclass(kind) and issubclass(kind, seawall.Event) and kind is not seawall.Event
    }
    assert events == {row[0].strip("`") for row in rows}


def test_every_name_is_in_the_reference() -> None:
    """The reference lists each public name of `seawall` and its packages."""
    reference = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: ([\w.]+)$", reference, re.MULTILINE)
    names = [f"seawall.{name}" for name in seawall.__all__]
    for package in PACKAGES:
        names += [f"{package.__name__}.{name}" for name in package.__all__]
    assert sorted(names) == sorted(listed)
