"""One variant of the system as a process of its own, steered over its standard input and output."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
LONGEST: Final = 1 << 24
"""Bytes that a line of it may have: the counts name every pending order."""
GOODBYE: Final = 3.0
"""Seconds that the process has to end after the end of its input."""


class ChildError(Exception):
    """The process did not start, has ended, or could not carry an order out."""


class Child:
    """`python -m examples.ticketwave --control`; `async with` starts it, and it has ended at the end of the block.

    Args:
        arguments: further arguments of its command line.
    """

    def __init__(self, *arguments: str) -> None:
        self.urls: dict[str, str] = {}
        self._arguments = arguments
        self._process: Process
        self._tasks: list[asyncio.Task[None]] = []
        self._said: deque[str] = deque(maxlen=5)  # the last lines of its standard error
        self._ready = asyncio.Event()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "examples.ticketwave", "--control", *self._arguments)
        # In a session of its own, so that a Ctrl-C reaches us alone and the counts can still be asked for.
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LONGEST, cwd=ROOT, start_new_session=True
        )
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._listen_to_complaints())]
        try:
            await self._ready.wait()
            if not self.urls:
                raise self._gone()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ask(self, do: str, **order: str) -> dict[str, Any]:
        """Gives an order and returns the answer. Raises ChildError where it was not carried out."""
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            if self._tasks[0].done():
                raise self._gone()
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": number, "do": do, **order}).encode() + b"\n")
            said: dict[str, Any] = await answer
        finally:
            del self._waiting[number]
        if "error" in said:
            raise ChildError(said["error"])
        return said

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                said = json.loads(line)
                if "listening" in said:
                    self.urls = said["listening"]
                    self._ready.set()
                elif (answer := self._waiting.get(said["id"])) is not None and not answer.done():
                    answer.set_result(said)
            await self._tasks[1]  # its last words
        finally:
            self._ready.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(self._gone())

    async def _listen_to_complaints(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._said.append(line.decode(errors="replace").rstrip())

    def _gone(self) -> ChildError:
        last = ": " + " | ".join(self._said) if self._said else ""
        return ChildError(f"the process with the servers has ended{last}")

    async def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(GOODBYE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await asyncio.gather(*self._tasks, return_exceptions=True)
