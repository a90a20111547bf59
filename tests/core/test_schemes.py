"""Imports by name: what a reference names, and what is said of one that names nothing."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall._core.errors import SeawallError
from seawall._core.schemes import UnknownReferenceError, load


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that modules are imported from, and forget them afterwards."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_an_attribute_is_found() -> None:
    """Of a module, and of one in a package."""
    assert json.loads is load("json:loads")
    assert json.JSONDecoder is load("json.decoder:JSONDecoder")


def test_without_an_attribute_the_usual_one_is_meant(shelf: Path) -> None:
    """It is called scenario, unless the caller says otherwise."""
    (shelf / "stormy.py").write_text("scenario, app = 'a scenario', 'an app'\n")

    assert "a scenario" == load("stormy")
    assert "an app" == load("stormy", attribute="app")


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("json.nosuch:x", "there is no module 'json.nosuch' in 'json'; use one that can be imported"),
        ("nosuch.more:x", "there is no module 'nosuch' in the folders of sys.path; use one that can be imported"),
        ("json:load_it", "module 'json' has no attribute 'load_it'; did you mean 'load'?"),
        ("json:zzz", "module 'json' has no attribute 'zzz'; it has JSONDecodeError, JSONDecoder, JSONEncoder, codecs"),
        (
            "",
            "'' names no module; use a module, such as 'shop.storm', or 'shop.storm:scenario' for one attribute of it",
        ),
        ("json:", "'json:' names no module"),
        ("json:a:b", "'json:a:b' names no module"),
        (".json", "'.json' names no module"),
        ("shop/storm.py", "for one attribute of it (did you mean 'shop.storm'?)"),
        ("storm.py", "(did you mean 'storm'?)"),
    ],
)
def test_what_names_nothing_is_said_to(reference: str, text: str, shelf: Path) -> None:
    """The error says what is missing, and what would be right."""
    (shelf / "storm.py").write_text("")
    with pytest.raises(UnknownReferenceError) as caught:
        load(reference)

    assert text in str(caught.value)
    assert isinstance(caught.value, SeawallError)


def test_an_empty_module_has_no_attributes_to_name(shelf: Path) -> None:
    """Then it is said that there are none."""
    (shelf / "empty_one.py").write_text("")

    with pytest.raises(UnknownReferenceError, match="has no attribute 'scenario'; it has none at all"):
        load("empty_one")


@pytest.mark.parametrize(
    ("source", "error"), [("import nosuch_module", ModuleNotFoundError), ("1 / 0", ZeroDivisionError)]
)
def test_what_a_module_raises_is_its_own(shelf: Path, source: str, error: type[Exception]) -> None:
    """A module that is there and fails, for want of another one too, is not said to be missing."""
    (shelf / "failing_one.py").write_text(f"{source}\n")

    with pytest.raises(error):
        load("failing_one")


def test_a_reference_is_a_text() -> None:
    """Anything else is a TypeError."""
    wrong: Any = 5
    with pytest.raises(TypeError, match="reference=5 is not a text; use a module"):
        load(wrong)
