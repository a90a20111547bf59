"""An outbox of some engine, with a receiver that is told what to do: `post.add("a", key="k")`, `post.pass_()`."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from seawall.durable import Outbox, OutboxMessage, Relay
from tests.durable.engines import PATIENCE, Engine


class Post:
    """An outbox, and a receiver: it notes the text of what it gets, and raises what is in `faults` for a text."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.outbox = engine, Outbox(engine.store)
        self.got: list[str] = []
        self.messages: list[OutboxMessage] = []
        self.faults: dict[str, BaseException] = {}
        self.sending: Callable[[], Any] = lambda: None  # called while a message is being sent

    def add(self, *texts: str, key: str | None = None, **options: Any) -> list[str]:
        """Adds messages; returns their ids."""
        return [self.engine.call(self.outbox, "add", "there", text, ordering_key=key, **options) for text in texts]

    def relay(self, **options: Any) -> Relay:
        """Returns a relay in the engine's colour."""
        return Relay(self.outbox, self.asend if self.engine.kind.is_async else self.send, **options)

    def pass_(self, **options: Any) -> int:
        """Has a relay do one pass; returns how many messages were sent."""
        sent: int = self.engine.call(self.relay(**options), "pass_once")
        return sent

    def send(self, message: OutboxMessage) -> None:
        """Is given a message."""
        self.sending()
        self._note(message)

    async def asend(self, message: OutboxMessage) -> None:
        """Is given a message."""
        await asyncio.sleep(0)
        waiting = self.sending()
        if waiting is not None:
            await waiting
        self._note(message)

    def _note(self, message: OutboxMessage) -> None:
        text = message.body.decode()
        if text in self.faults:
            raise self.faults[text]
        self.messages.append(message)
        self.got.append(text)

    def waiting(self) -> list[str]:
        """Returns the texts of the messages that wait."""
        return [message.body.decode() for message in self.engine.call(self.outbox, "waiting")]

    def stuck(self) -> list[str]:
        """Returns the texts of the messages that are stuck."""
        return [message.body.decode() for message in self.engine.call(self.outbox, "stuck")]

    def during(self, relay: Relay, condition: Callable[[], Any]) -> None:
        """Lets a relay work until a condition holds, and leaves its block."""

        async def work() -> None:
            async with relay:
                await self.until(condition)

        if self.engine.kind.is_async:
            self.engine.awaited(work())
        else:
            with relay:
                until(condition)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for a condition in the event loop, in real time."""
        await asyncio.to_thread(until, condition)


def until(condition: Callable[[], Any]) -> None:
    """Waits for a condition, in real time."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("never came true")
