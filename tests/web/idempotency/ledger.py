"""Payments in a database, each committed together with the answer to its request, by every kind of store."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import NullPool
from starlette.responses import JSONResponse, Response

from seawall.durable import EmbeddedStore, aupgrade
from seawall.durable.script import Script, Statement
from seawall.integrations.sqlalchemy import SqlStore
from seawall.testing import point
from seawall.web import RequestClaim, current_request_claim

CREATE = "CREATE TABLE IF NOT EXISTS payments (id TEXT)"
PAY = "INSERT INTO payments VALUES ('paid')"
COUNT = "SELECT COUNT(*) FROM payments"
KINDS = ["embedded", "aiosqlite", "psycopg", "psycopg-async", "asyncpg"]
COMMIT_TIMEOUT = 0.5


def _nothing(claim: RequestClaim) -> None:
    """What most payments do besides."""


class Ledger:
    """A database with payments, and the store in it.

    `place` is a file, or the URL of a database of PostgreSQL. `psycopg` runs its transactions on worker threads.
    """

    def __init__(self, kind: str, place: str) -> None:
        self.kind, self.place = kind, place
        self.store: Any
        if kind == "embedded":
            self.store = EmbeddedStore(place)
            return
        sqlite = f"sqlite+aiosqlite:///{place}"
        url = sqlite if kind == "aiosqlite" else make_url(place).set(drivername=f"postgresql+{kind.split('-')[0]}")
        if kind == "psycopg":
            self.engine: Any = create_engine(url, poolclass=NullPool)
            self.sessions: Any = sessionmaker(self.engine)
        else:
            self.engine = create_async_engine(url, poolclass=NullPool)
            self.sessions = async_sessionmaker(self.engine)
        self.store = SqlStore(self.engine)

    async def open(self) -> "Ledger":
        """Makes the tables."""
        await aupgrade(self.store)
        await self.sql(CREATE)
        return self

    async def close(self) -> None:
        """Closes the store."""
        await self.store.aclose()

    async def sql(self, statement: str) -> Any:
        """Says something to the database; returns the rows that it gives."""

        def script() -> Script[Any]:
            return (yield Statement(statement), {})

        return await self.store.arun(script)

    async def count(self) -> int:
        """Returns how many payments were made."""
        return int((await self.sql(COUNT))[0][0])

    async def pay(self, answer: Response | None = None, then: Callable[[RequestClaim], None] = _nothing) -> None:
        """Pays and answers in one transaction; `then` is called in it, on its thread where it has one."""
        claim = current_request_claim()
        answer = answer or JSONResponse({"paid": True}, status_code=201)
        if self.kind == "embedded":
            await self.store.atransact(lambda connection: self._pay(connection, PAY, claim, answer, then))
        elif self.kind == "psycopg":
            await asyncio.to_thread(
                self.store.transaction,
                self.sessions,
                lambda session: self._pay(session, text(PAY), claim, answer, then),
                commit_timeout=COMMIT_TIMEOUT,
            )
        else:
            await self.store.transaction(
                self.sessions, lambda session: self._apay(session, claim, answer, then), commit_timeout=COMMIT_TIMEOUT
            )
        point("payment.committed")

    def _pay(self, session: Any, statement: Any, claim: RequestClaim, answer: Response, then: Any) -> None:
        point("payment.before")
        session.execute(statement)
        point("payment.made")
        claim.answer(answer, session=session)
        point("payment.answered")
        then(claim)

    async def _apay(self, session: Any, claim: RequestClaim, answer: Response, then: Any) -> None:
        point("payment.before")
        await session.execute(text(PAY))
        point("payment.made")
        await claim.aanswer(answer, session=session)
        point("payment.answered")
        then(claim)
