"""`--control`: orders on standard input, answers on standard output, one JSON object a line.

    {"id": 1, "do": "strike", "target": "stripe", "kind": "mute"}     -> {"id": 1}
    {"id": 2, "do": "lift", "target": "stripe", "kind": "mute"}       -> {"id": 2}
    {"id": 3, "do": "counts"}                                         -> {"id": 3, "counts": {...}}
    {"id": 4, "do": "finish"}     settles what is pending, then counts

What goes wrong is answered as {"id": ..., "error": "..."}. The end of the input ends the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from typing import Any, Final

from examples.ticketwave.audit import audit
from examples.ticketwave.policies import Pace
from examples.ticketwave.system import System

INSIDE: Final = {"catalog": ("errors",), "stripe": ("errors", "busy"), "paypal": ("errors", "busy")}
"""What the stand-ins do themselves; all else is done to their connections."""


def finishing(pace: Pace) -> float:
    """Returns the seconds for which "finish" waits at most: somewhat longer than the longest break."""
    return min(pace.rest(120.0) + 2.0, 50.0)


class Control:
    """Does as it is told.

    Args:
        system: what the orders are about; its dependencies stand behind proxies.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._struck: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def obey(self) -> None:
        """Takes orders until the input ends. Orders do not wait for one another, except strikes and lifts."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        mode = os.fstat(sys.stdin.fileno()).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):  # asyncio would notice too late
            raise OSError("--control takes its orders from a pipe or a terminal; standard input is neither")
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        orders: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(line))
                orders.add(task)
                task.add_done_callback(orders.discard)
        finally:
            pipe.close()
            for task in orders:
                task.cancel()

    async def _answer(self, line: bytes) -> None:
        order: Any = None
        try:
            order = json.loads(line)
            said = await self.do(**{name: value for name, value in order.items() if name != "id"})
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        number = order.get("id") if isinstance(order, dict) else None
        tell({"id": number, **said})

    async def do(self, do: str, target: str = "", kind: str = "") -> dict[str, Any]:
        """Carries an order out and returns the answer. Raises ValueError where it makes no sense."""
        match do:
            case "strike":
                async with self._turn:
                    await self._strike(target, kind)
                return {}
            case "lift":
                async with self._turn:
                    await self._lift(target, kind)
                return {}
            case "counts":
                return {"counts": self._counts()}
            case "finish":
                await self._settled()
                return {"counts": self._counts()}
        raise ValueError(f"do={do!r} is no order; use strike, lift, counts or finish")

    async def _strike(self, target: str, kind: str) -> None:
        """Begins a fault, and ends the one before it on the same target, in this order: there is no gap."""
        if target not in INSIDE:
            raise ValueError(f"target={target!r} cannot be struck; use {', '.join(INSIDE)}")
        before = self._struck.get(target)
        if kind in INSIDE[target]:
            self._trouble(target, kind)
            if before is not None and before not in INSIDE[target]:
                await self._system.proxies[target].lift()
        else:
            await self._system.proxies[target].strike(kind)  # type: ignore[arg-type]  # it checks the kind itself
            self._trouble(target, None)
        self._struck[target] = kind

    async def _lift(self, target: str, kind: str) -> None:
        """Ends a fault; where another one has taken its place, there is nothing to end."""
        if self._struck.get(target) == kind:
            del self._struck[target]
            self._trouble(target, None)
            await self._system.proxies[target].lift()

    def _trouble(self, target: str, kind: Any) -> None:
        if target == "catalog":
            self._system.catalog.trouble = kind
        else:
            self._system.providers[target].trouble = kind

    def _counts(self) -> dict[str, Any]:
        ledgers = [provider.ledger for provider in self._system.providers.values()]
        return {**self._system.tally.as_dict(), **audit(self._system.bookings, ledgers)}

    async def _settled(self) -> None:
        """Waits until no booking is being made and none is pending, but not for ever."""
        system = self._system
        try:
            async with asyncio.timeout(finishing(system.pace)):
                while system.desk.working or (not system.bare and system.bookings.pending()):  # noqa: ASYNC110 - rare
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass  # the counts tell


def tell(facts: dict[str, Any]) -> None:
    """Writes an answer, if anybody is there to read it."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        pass
