"""Relays moved by hand, a step at a time, with no thread or task: so a test chooses what happens when."""

import random
from collections.abc import Generator
from typing import Any

from seawall import Backoff
from seawall._core.events import Hub
from seawall.durable import EmbeddedStore, OutboxMessage
from seawall.durable.driving import Call
from seawall.durable.relay_desk import Desk
from seawall.durable.relay_rules import Lane, Rules

RULES = Rules(
    lease=30.0,
    heartbeat=10.0,
    batch=10,
    in_flight=3,
    poll=1.0,
    max_attempts=20,
    backoff=Backoff.fixed(1),
    rng=random.Random(7).random,
)


class Sending:
    """A lane at work: the message that is being sent, until it has ended."""

    def __init__(self, lane: Lane, flow: Generator[Any, Any, None]) -> None:
        self.lane, self._flow = lane, flow
        self.message: OutboxMessage | None = None
        self._next(None)

    def _next(self, fault: BaseException | None) -> None:
        try:
            call: Call = self._flow.throw(fault) if fault is not None else next(self._flow)
            self.message = call.args[0]
        except StopIteration:
            self.message = None

    def end(self, fault: BaseException | None = None) -> OutboxMessage:
        """Ends the sending of the message, and begins with the next one; returns the one that ended."""
        message = self.message
        assert message is not None
        self._next(fault)
        return message


class HandRelay:
    """A relay on a store, at work until nobody moves it any more."""

    def __init__(self, store: EmbeddedStore, name: str = "by hand", rules: Rules = RULES) -> None:
        self.store, self.events = store, list[Any]()
        hub = Hub(name)
        hub.listen(self.events.append, ())
        self.desk = Desk(rules, hub, lambda: None)
        self._all: list[Sending] = []

    @property
    def sendings(self) -> list[Sending]:
        """What is being sent."""
        self._all = [each for each in self._all if each.message is not None]
        return self._all

    def turn(self) -> None:
        """Does the transaction that is due."""
        plan = self.desk.plan()
        answer = self.store.run(plan.script())
        self.begin(self.desk.settle(plan, answer))

    def begin(self, lanes: list[Lane]) -> None:
        """Begins to send what was claimed."""
        self._all += [Sending(lane, self.desk.work(lane, lambda message: None)) for lane in lanes]

    def turn_if_due(self) -> bool:
        """Does the transaction that is due; returns whether one was."""
        due = self.desk.due_in() == 0
        if due:
            self.turn()
        return due
