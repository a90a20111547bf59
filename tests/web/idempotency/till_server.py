"""A small server whose payments happen once, for processes that are killed, stand still, or come in numbers.

`python -m tests.web.idempotency.till_server ORDER` takes an order, JSON, and serves POST /payments and POST /orders (a
plain route) on a port that it prints. Without an argument it reads orders from its input, a line each; for each it
forks a child from this one import, which asks itself for the order's path once, and says how that ended.
"""

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from seawall._core import crash
from seawall.testing import point
from seawall.web import IdempotentRequests, IdempotentRoute, Seawall
from tests.web.idempotency.ledger import Ledger

ROUTES = {"POST /payments": IdempotentRoute(transactional=True), "POST /orders": IdempotentRoute()}


async def application(kind: str, place: str, witness: str, lease: float = 30.0, slow: bool = False) -> Any:
    """Returns the server's application."""
    ledger = await Ledger(kind, place).open()
    api = FastAPI(openapi_url=None)

    async def effect() -> None:
        point("effect.before")
        with Path(witness).open("a", encoding="ascii") as book:  # noqa: ASYNC230 - a line
            book.write("paid\n")
        point("effect.after")
        if slow:
            print("paid", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

    @api.post("/payments")
    async def pay() -> Response:
        if slow:
            await effect()
        await ledger.pay(JSONResponse({"paid": True, "by": "commit"}, status_code=201))
        return JSONResponse({"never": "seen"})

    @api.post("/orders")
    async def order() -> Response:
        await effect()
        return JSONResponse({"ordered": True}, status_code=201)

    requests = IdempotentRequests(
        ledger.store, ROUTES, principal=lambda scope: "alice", lease=lease, heartbeat=lease / 4
    )
    return Seawall(api, idempotency=requests)


async def ask(app: Any, path: str) -> httpx2.Response:
    """Asks once."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        return await client.post(path, json={}, headers={"idempotency-key": "k-1"})


async def main(order: dict[str, Any]) -> None:
    """Obeys an order."""
    app = await application(**order)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


def fork_for_orders() -> None:
    """Forks a child for each order, and says how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _obey(order: dict[str, Any]) -> None:
    at, record, errors = order.pop("at"), order.pop("record"), order.pop("errors")
    crash._ARMED = True  # type: ignore[misc]
    crash._CRASH = crash._place(at) if at else None  # type: ignore[misc]
    crash._RECORD = record  # type: ignore[misc]
    code = 1
    try:
        app = asyncio.run(_asked(order))
        code = 0 if app == 201 else 2
    except BaseException:
        Path(errors).write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)


async def _asked(order: dict[str, Any]) -> int:
    path = order.pop("ask")
    return (await ask(await application(**order), path)).status_code


if __name__ == "__main__" and len(sys.argv) == 1:
    fork_for_orders()
elif __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
