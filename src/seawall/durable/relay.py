"""The relay: sends what an outbox holds, at least once, and in order where there is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NamedTuple

from seawall._core import arguments
from seawall._core.arguments import Random, Rng, Seconds
from seawall._core.backoff import Backoff
from seawall._core.chain import check_kind
from seawall._core.clock import refuse_to_block
from seawall._core.events import LOGGER, Event, Hub, Listener
from seawall._core.names import check_name
from seawall._pipeline.pipeline import Pipeline
from seawall.durable.driving import CLEANING, adrive, drive
from seawall.durable.heartbeat import lease_and_heartbeat
from seawall.durable.outbox import CHANNEL, Outbox
from seawall.durable.outbox_message import OutboxMessage
from seawall.durable.relay_crew import Tasks, Threads
from seawall.durable.relay_desk import Desk
from seawall.durable.relay_rules import Rules
from seawall.durable.relay_run import Delivery, relaying, turns

BACKOFF: Final = Backoff.exponential(1, cap=300)
EXAMPLE: Final = "Relay(outbox, send)"

Send = Callable[[OutboxMessage], Any]


class Relay:
    """Sends the messages of an outbox: `async with Relay(outbox, send):` or, with a plain function, `with`.

    A message is sent at least once, and counts as sent when `send` returns. Any number of relays may work on one
    outbox, in any number of processes. Each claims messages for the time of a lease, and renews it; what a relay that
    died had claimed is sent by another one when the lease is over. Messages of one ordering key are sent one after
    another, by one relay at a time; those of other keys, and those without one, meanwhile. No transaction is open while
    `send` works.

    When `send` raises, the message waits as the backoff says, and holds up its key. After `max_attempts` it is stuck:
    an `OutboxStuck` event tells, and it holds up its key until somebody retries or drops it. A rejection
    (`RejectedError`) is no attempt: so give a pipeline with a breaker, or an hour without the receiver uses up all
    attempts of all messages. While the pipeline refuses, nothing is claimed. A `retry_after` that the error carries is
    followed instead of the backoff.

    On leaving the block nothing more is claimed, and what is being sent is waited for. If the store cannot be reached,
    a `RelayStalled` event tells, and the relay goes on trying.

    Args:
        outbox: what it sends.
        send: a function of an `OutboxMessage`, plain or async. Its receiver may see a message again, with the same
            `message_id`. It is called with the message's correlation id around it.
        lease: seconds for which messages are claimed; those of a dead relay wait so long; default 30.
        heartbeat: seconds between renewals; default 10, at most half the lease.
        batch: messages claimed in one transaction at most; default 100.
        in_flight: messages sent at once at most; default 100. As many threads, where `send` is a plain function.
        poll: seconds after which it looks for messages that nobody told it of: delayed ones, those of other processes;
            default 1.
        max_attempts: failed attempts after which a message is stuck; default 20.
        backoff: delays between attempts; default 1, 2, 4 s ... 300 s: the 20 attempts take about an hour.
        pipeline: what protects `send`; give it a `Timeout`, since an async `send` that hangs keeps its place, and a
            breaker.
        drain: seconds for which leaving waits for what is being sent; then it is cancelled, or, on threads, left
            behind; default 25.
        name: what it is called in events; default "relay".
        rng: the source of chance for the backoff's jitter; default `random.random`.

    Raises:
        TypeError, ValueError: an argument is of no use.
    """

    def __init__(
        self,
        outbox: Outbox,
        send: Send,
        *,
        lease: Seconds = 30.0,
        heartbeat: Seconds = 10.0,
        batch: int = 100,
        in_flight: int = 100,
        poll: Seconds = 1.0,
        max_attempts: int = 20,
        backoff: Backoff = BACKOFF,
        pipeline: Pipeline | None = None,
        drain: Seconds = 25.0,
        name: str = "relay",
        rng: Rng | Random | None = None,
    ) -> None:
        if not isinstance(outbox, Outbox):
            raise TypeError(f"outbox={outbox!r} is no outbox; use Outbox(store), as in {EXAMPLE}")
        if not isinstance(backoff, Backoff):
            raise TypeError(f"backoff={backoff!r} is no backoff; use one such as Backoff.exponential(1, cap=300)")
        if pipeline is not None and not isinstance(pipeline, Pipeline):
            raise TypeError(
                f"pipeline={pipeline!r} is no pipeline; use Pipeline('relay', CircuitBreaker(), Timeout(10))"
            )
        check_name(name)
        self.outbox = outbox
        self._send = arguments.function("send", send, "a function of a message")
        self._delivery = Delivery(self._send, pipeline)
        self._drain = arguments.seconds("drain", drain, zero=True)
        self._hub = Hub(name)
        self._rules = Rules(
            *lease_and_heartbeat(lease, heartbeat),
            batch=arguments.whole("batch", batch, least=1),
            in_flight=arguments.whole("in_flight", in_flight, least=1),
            poll=arguments.seconds("poll", poll),
            max_attempts=arguments.whole("max_attempts", max_attempts, least=1),
            backoff=backoff,
            rng=arguments.rng("rng", rng),
        )
        self._work: _Work | None = None

    def listen(self, listener: Listener, *types: type[Event]) -> Callable[[], None]:
        """Tells `listener` of what this relay does: `OutboxSent`, `OutboxFailed`, `OutboxStuck`, `RelayStalled`.

        Returns the function that stops it.
        """
        return self._hub.listen(listener, types)

    # one pass

    def pass_once(self) -> int:
        """Claims one batch, sends it and writes it down; returns how many messages were sent. For scripts and tests.

        What the store raises is raised; what `send` raises is written down, as ever.
        """
        refuse_to_block("Relay.pass_once()")
        check_kind("pass_once", self._send, "call", "await apass_once() for an async send")
        crew = Threads(self.outbox.store, self._rules.in_flight, self._hub.name)
        desk = Desk(self._rules, self._hub, crew.ring, once=True)
        try:
            drive(self.outbox.store, turns(desk, crew, self._delivery.call, patient=False))
        finally:
            crew.stop()
        return desk.sent

    async def apass_once(self) -> int:
        """Claims one batch, sends it and writes it down; see `pass_once`."""
        check_kind("apass_once", self._send, "acall", "call pass_once() for a plain send")
        crew = Tasks(self.outbox.store, self._rules.in_flight)
        desk = Desk(self._rules, self._hub, crew.ring, once=True)
        await adrive(self.outbox.store, turns(desk, crew, self._delivery.acall, patient=False))
        return desk.sent

    # at work, on threads

    def __enter__(self) -> Relay:
        check_kind("with", self._send, "call", "use `async with` for an async send")
        refuse_to_block("leaving this relay")
        crew = Threads(self.outbox.store, self._rules.in_flight, self._hub.name)
        desk = self._desk(crew)
        flow = relaying(desk, crew, self._delivery.call)
        thread = threading.Thread(
            target=Context().run, args=(drive, self.outbox.store, flow), name=f"seawall-{self._hub.name}", daemon=True
        )
        self._work = _Work(desk, crew, thread, self.outbox.store.listen(CHANNEL, desk.wake))
        thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        desk, crew, thread = self._end()
        desk.stop()
        thread.join(self._drain)
        if thread.is_alive():
            desk.give_up()
            thread.join(CLEANING)
        if thread.is_alive():
            LOGGER.warning("%r: left behind, since its store does not answer", self._hub.name)
        crew.close()

    # at work, in tasks

    async def __aenter__(self) -> Relay:
        check_kind("async with", self._send, "acall", "use `with` for a plain send")
        crew = Tasks(self.outbox.store, self._rules.in_flight)
        desk = self._desk(crew)
        working = adrive(self.outbox.store, relaying(desk, crew, self._delivery.acall))
        task = asyncio.get_running_loop().create_task(working, context=Context())
        self._work = _Work(desk, crew, task, self.outbox.store.listen(CHANNEL, desk.wake))
        return self

    async def __aexit__(self, *exc: object) -> None:
        desk, _, task = self._end()
        desk.stop()
        try:
            await asyncio.wait({task}, timeout=self._drain)
        finally:
            if not task.done():
                task.cancel()  # it cancels what is being sent, and writes down what was
                await asyncio.wait({task}, timeout=3 * CLEANING)
        if task.done() and not task.cancelled():
            task.result()

    def _desk(self, crew: Threads | Tasks) -> Desk:
        if self._work is not None:
            raise RuntimeError(f"the relay {self._hub.name!r} is at work already; make another one")
        return Desk(self._rules, self._hub, crew.ring)

    def _end(self) -> tuple[Desk, Any, Any]:
        assert self._work is not None
        work, self._work = self._work, None
        work.deaf()
        return work.desk, work.crew, work.coordinator


class _Work(NamedTuple):
    """A relay at work; `deaf` ends its listening to the store."""

    desk: Desk
    crew: Threads | Tasks
    coordinator: Any
    deaf: Callable[[], None]
