"""`seawall saga`: what operators see and do, without any definition."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from seawall import Backoff
from seawall.cli import main
from seawall.durable import EmbeddedStore, Saga, Sagas, Step
from tests.durable.saga.witness import Witness


class Shop:
    """A store with sagas in it, and the command line."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self._capsys = f"sqlite:///{path}", capsys
        self.store = EmbeddedStore(path)
        witness = Witness()
        undo: Any = witness.does("-b", OSError("provider is down"))
        stuck = Saga(
            "checkout",
            witness.step("a", {"price": Decimal("1.50")}),
            Step("b", witness.does("b"), compensate=undo, undo_backoff=Backoff.fixed(0.001), undo_for=0.01),
            witness.step("c", ValueError("no seats"), undo=None),
        )
        fine = Saga("fine", witness.step("a"))
        self.sagas = Sagas(self.store, [stuck, fine])
        self.sagas.run(self.sagas.start("checkout", {"total": Decimal("9.99")}, saga_id="order-7"))
        self.sagas.run(self.sagas.start("fine", {}, saga_id="order-8"))
        self.sagas.start("fine", {}, saga_id="order-9")

    def __call__(self, *arguments: str) -> int:
        """Runs a command; what it says is in `out` and `err`."""
        code = main(["saga", *arguments, "--database", self.url])
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        """Runs a command, and returns what it prints as JSON."""
        assert 0 == self(*arguments, "--json"), self.out + self.err
        return json.loads(self.out)


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """With one saga stuck, one completed, and one that was only started."""
    monkeypatch.setenv("COLUMNS", "120")
    shop = Shop(tmp_path / "shop.db", capsys)
    yield shop
    shop.store.close()


def test_list_shows_sagas_and_who_needs_help(shop: Shop) -> None:
    """The youngest first, with the reason, and a word of warning."""
    assert 0 == shop("list")
    lines = [line.strip() for line in shop.out.splitlines()]
    ids = [line.split()[0] for line in lines if line.startswith("order-")]
    assert ["order-9", "order-8", "order-7"] == ids
    assert "! 1 saga stuck: somebody must look" == lines[-1]
    (row,) = [line for line in lines if line.startswith("order-7")]
    assert ["checkout", "stuck"] == row.split()[1:3]
    assert "step 'c' failed: ValueError: no seats" in row
    assert 0 == shop("list", "--state", "blocked")
    assert "there are no such sagas" == shop.out.strip()


def test_list_as_json(shop: Shop) -> None:
    """By state and name; exact numbers are texts there."""
    (found,) = shop.json("list", "--state", "stuck")["sagas"]
    facts = {key: found[key] for key in ("saga_id", "name", "version", "state", "held", "wake_at", "data")}
    expected = {
        "saga_id": "order-7",
        "name": "checkout",
        "version": 1,
        "state": "stuck",
        "held": False,
        "wake_at": None,
    }
    assert expected | {"data": {"total": "9.99"}} == facts
    assert ["order-9", "order-8"] == [each["saga_id"] for each in shop.json("list", "--name", "fine")["sagas"]]
    assert ["order-9"] == [each["saga_id"] for each in shop.json("list", "--limit", "1")["sagas"]]


def test_show_tells_of_the_steps(shop: Shop) -> None:
    """What came of each, with its key in JSON."""
    assert 0 == shop("show", "order-7")
    assert "saga order-7, checkout version 1: stuck" == shop.out.splitlines()[0]
    rows = {line.split()[0]: line.split()[1:4] for line in shop.out.splitlines() if line[:3] in (" a ", " b ", " c ")}
    assert (["undone", "1", "1"], "stuck", ["failed", "1", "0"]) == (rows["a"], rows["b"][0], rows["c"])
    assert "OSError: provider is down" in shop.out
    first = shop.json("show", "order-7")["steps"][0]
    assert ("a", "undone", {"price": "1.50"}, 64) == (first["name"], first["state"], first["result"], len(first["key"]))


def test_skip_lets_a_stuck_saga_end(shop: Shop) -> None:
    """With a note of who said so; the next worker ends it."""
    found = shop.json("skip", "order-7", "b", "--note", "refunded by hand", "--actor", "ann")
    assert ("compensating", "ann: refunded by hand") == (found["state"], found["steps"][1]["note"])
    assert "compensated" == shop.sagas.run("order-7").state


def test_retry_sends_a_stuck_saga_on(shop: Shop) -> None:
    """As it is then, it is shown."""
    assert 0 == shop("retry", "order-7")
    assert "saga order-7, checkout version 1: compensating" == shop.out.splitlines()[0]
    assert "stuck" == shop.sagas.run("order-7").state


def test_resolve_ends_one(shop: Shop) -> None:
    """For good; a second word is refused, and one that has ended, too."""
    assert 0 == shop("resolve", "order-7", "--note", "all refunded", "--actor", "ann")
    assert "ann: all refunded" in shop.out
    assert "resolved" == shop.json("show", "order-7")["state"]
    assert 1 == shop("resolve", "order-7", "--note", "otherwise", "--actor", "bob")
    assert "Error: saga 'order-7' has ended: it is resolved, and nothing is left to do" == shop.err.strip()
    assert 1 == shop("retry", "order-8", "--json")
    assert {"error": "saga 'order-8' has ended: it is completed, and nothing is left to do"} == json.loads(shop.out)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "nobody"), 1, "there is no saga 'nobody'"),
        (("skip", "order-7", "x", "--note", "n"), 1, "has begun no step 'x'"),
        (("skip", "order-7", "b"), 2, "Missing option '--note'"),
        (("resolve", "order-7", "--note", " "), 2, "use 1 to 500 characters"),
        (("show", ""), 2, "use 1 to 500 characters"),
        (("list", "--state", "lost"), 2, "'lost' is not one of 'running'"),
    ],
)
def test_mistakes_are_said(shop: Shop, arguments: tuple[str, ...], code: int, says: str) -> None:
    """On stderr, with an exit code of their own."""
    assert code == shop(*arguments)
    assert says in shop.err
