"""A service of four workers, for `test_web_workers.py`: started by uvicorn, by the name of this module."""

import os
from typing import Any

from fastapi import FastAPI

from seawall import Policies
from seawall.health import Monitor, breakers_check, memory_check
from seawall.web import Operations, Seawall

policies = Policies(os.environ["FOUR_WORKERS_POLICIES"])
monitor = Monitor([memory_check(tags=["live"]), breakers_check()])
api = FastAPI()


@policies["work"]
async def work(tries: list[int]) -> None:
    """Fails, always."""
    tries.append(1)
    raise ConnectionError("down")


@api.get("/work")
async def ask() -> dict[str, Any]:
    """Says who worked, and how often it was tried."""
    tries: list[int] = []
    try:
        await work(tries)
    except ConnectionError:
        pass
    return {"pid": os.getpid(), "tries": len(tries)}


app = Seawall(
    api,
    health=monitor,
    operations=Operations("four workers", policies=policies, health=monitor),
    on_start=[monitor.start],
    on_stop=[monitor.astop],
)
