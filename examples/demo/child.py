"""The parent's side of the failing server: starts it, hears what it says, and never leaves it behind."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.demo.script import PHASES, Phase, Script

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """The server as a process; `async with` starts it, and has ended it at the end of the block."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = 0
        self.phase = PHASES[0]
        self.healed: float | None = None  # when the server said that it is healthy again, on the loop's clock
        self.reached: dict[str, dict[str, int]] = {}
        self._process: Process
        self._hearing: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        figures = ("--seconds", str(self.script.seconds), "--seed", str(self.script.seed))
        command = (sys.executable, "-m", "examples.demo.server", *figures)
        # In a session of its own, so that a Ctrl-C comes to us alone and the server can still be asked for its counts.
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, cwd=ROOT, start_new_session=True
        )
        ready = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear(ready))
        try:
            waiting = asyncio.ensure_future(ready.wait())
            await asyncio.wait([waiting, self._hearing], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not self.port:
                raise RuntimeError("the demo's server did not start; its own message is above")
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self.stop()

    def start(self) -> None:
        """Starts the script."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"start\n")

    async def stop(self) -> None:
        """Ends the server; `reached` then holds its counts. A second time does nothing."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(2):
                await self._hearing
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()

    def reached_broken(self, caller: str) -> int:
        """Returns how many requests of a caller reached the server while it was broken."""
        counts = self.reached.get(caller, {})
        return sum(counts.get(phase.name, 0) for phase in PHASES if phase.broken)

    async def _hear(self, ready: asyncio.Event) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            facts = json.loads(line)
            if "listening" in facts:
                self.port = facts["listening"]
                ready.set()
            elif "phase" in facts:
                self._enter(next(phase for phase in PHASES if phase.name == facts["phase"]))
            else:
                self.reached = facts["reached"]

    def _enter(self, phase: Phase) -> None:
        if self.phase.broken and not phase.broken:
            self.healed = asyncio.get_running_loop().time()
        self.phase = phase
