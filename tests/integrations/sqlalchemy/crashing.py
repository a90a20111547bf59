"""A program that makes one transaction: an effect, and a message in the outbox. To be killed at every crash point."""

import asyncio
import sys
from functools import partial
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from seawall.durable import Outbox
from seawall.integrations.sqlalchemy import SqlStore, run_transaction
from tests.integrations.sqlalchemy.databases import ADD

EFFECT = "the effect"


def make(url: str) -> None:
    """Makes the transaction by a sync driver."""
    engine = create_engine(url)
    outbox = Outbox(SqlStore(engine))

    def body(session: Any) -> None:
        session.execute(ADD, {"id": EFFECT})
        outbox.add("effects", EFFECT, session=session)

    run_transaction(sessionmaker(engine), body, txn_id="t1")
    engine.dispose()


async def amake(url: str) -> None:
    """Makes it by an async driver."""
    engine = create_async_engine(url)
    outbox = Outbox(SqlStore(engine))

    async def body(session: Any) -> None:
        await session.execute(ADD, {"id": EFFECT})
        await outbox.aadd("effects", EFFECT, session=session)

    await run_transaction(async_sessionmaker(engine), body, txn_id="t1")
    await engine.dispose()


if __name__ == "__main__":
    colour, url = sys.argv[1:]
    (partial(make, url) if colour == "sync" else lambda: asyncio.run(amake(url)))()
