"""`seawall outbox`: what operators see and do about messages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from seawall.cli.group import seawall
from seawall.durable import EmbeddedStore, Outbox, OutboxMessage, Relay
from tests.servers import Database


class Shop:
    """An outbox with a message that is stuck, one behind it, and one that waits."""

    def __init__(self, path: Path) -> None:
        self.url, self.store = f"sqlite:///{path}", EmbeddedStore(path)
        self.outbox = Outbox(self.store)
        self.stuck = self.outbox.add("payments", {"id": 7}, ordering_key="order-7")
        Relay(self.outbox, self.refuse, max_attempts=1).pass_once()
        self.behind = self.outbox.add("payments", b"\xff", ordering_key="order-7")
        self.waiting = self.outbox.add("mails", "hello", delay=3600)

    def refuse(self, message: OutboxMessage) -> None:
        """Fails."""
        raise ConnectionError("nobody \x1b[31mlistens")

    def __call__(self, *arguments: str) -> Result:
        """Runs a command."""
        env = {"SEAWALL_DATABASE": self.url, "COLUMNS": "120"}
        return CliRunner().invoke(seawall, ["outbox", *arguments], env=env)

    def json(self, *arguments: str) -> Any:
        """Runs a command, and returns what it prints as JSON."""
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop of this test alone."""
    shop = Shop(tmp_path / "shop.db")
    yield shop
    shop.store.close()


def test_list_shows_what_is_stuck_first(shop: Shop) -> None:
    """With the last error, without what a terminal would obey; and that somebody must look."""
    shown = shop("list")
    rows = [line for line in shown.stdout.splitlines() if "payments" in line or "mails" in line]
    assert (0, 3) == (shown.exit_code, len(rows))
    assert "stuck" in rows[0]
    assert "order-7" in rows[0]
    assert "in 1 h" in rows[2]
    assert "\x1b" not in shown.stdout
    assert "! 1 message stuck: somebody must look" in shown.stdout
    assert 1 == sum("payments" in line for line in shop("list", "--stuck").stdout.splitlines())
    assert 1 == len(shop.json("list", "--stuck", "--limit", "1")["messages"])


def test_list_as_json(shop: Shop) -> None:
    """All that is known of each message; a body that is no text is null."""
    stuck, behind, waiting = shop.json("list")["messages"]
    assert [shop.stuck, shop.behind, shop.waiting] == [each["message_id"] for each in (stuck, behind, waiting)]
    assert ("stuck", "waiting", "waiting") == (stuck["state"], behind["state"], waiting["state"])
    assert ('{"id":7}', None, "hello") == (stuck["body"], behind["body"], waiting["body"])
    assert (1, "order-7", 8) == (stuck["attempts"], stuck["ordering_key"], stuck["size"])
    assert stuck["error"].startswith("ConnectionError: nobody")
    assert "application/json" == stuck["headers"]["content-type"]


def test_retry_lets_messages_be_sent(shop: Shop) -> None:
    """By id, or all that are stuck; ids that are not there any more are exit code 1."""
    done = shop("retry", shop.stuck)
    assert (0, "1 message will be sent now\n") == (done.exit_code, done.stdout)
    assert [] == shop.outbox.stuck()
    sent: list[str] = []
    while Relay(shop.outbox, lambda message: sent.append(message.message_id)).pass_once():
        pass
    assert [shop.stuck, shop.behind] == sent
    again = shop("retry", shop.stuck, shop.waiting)
    assert (1, True) == (again.exit_code, f"not there any more, sent or dropped: {shop.stuck}" in again.stdout)
    assert {"retried": 1, "missing": ["unknown"]} == shop.json("retry", shop.waiting, "unknown")


def test_retry_of_all_that_are_stuck(shop: Shop) -> None:
    """Says how many."""
    assert {"retried": 1, "missing": []} == shop.json("retry", "--stuck")
    assert {"retried": 0, "missing": []} == shop.json("retry", "--stuck")
    for wrong in (("retry",), ("retry", "--stuck", shop.stuck)):
        result = shop(*wrong)
        assert (2, True) == (result.exit_code, "Say which: ids of messages, or --stuck" in result.stderr)


def test_drop_gives_a_message_up(shop: Shop) -> None:
    """With a note that says who; what is behind it can leave."""
    done = shop("drop", shop.stuck, "--note", "told by phone", "--actor", "jo")
    assert (0, "1 message dropped\n") == (done.exit_code, done.stdout)
    note = shop.store.transact(lambda c: c.execute("SELECT note FROM seawall_outbox WHERE note NOT NULL").fetchall())
    assert [("jo: told by phone",)] == note
    sent: list[str] = []
    Relay(shop.outbox, lambda message: sent.append(message.message_id)).pass_once()
    assert [shop.behind] == sent
    assert {"dropped": [shop.waiting], "missing": [shop.stuck]} == shop.json(
        "drop", shop.stuck, shop.waiting, "--note", "x"
    )
    assert 1 == shop("drop", shop.stuck, "--note", "again").exit_code
    assert "no message waits" in shop("list").stdout
    assert "no message is stuck" in shop("list", "--stuck").stdout


@pytest.mark.parametrize("wrong", [["drop", "m1"], ["drop", "m1", "--note", " "], ["drop", "--note", "x"]])
def test_a_drop_says_what_and_why(shop: Shop, wrong: list[str]) -> None:
    """Else it is wrong usage."""
    assert 2 == shop(*wrong).exit_code


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+asyncpg"])
def test_the_commands_work_on_postgresql(postgresql_database: Database, driver: str) -> None:
    """With a sync and an async driver."""
    url = postgresql_database.url.replace("postgresql", driver, 1)
    run = CliRunner()
    assert 0 == run.invoke(seawall, ["db", "upgrade", "--database", url]).exit_code
    for arguments in (["list"], ["list", "--stuck"], ["retry", "--stuck"]):
        result = run.invoke(seawall, ["outbox", *arguments, "--json", "--database", url])
        assert 0 == result.exit_code, result.output
    assert 1 == run.invoke(seawall, ["outbox", "drop", "m1", "--note", "x", "--database", url]).exit_code
