"""`seawall idempotency`: seeing operations, and settling those of unknown outcome."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from seawall.cli.group import seawall
from seawall.durable import Claim, EmbeddedStore, Idempotency, Replay, open_store
from seawall.testing import FakeClock

PAYMENTS = ("--namespace", "payments")


class Shop:
    """A store with operations in it, and commands on it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.clock = FakeClock(wall=time.time() - 100)  # commands have the time of day
        self.store = EmbeddedStore(path, clock=self.clock)
        self.payments = Idempotency(self.store, "payments")
        self.payments.show("makes the file")

    def claim(self, key: str, **options: Any) -> Claim:
        """Claims a key."""
        claim = self.payments.claim(key, **options)
        assert isinstance(claim, Claim)
        return claim

    def run(self, *arguments: str, url: str | None = None) -> Result:
        """Runs a command."""
        database = ["--database", url or self.url]
        return CliRunner().invoke(seawall, ["idempotency", *arguments, *database], env={"COLUMNS": "120"})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A fresh one."""
    made = Shop(tmp_path / "shop.db")
    yield made
    made.store.close()


def facts(result: Result) -> Any:
    """Returns the JSON that a command printed, which is all that it printed."""
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


def test_show_tells_what_became_of_an_operation(shop: Shop) -> None:
    """For people, and as JSON."""
    shop.payments.call("k", lambda: {"id": "p-1"})
    text, shown = shop.run("show", "k", *PAYMENTS), facts(shop.run("show", "k", *PAYMENTS, "--json"))

    assert "payments k: done" in text.stdout
    assert '{"id":"p-1"}' in text.stdout
    assert ("payments", "k", "done", 1, "json", {"id": "p-1"}, False, None) == tuple(
        shown[name] for name in ("namespace", "key", "state", "epoch", "result_type", "result", "rerun", "lease_left")
    )
    assert 0 < shown["kept"]


def test_show_tells_of_leases_and_holders(shop: Shop) -> None:
    """An operation in flight, one whose process is gone, one that was taken over."""
    with EmbeddedStore(shop.url.removeprefix("sqlite:///")) as store:  # of a process with the time of day
        Idempotency(store, "payments").claim("runs")
    shop.claim("gone")
    shop.claim("over", transactional=True)
    shop.clock.advance(31)
    shop.claim("over", transactional=True)

    assert "lease" in shop.run("show", "runs", *PAYMENTS).stdout
    gone = shop.run("show", "gone", *PAYMENTS).stdout
    assert "payments gone: unknown" in gone
    assert "its lease ran out before it ended" in gone
    assert "taken over" in shop.run("show", "over", *PAYMENTS).stdout
    assert 2 == facts(shop.run("show", "over", *PAYMENTS, "--json"))["epoch"]


def test_show_does_not_guess_at_results_of_other_codecs(shop: Shop) -> None:
    """It says how large they are."""

    class Raw:
        name = "raw"

        def dumps(self, value: bytes) -> bytes:
            """Returns it as it is."""
            return value

        loads = dumps

    Idempotency(shop.store, "raw", codec=Raw()).call("k", lambda: b"\x00\xff")
    assert "2 bytes" in shop.run("show", "k", "--namespace", "raw").stdout
    assert "result" not in facts(shop.run("show", "k", "--namespace", "raw", "--json"))
    claim = Idempotency(shop.store, "raw", codec=Raw()).claim("u")
    assert isinstance(claim, Claim)
    claim.mark_unknown("?")
    refused = shop.run("resolve", "u", "--namespace", "raw", "--result", "1", "--reason", "seen")
    assert (1, True) == (refused.exit_code, "codec 'raw' of the application" in refused.output)


def test_list_tells_what_is_unknown(shop: Shop) -> None:
    """Of one namespace or all, also what nobody has asked for yet."""
    assert "no outcome is unknown" in shop.run("list").stdout
    shop.claim("lapsed")
    shop.clock.advance(31)
    shop.claim("said").mark_unknown("the bank was silent")
    text, shown = shop.run("list"), facts(shop.run("list", *PAYMENTS, "--json"))

    assert ["lapsed", "said"] == [each["key"] for each in shown["operations"]]
    assert {"unknown"} == {each["state"] for each in shown["operations"]}
    assert "the bank was silent" in text.stdout
    assert "2 operations to be settled" in text.stdout
    assert [] == facts(shop.run("list", "--namespace", "other", "--json"))["operations"]


def test_resolve_gives_the_result(shop: Shop) -> None:
    """Repeats get it."""
    shop.claim("k").mark_unknown("?")
    shown = facts(
        shop.run("resolve", "k", *PAYMENTS, "--result", '{"id": 7}', "--reason", "seen", "--actor", "ann", "--json")
    )

    assert ("done", {"id": 7}, "ann: seen") == (shown["state"], shown["result"], shown["note"])
    assert Replay({"id": 7}) == shop.payments.claim("k")


def test_resolve_says_that_it_was_not_done(shop: Shop) -> None:
    """The next call executes it; also of one whose process is gone and that nobody has asked for."""
    shop.claim("k").mark_unknown("?")
    shop.claim("gone")
    shop.clock.advance(31)
    for key in ("k", "gone"):
        result = shop.run("resolve", key, *PAYMENTS, "--not-done", "--reason", "the bank knows nothing")
        assert (0, True) == (result.exit_code, f"payments {key}: failed" in result.stdout)
        assert isinstance(shop.payments.claim(key), Claim)


def test_resolve_settles_nothing_that_is_settled_or_in_flight(shop: Shop) -> None:
    """Exit code 1, with the state."""
    shop.payments.call("done", lambda: 1)
    with EmbeddedStore(shop.url.removeprefix("sqlite:///")) as store:
        Idempotency(store, "payments").claim("runs")
    arguments = (*PAYMENTS, "--not-done", "--reason", "because")
    for key, words in (("done", "'done' is done"), ("runs", "is running"), ("never", "there is no operation 'never'")):
        result = shop.run("resolve", key, *arguments)
        assert (1, True) == (result.exit_code, words in result.output), result.output
        as_json = shop.run("resolve", key, *arguments, "--json")
        assert words in json.loads(as_json.stdout)["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "k"), "--namespace"),
        (("show", "k", "--namespace", ""), "namespace='' is empty"),
        (("show", "", *PAYMENTS), "key='' is empty"),
        (("resolve", "k", *PAYMENTS, "--reason", "x"), "either --result JSON, or --not-done"),
        (("resolve", "k", *PAYMENTS, "--result", "1", "--not-done", "--reason", "x"), "either --result"),
        (("resolve", "k", *PAYMENTS, "--result", "paid", "--reason", "x"), "it is no JSON"),
        (("resolve", "k", *PAYMENTS, "--not-done", "--reason", " "), "it says nothing"),
        (("resolve", "k", *PAYMENTS, "--not-done"), "--reason"),
    ],
)
def test_wrong_usage_is_told(shop: Shop, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, before anything is changed."""
    result = shop.run(*arguments)

    assert (2, True) == (result.exit_code, words in result.output), result.output


def test_it_works_on_redis_but_for_the_list(shop: Shop, redis_url: str) -> None:
    """Which says why."""
    store = open_store(redis_url)
    claim = Idempotency(store, "payments").claim("k")
    assert isinstance(claim, Claim)
    claim.mark_unknown("?")
    store.close()

    assert "unknown" == facts(shop.run("show", "k", *PAYMENTS, "--json", url=redis_url))["state"]
    done = shop.run("resolve", "k", *PAYMENTS, "--result", "7", "--reason", "seen", url=redis_url)
    assert 0 == done.exit_code, done.output
    listed = shop.run("list", url=redis_url)
    assert (1, True) == (listed.exit_code, "cannot live in redis://" in listed.output), listed.output
