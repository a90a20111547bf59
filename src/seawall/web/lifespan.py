"""The life of an application: what is started before it and stopped after it, and its own lifespan in between."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from seawall._core.masking import mask_secrets
from seawall.web.asgi import ASGIApp, Message, Receive, Scope, Send
from seawall.web.journal import LOGGER
from seawall.web.wording import told

Hook: TypeAlias = Callable[[], object]
"""A function without arguments, plain or async, that starts or stops something."""


def checked(argument: str, hooks: Sequence[Hook]) -> tuple[Hook, ...]:
    """Returns the hooks as a tuple. Raises TypeError where one cannot be called."""
    if not isinstance(hooks, list | tuple) or not all(map(callable, hooks)):
        raise TypeError(
            f"{argument}={hooks!r} is no list of functions; use functions without arguments: [monitor.start]"
        )
    return tuple(hooks)


async def _run(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


def _name(hook: Any) -> str:
    return str(getattr(hook, "__qualname__", None) or type(hook).__name__)


class Lifespan:
    """One life of one application (ASGI's lifespan protocol, version 2.0).

    `on_start` runs in order before the application starts; the first that fails ends the start. `on_stop` runs in
    order after the application has stopped, all of it whatever fails, and also after a start that failed: what stops
    something must bear that it was never started.

    Args:
        app: the application; one that takes no part in lifespan is served all the same.
        on_start, on_stop: what to run.
        stopping: called first when the server says that the end has come.
        receive, send: the server's.
    """

    def __init__(
        self,
        app: ASGIApp,
        on_start: Sequence[Hook],
        on_stop: Sequence[Hook],
        stopping: Callable[[], None],
        receive: Receive,
        send: Send,
    ) -> None:
        self._app = app
        self._on_start = on_start
        self._on_stop = on_stop
        self._stopping = stopping
        self._receive = receive
        self._send = send
        self._begun: Message | None = None  # the server's first message, until the application has had it
        self._serving = False  # the server was told that the start is complete
        self._asked = False  # the server has asked for the end
        self._over = False  # the last word is said, or about to be
        self._failure: str | None = None  # what the application said of an end that nobody had asked for

    async def run(self, scope: Scope) -> None:
        """Lives that life. Returns when the server has been told of its end."""
        try:
            self._begun = await self._receive()
            failure = await self._start()
            await self._end(await self._live(scope) if failure is None else failure)
        except asyncio.CancelledError:
            if not self._over:
                await self._stop()
            raise

    async def _start(self) -> str | None:
        """Runs what is to run before the application; returns what failed."""
        for hook in self._on_start:
            try:
                await _run(hook)
            except Exception as error:
                LOGGER.exception("the start failed at %s", _name(hook))
                return f"{_name(hook)} failed: {told(error)}"
        return None

    async def _live(self, scope: Scope) -> str | None:
        """Runs the application's own lifespan; returns what went wrong with it while it was serving."""
        try:
            await self._app(scope, self._heard, self._said)
        except Exception as error:
            if self._over:
                return None
            if self._serving:
                LOGGER.exception("the application's lifespan failed")
                return self._failure or f"the application's lifespan failed: {told(error)}"
            LOGGER.info("the application takes no part in lifespan: %s", told(error))
        return self._failure

    async def _heard(self) -> Message:
        """What the application hears of the server."""
        begun, self._begun = self._begun, None
        return begun or await self._ask()

    async def _ask(self) -> Message:
        message = await self._receive()
        self._asked = True
        self._stopping()
        return message

    async def _said(self, message: Message) -> None:
        """What the server hears of the application."""
        kind = message["type"]
        failure = None
        if kind.endswith(".failed"):
            failure = mask_secrets(str(message.get("message", ""))) or f"the application said {kind}"
        if kind == "lifespan.startup.failed" or (kind.startswith("lifespan.shutdown.") and self._asked):
            await self._end(failure)
        elif kind.startswith("lifespan.shutdown."):
            self._failure = failure
        elif not self._over:
            self._serving = True
            await self._send(message)

    async def _end(self, failure: str | None) -> None:
        """Tells the server how it ended, after everything was stopped; while serving, not before it asks for it."""
        if self._over:
            return
        if not self._serving and failure is None:
            self._serving = True
            await self._send({"type": "lifespan.startup.complete"})
        if self._serving and not self._asked:
            await self._ask()
        failures = [] if failure is None else [failure]
        failures += await self._stop()
        what = "shutdown" if self._serving else "startup"
        if failures:
            await self._send({"type": f"lifespan.{what}.failed", "message": "; ".join(failures)})
        else:
            await self._send({"type": f"lifespan.{what}.complete"})

    async def _stop(self) -> list[str]:
        """Runs what is to run at the end, all of it; returns what failed."""
        self._over = True
        failures = []
        for hook in self._on_stop:
            try:
                await _run(hook)
            except Exception as error:
                LOGGER.exception("the stop failed at %s", _name(hook))
                failures.append(f"{_name(hook)} failed: {told(error)}")
        return failures
