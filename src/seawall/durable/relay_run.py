"""How a relay runs: one coordinator, which does one transaction after another, and the calls of `send`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from seawall._core.correlation import correlation
from seawall._core.errors import RejectedError
from seawall._core.events import LOGGER
from seawall._pipeline.pipeline import Pipeline
from seawall.durable.driving import Call, Flow, Transact
from seawall.durable.outbox_message import CORRELATION, OutboxMessage
from seawall.durable.relay_crew import Tasks, Threads
from seawall.durable.relay_desk import Desk, Plan
from seawall.durable.relay_rules import NotNowError


def relaying(desk: Desk, crew: Threads | Tasks, deliver: Callable[[OutboxMessage], Any]) -> Flow[None]:
    """Runs a relay until its desk has finished."""
    try:
        yield from turns(desk, crew, deliver, patient=True)
    except Exception:
        LOGGER.exception("a relay has died; its messages are sent by others, or when it is started anew")
        raise


def turns(desk: Desk, crew: Threads | Tasks, deliver: Callable[[OutboxMessage], Any], *, patient: bool) -> Flow[None]:
    """Does what the desk says until it has finished. A failed transaction is tried again where it is `patient`."""
    doing: Plan | None = None
    try:
        while (wait := desk.due_in()) is not None:
            if wait > 0:
                yield Call("outbox.wait", crew.wait, (wait,))
                continue
            doing = desk.plan()
            try:
                answer = yield Transact("outbox.turn", doing.script())
            except Exception as error:
                if not patient:
                    raise
                desk.stall(error)
            else:
                for lane in desk.settle(doing, answer):
                    if not crew.begin(desk.work(lane, deliver)):
                        desk.drop(lane)
            doing = None
    except (asyncio.CancelledError, KeyboardInterrupt):
        yield from _closing(desk, crew, doing)
        raise


def _closing(desk: Desk, crew: Threads | Tasks, doing: Plan | None) -> Flow[None]:
    """After a cancellation: cancels what is being sent, writes down what was, and gives back the rest.

    A transaction that was cancelled may have come about: it is done again, to learn what it claimed.
    """
    desk.cancel()
    yield Call("outbox.stop", crew.stop)
    desk.give_up()
    while doing is not None or desk.due_in() is not None:
        plan, doing = doing or desk.plan(), None
        try:
            answer = yield Transact("outbox.turn", plan.script())
        except Exception as error:
            desk.stall(error)
            return
        for lane in desk.settle(plan, answer):
            desk.drop(lane)


class Delivery:
    """Calls `send`, through a pipeline or not, with the message's correlation id around it."""

    def __init__(self, send: Callable[[OutboxMessage], Any], pipeline: Pipeline | None) -> None:
        self._send, self._pipeline = send, pipeline

    def call(self, message: OutboxMessage) -> None:
        """Calls a plain `send`. Raises NotNowError where the pipeline refused, and not `send` itself."""
        with _correlated(message):
            if self._pipeline is None:
                self._send(message)
                return
            asked = False

            def send(message: OutboxMessage) -> None:
                nonlocal asked
                asked = True
                self._send(message)

            try:
                self._pipeline.call(send, message)
            except RejectedError as error:
                if asked:
                    raise
                raise NotNowError(error.retry_after) from None

    async def acall(self, message: OutboxMessage) -> None:
        """Calls an async `send`; see `call`."""
        with _correlated(message):
            if self._pipeline is None:
                await self._send(message)
                return
            asked = False

            async def send(message: OutboxMessage) -> None:
                nonlocal asked
                asked = True
                await self._send(message)

            try:
                await self._pipeline.acall(send, message)
            except RejectedError as error:
                if asked:
                    raise
                raise NotNowError(error.retry_after) from None


def _correlated(message: OutboxMessage) -> AbstractContextManager[object]:
    named = message.headers.get(CORRELATION)
    try:
        return nullcontext() if named is None else correlation(named)
    except ValueError:
        return nullcontext()  # somebody's own header of that name
