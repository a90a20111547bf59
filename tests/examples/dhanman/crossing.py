"""One invoice on its whole way, in a process that is killed on it, and the server that forks it from one import.

`python -m tests.examples.dhanman.crossing` reads orders from its input, a JSON object a line, forks a child for each,
and answers with how that ended.
"""

import asyncio
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import aiosqlite  # noqa: F401 - imported once, before the forks
import asyncpg  # type: ignore[import-untyped]  # noqa: F401 - it has no types

from examples.dhanman.system import System
from seawall._core import crash
from tests.examples.dhanman.office import BRISK, Others, customer, ended, free_names, ordered

LEASE = 5.0
KEY = "the-one-invoice"


async def cross(order: dict[str, Any]) -> str:
    """Orders the invoice, again where it was ordered before, and waits until nothing is left to do; says the answer."""
    system = System(database=order["database"], lease=LEASE, environ=BRISK, elsewhere=order["elsewhere"])
    over = asyncio.Event()
    system.sagas.listen(lambda event: over.set() if type(event).__name__ == "SagaEnded" else None)
    async with system, customer(system.url) as client:
        answer = await ordered(client, KEY)
        if answer.status_code != 201:
            raise AssertionError(answer.text)
        # Who looks passes crash points: while they are counted, nobody does.
        await (asyncio.wait_for(over.wait(), 30) if crash._ARMED else ended(client, answer.json()["id"]))
    return answer.text


def _obey(order: dict[str, Any]) -> None:
    crash._ARMED = bool(order["at"] or order["record"])  # type: ignore[misc]
    crash._CRASH = crash._place(order["at"]) if order["at"] else None  # type: ignore[misc]
    crash._RECORD = order["record"]  # type: ignore[misc]
    code = 1
    try:
        Path(order["said"]).write_text(asyncio.run(cross(order)))
        code = 0
    except BaseException:
        Path(order["said"]).write_text(traceback.format_exc())
    finally:
        os._exit(code)


def serve() -> None:
    """Forks a child for each order, and says how it ended. One crossing comes first: what it loads, all have."""
    with Others() as others, tempfile.TemporaryDirectory() as folder:
        asyncio.run(cross({"database": f"sqlite:///{folder}/warm.sqlite3", "elsewhere": others.urls}))
    free_names()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
