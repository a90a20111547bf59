"""A transaction that is killed -9 at every point that it passes: all of it is there, or nothing."""

import pytest

from seawall.testing import Crash, CrashRunner
from tests.integrations.sqlalchemy.crashing import EFFECT
from tests.integrations.sqlalchemy.databases import World


@pytest.mark.parametrize("world", ["asyncpg", "pysqlite"], indirect=True)
def test_killed_at_every_point(world: World) -> None:
    """The effect, the message and the row of its id are committed together, and only if COMMIT was passed."""
    colour = "sync" if world.sync else "async"
    runner = CrashRunner(["python", "-m", "tests.integrations.sqlalchemy.crashing", colour, world.url])

    def before() -> None:
        for table in ("effects", "seawall_outbox", "seawall_txn"):
            world.sql(f"DELETE FROM {table}")

    def check(crash: Crash) -> str | None:
        rows = [
            world.sql(f"SELECT {what}")
            for what in (
                "id FROM effects",
                "body FROM seawall_outbox",
                "id FROM seawall_txn",
            )
        ]
        there = {bool(each) for each in rows}
        if len(there) != 1:
            return f"only a part is there: {rows}"
        committed = there == {True}
        if committed != (crash.point == "transaction.commit.after"):
            return f"committed: {committed}"
        return None if not committed or rows[0] == [(EFFECT,)] else f"something else is there: {rows}"

    report = runner.run(before=before, check=check)
    assert () == report.problems, report
    assert {"transaction.commit.before", "transaction.commit.after"} == {crash.point for crash in report.crashes}
