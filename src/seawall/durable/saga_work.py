"""What a worker does with sagas: finds those that are due, claims them, and pursues each under its lease."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seawall._core.arguments import Rng
from seawall._core.clock import DEFAULT_CLOCK
from seawall._core.events import Hub
from seawall.durable import saga_scripts as scripts
from seawall.durable.driving import Flow, Transact, adrive, drive
from seawall.durable.errors import InProgressError, LeaseLostError, SagaStateError
from seawall.durable.events import SagaBlocked, SagaStarted, SagaTakenOver
from seawall.durable.heartbeat import Keeping, keeping
from seawall.durable.outbox import Outbox
from seawall.durable.saga import Saga
from seawall.durable.saga_calling import acall, call
from seawall.durable.saga_directing import unknown
from seawall.durable.saga_flow import Caller, Pursuit, Surroundings
from seawall.durable.saga_rows import Claim
from seawall.durable.saga_scripts import Seen, kind_of
from seawall.durable.store import Store

UNKNOWN: str = "no worker knows this version of it"


@dataclass(frozen=True, slots=True)
class Held:
    """A saga that was claimed; `since` is when that was sent, on the monotonic clock."""

    claim: Claim
    since: float


@dataclass(frozen=True, slots=True)
class Work:
    """What sagas there are for a worker, and how long its leases last."""

    store: Store
    sagas: Mapping[str, Saga[Any]]
    outbox: Outbox | None
    lease: float
    heartbeat: float
    hub: Hub
    rng: Rng

    def find(self, limit: int) -> Flow[list[Held]]:
        """Claims at most so many sagas that are due."""
        owner, since = uuid.uuid4().hex, DEFAULT_CLOCK.now()
        kinds = list(self.sagas)
        claims = yield Transact("saga.claim", lambda: scripts.claim(owner, self.lease, kinds, limit))
        return [Held(claim, since) for claim in claims]

    def find_blocked(self) -> Flow[None]:
        """Marks, and tells of, sagas that nobody seems to know."""
        kinds = list(self.sagas)
        for saga_id, type_, version in (
            yield Transact("saga.find_blocked", lambda: scripts.block(self.lease, kinds, UNKNOWN))
        ):
            self.hub.tell(SagaBlocked(type_, saga_id, version, UNKNOWN))

    def take(self, saga_id: str) -> Flow[Held | None]:
        """Claims one saga; None where nothing is to be done now.

        Raises UnknownSagaError, InProgressError where a worker has it, SagaStateError where its version is unknown.
        """
        owner, since = uuid.uuid4().hex, DEFAULT_CLOCK.now()
        kinds = list(self.sagas)
        got = yield Transact("saga.claim", lambda: scripts.claim_one(saga_id, owner, self.lease, kinds))
        if isinstance(got, Claim):
            return Held(got, since)
        if not isinstance(got, Seen):
            raise unknown(saga_id)
        if got.held_for > 0:
            raise InProgressError(f"saga {saga_id}", got.held_for)
        if not got.known:
            raise SagaStateError(f"saga {saga_id!r} is of kind {got.kind!r}, which is not known here: {kinds}")
        return None

    def pursue(self, held: Held, stopping: Callable[[], bool]) -> None:
        """Goes on with a saga on this thread, until it is let go of. Raises LeaseLostError where it was lost."""
        ended = False
        try:
            with self._keeping(held):
                drive(self.store, self._flow(held, call, stopping))
                ended = True
        except LeaseLostError:
            if not ended:  # its last write was accepted, so nobody had taken it
                raise

    async def apursue(self, held: Held, stopping: Callable[[], bool]) -> None:
        """Goes on with a saga in this task; see `pursue`."""
        ended = False
        try:
            async with self._keeping(held):
                await adrive(self.store, self._flow(held, acall, stopping))
                ended = True
        except LeaseLostError:
            if not ended:
                raise

    def _keeping(self, held: Held) -> Keeping:
        name = f"saga {held.claim.progress.saga_id!r}"
        return keeping(
            self.store,
            lambda: scripts.renew(held.claim, self.lease),
            every=self.heartbeat,
            lease=self.lease,
            name=name,
            since=held.since,
        )

    def _flow(self, held: Held, caller: Caller, stopping: Callable[[], bool]) -> Flow[None]:
        progress = held.claim.progress
        if held.claim.epoch == 1:
            self.hub.tell(SagaStarted(progress.type, progress.saga_id))
        if held.claim.taken_over:
            self.hub.tell(SagaTakenOver(progress.type, progress.saga_id))
        saga = self.sagas[kind_of(progress.type, progress.version)]
        around = Surroundings(caller, self.hub.tell, stopping, self.outbox, self.rng)
        return Pursuit(saga, held.claim, around).flow()
