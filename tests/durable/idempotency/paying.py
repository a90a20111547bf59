"""A payment that happens once, in processes that are killed or stand still.

`python -m tests.durable.idempotency.paying` reads orders from its input, a JSON object a line, forks a child for each
from this one import, and answers with how that ended. With an order as its argument it obeys that one, and prints what
came of it.
"""

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import psycopg  # noqa: F401 - imported once, before the forks
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from seawall._core import crash
from seawall.durable import NOT_DONE, EmbeddedStore, Idempotency
from seawall.integrations.sqlalchemy import SqlStore
from seawall.testing import point

KEY = "payment-1"
PAID = {"id": "p-1"}
CREATE = "CREATE TABLE IF NOT EXISTS effects (id TEXT)"
INSERT = "INSERT INTO effects VALUES ('paid')"


class Bank:
    """Pays in the world outside, and knows what it paid: a line a payment."""

    def __init__(self, witness: str) -> None:
        self._witness = Path(witness)

    def pay(self) -> dict[str, str]:
        """Pays."""
        point("effect.before")
        with self._witness.open("a", encoding="ascii") as book:
            book.write(f"{KEY}\n")
        point("effect.after")
        return PAID

    async def apay(self) -> dict[str, str]:
        """Pays."""
        await asyncio.sleep(0)
        return self.pay()

    def slowly(self) -> dict[str, str]:
        """Pays, and says so, and goes on when it is told to."""
        result = self.pay()
        wait_for_the_parent()
        return result

    def paid(self) -> int:
        """Returns how often it paid."""
        return len(self._witness.read_text(encoding="ascii").split()) if self._witness.exists() else 0

    def look(self, key: str) -> Any:
        """Says what it knows of a payment."""
        return PAID if self.paid() else NOT_DONE


def wait_for_the_parent() -> None:
    """Says that the effect was had, and waits for a word."""
    print("paid", flush=True)
    sys.stdin.readline()


def pursue(kind: str, url: str, mode: str, witness: str, lease: float = 30.0) -> Any:
    """Pays, or gets the result of the payment, in one of the modes: reconcile, rerun, transact."""
    bank = Bank(witness)
    store, sessions = store_of(kind, url)
    options: dict[str, Any] = {"reconcile": bank.look} if mode == "reconcile" else {"takeover": "rerun"}
    payments = Idempotency(store, "payments", lease=lease, heartbeat=lease / 4, **options)
    if kind in ("embedded-async", "asyncpg"):
        return asyncio.run(_apursue(payments, store, sessions, mode, bank))
    try:
        if mode == "transact":
            places = (_effect,) if sessions is None else (sessions, _session_effect)
            return payments.transact(KEY, *places)
        return payments.call(KEY, bank.slowly if mode == "slowly" else bank.pay)
    finally:
        store.close()
        if sessions is not None:
            store.engine.dispose()


async def _apursue(payments: Idempotency, store: Any, sessions: Any, mode: str, bank: Bank) -> Any:
    try:
        if mode == "transact":
            places = (_effect,) if sessions is None else (sessions, _asession_effect)
            return await payments.atransact(KEY, *places)
        return await payments.acall(KEY, bank.apay)
    finally:
        await store.aclose()
        if sessions is not None:
            await store.engine.dispose()


def store_of(kind: str, url: str) -> tuple[Any, Any]:
    """Returns a store, and what makes sessions in its database."""
    if kind.startswith("embedded"):
        return EmbeddedStore(url), None
    make: Any = create_async_engine if kind == "asyncpg" else create_engine
    engine = make(url.replace("postgresql://", f"postgresql+{kind}://"))
    return SqlStore(engine), (async_sessionmaker if kind == "asyncpg" else sessionmaker)(engine)


def _effect(connection: Any) -> dict[str, str]:
    point("effect.before")
    connection.execute(INSERT)
    point("effect.after")
    return PAID


def _session_effect(session: Any) -> dict[str, str]:
    point("effect.before")
    session.execute(text(INSERT))
    point("effect.after")
    if "SLOWLY" in os.environ:
        wait_for_the_parent()
    return PAID


async def _asession_effect(session: Any) -> dict[str, str]:
    point("effect.before")
    await session.execute(text(INSERT))
    point("effect.after")
    return PAID


def serve() -> None:
    """Forks a child for each order, and says how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict[str, Any]) -> None:
    crash._ARMED = True  # type: ignore[misc]
    crash._CRASH = crash._place(order["at"]) if order["at"] else None  # type: ignore[misc]
    crash._RECORD = order["record"]  # type: ignore[misc]
    code = 1
    try:
        pursue(order["kind"], order["url"], order["mode"], order["witness"])
        code = 0
    except BaseException:
        Path(order["errors"]).write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve()
    else:
        try:
            print(json.dumps(pursue(**json.loads(sys.argv[1]))), flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
