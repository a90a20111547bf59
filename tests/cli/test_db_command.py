"""`seawall db`: making tables, and seeing what waits in them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from seawall.cli.group import seawall
from seawall.durable import EmbeddedStore
from seawall.durable.schema import VERSION
from tests.durable.stores.filled import fill, say_version
from tests.servers import Database


def run(*arguments: str, database: str | None = None, env: dict[str, str] | None = None) -> Result:
    """Runs a command."""
    given = [] if database is None else ["--database", database]
    return CliRunner().invoke(seawall, ["db", *arguments, *given], env={"SEAWALL_DATABASE": None, **(env or {})})


def shown(result: Result) -> Any:
    """Returns the JSON that a command printed."""
    return json.loads(result.stdout)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path}/seawall.db"


def test_upgrade_makes_the_tables_of_a_file(url: str) -> None:
    """Once; the second time there is nothing to do."""
    first, second = run("upgrade", database=url), run("upgrade", "--json", database=url)
    assert (0, 0) == (first.exit_code, second.exit_code)
    assert f"{url}: up to date, version {VERSION}" in first.stdout
    assert {"store": url, "from": VERSION, "to": VERSION} == shown(second)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_upgrade_and_status_on_postgresql(postgresql_database: Database, driver: str) -> None:
    """With each driver; before, status says that there are no tables."""
    url = postgresql_database.url.replace("postgresql", driver, 1)
    before = run("status", database=url)
    assert (3, True) == (before.exit_code, "no tables" in before.stdout and "seawall db upgrade" in before.stdout)
    made = run("upgrade", "--json", database=url)
    assert (0, 0, VERSION) == (made.exit_code, shown(made)["from"], shown(made)["to"])
    after = run("status", "--json", database=url)
    assert (0, True, VERSION) == (after.exit_code, shown(after)["current"], shown(after)["version"])


def test_status_shows_what_waits_and_what_somebody_must_look_at(url: str) -> None:
    """As a table, with a line of what is not in order; and as JSON."""
    with EmbeddedStore(url.removeprefix("sqlite:///")) as store:
        store.run(fill)
    table, facts = run("status", env={"SEAWALL_DATABASE": url}), run("status", "--json", database=url)
    assert (0, 0) == (table.exit_code, facts.exit_code)
    assert "! somebody must look: 1 unknown operation, 1 stuck message, 1 blocked saga" in table.stdout
    assert {
        "store": url,
        "version": VERSION,
        "latest": VERSION,
        "current": True,
        "operations": {"running": 1, "unknown": 1},
        "messages": {"waiting": 2, "stuck": 1},
        "sagas": {"blocked": 1, "completed": 2, "running": 1},
    } == shown(facts)


def test_status_of_a_file_that_is_not_there_makes_none(url: str) -> None:
    """Its name is probably wrong."""
    result = run("status", database=url)
    assert (1, True) == (result.exit_code, "there is no file" in result.stderr)
    assert False is Path(url.removeprefix("sqlite:///")).exists()


def test_tables_of_a_newer_seawall_are_left_alone(postgresql_database: Database, url: str) -> None:
    """Status shows them, and an upgrade refuses."""
    with EmbeddedStore(url.removeprefix("sqlite:///")) as store:
        store.run(partial(say_version, VERSION + 1))
    refused = run("upgrade", "--json", database=url)
    assert (1, True) == (refused.exit_code, "made by a newer one" in shown(refused)["error"])
    assert 0 == run("upgrade", database=postgresql_database.url).exit_code
    postgresql_database.sql(f"INSERT INTO seawall_schema VALUES ({VERSION + 1}, 0)")
    seen = run("status", database=postgresql_database.url)
    assert (3, True) == (seen.exit_code, "use a newer seawall" in seen.stdout)


@pytest.mark.parametrize(
    ("database", "code", "says"),
    [
        (None, 2, "SEAWALL_DATABASE"),
        ("postgres://u:SECRET@h/d", 1, "did you mean postgresql"),
        ("postgresql://u:SECRET@127.0.0.1:1/d", 1, "out of reach"),
        ("postgresql+asyncpg://u:SECRET@127.0.0.1:1/d", 1, "out of reach"),
        ("redis://:SECRET@127.0.0.1:1/0", 1, "cannot live in"),
    ],
)
def test_what_cannot_be_reached_is_an_error_without_secrets(database: str | None, code: int, says: str) -> None:
    """With its exit code."""
    result = run("status", database=database)
    assert (code, True) == (result.exit_code, says in result.stderr), result.output
    assert "SECRET" not in result.output
